"""Synthetic splits with tensors that hold known objects, and the reference decode they are computed for.

A detection head is built backwards: from boxes in pixels and classes to the quantized tensors that encode them.
`decode` goes forwards again, in numpy, from the quantized tensors alone: what it returns is what a decoder must return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.metadata.physical import PhysicalTensor
from build_rules.records.split_json import Endpoint, ModelInput, Split

STRIDES = (8, 16, 32)
REG_MAX = 16
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Thing:
    """One object: its box in pixels (x1, y1, x2, y2), class, score, and the scale whose cell reports it."""

    box: tuple[float, float, float, float]
    label: int
    score: float
    scale: int


@dataclass(frozen=True)
class Head:
    """A head to build: `encoding` dfl or direct, `nc` classes, `masks` mask coefficients, `size` (height, width).

    `extras` are roles that no decoder decodes, with their channels; `other_dtype` is that of all but boxes and scores.
    """

    encoding: str = "dfl"
    nc: int = 80
    masks: int = 0
    size: tuple[int, int] = (640, 640)
    box_dtype: str = "uint8"
    score_dtype: str = "uint8"
    fold: bool = True
    strides: tuple[int, ...] = STRIDES
    extras: tuple[tuple[str, int], ...] = ()
    other_dtype: str = "uint8"

    @property
    def split(self) -> Split:
        """The split of such a model."""
        height, width = self.size
        boxes = 4 * REG_MAX if self.encoding == "dfl" else 4
        roles = {"boxes": boxes, "scores": self.nc, "mask_coefs": self.masks, **dict(self.extras)}
        endpoints = [
            Endpoint(
                name=f"{role}_{index}",
                role=role,
                scale_index=index,
                stride=stride,
                tensor=f"/head/{role}.{index}/Conv_output_0",
                node=f"/head/{role}.{index}/Conv",
                shape=(1, channels, height // stride, width // stride),
                encoding=self.encoding if role == "boxes" else None,
                activation="sigmoid" if role == "scores" else None,
            )
            for role, channels in roles.items()
            if channels
            for index, stride in enumerate(self.strides)
        ]
        if self.masks:
            shape = (1, self.masks, height // 4, width // 4)
            endpoints.append(Endpoint("protos", "protos", None, 4, "output1", "/proto/Mul", shape, None, None))
        return Split("synthetic", ModelInput("images", (1, 3, height, width)), tuple(endpoints), (), None)

    @property
    def folded(self) -> frozenset[str]:
        """The endpoints whose sigmoid is on the chip."""
        return frozenset(e.name for e in self.split.endpoints if e.activation and self.fold)

    def dtype(self, role: str) -> str:
        """The dtype of a role's tensors."""
        return {"boxes": self.box_dtype, "scores": self.score_dtype}.get(role, self.other_dtype)


def tensors_of(head: Head) -> tuple[PhysicalTensor, ...]:
    """The HEF's outputs, in an order that is not the document's."""
    return tuple(_tensor(head, index, endpoint) for index, endpoint in enumerate(head.split.endpoints))[::-1]


def _tensor(head: Head, index: int, endpoint: Endpoint) -> PhysicalTensor:
    _, channels, height, width = endpoint.shape
    dtype = head.dtype(endpoint.role)
    names = (f"/backbone/{index}/Conv", endpoint.node)
    if dtype == "float32":
        return PhysicalTensor(f"synthetic/conv{40 + index}", (1, height, width, channels), dtype, None, None, names)
    levels = 65535 if dtype == "uint16" else 255
    low, high = {"boxes": (-12.0, 12.0), "scores": (0.0, 1.0) if head.fold else (-12.0, 12.0)}.get(
        endpoint.role, (-2.0, 2.0)
    )
    if endpoint.encoding == "direct":
        low, high = -1.0, 24.0
    # Every tensor gets a range of its own: a decoder that mixed two of them up would be found out.
    high *= 1 if endpoint.role == "scores" and head.fold else 1 + index / 50
    scale = float(np.float32((high - low) / levels))
    return PhysicalTensor(
        name=f"synthetic/conv{40 + index}",
        shape=(1, height, width, channels),
        dtype=dtype,
        scale=scale,
        zero_point=round(-low / scale),
        original_names=names,
    )


def quantize(real: Array, tensor: PhysicalTensor) -> Array:
    """Return the real values as the chip would deliver them."""
    if tensor.scale is None or tensor.zero_point is None:
        return real.astype(np.float32)
    levels = 65535 if tensor.dtype == "uint16" else 255
    stored: Array = np.clip(np.rint(real / tensor.scale) + tensor.zero_point, 0, levels).astype(tensor.dtype)
    return stored


def dequantize(values: Array, tensor: PhysicalTensor) -> Array:
    """Return the real values, double precision."""
    if tensor.scale is None or tensor.zero_point is None:
        return values.astype(np.float64)
    return (values.astype(np.float64) - tensor.zero_point) * tensor.scale


def encode(head: Head, things: list[Thing], tensors: tuple[PhysicalTensor, ...]) -> dict[str, Array]:
    """Return quantized tensors, keyed by vstream name, in which the head reports exactly `things`."""
    by_node = {name: tensor for tensor in tensors for name in tensor.original_names}
    result = {}
    for endpoint in head.split.endpoints:
        tensor = by_node[endpoint.node]
        real = np.zeros(tensor.shape)
        if endpoint.role == "scores":
            real[:] = 0.01 if head.fold else -8.0
        elif endpoint.role == "protos":
            # Plane k is bright in the k-th vertical band of the image, so a coefficient vector picks bands.
            width = tensor.shape[2]
            for band in range(head.masks):
                real[0, :, :, band] = np.where(np.arange(width) * head.masks // width == band, 1.0, -1.0)
        for thing in things:
            if endpoint.scale_index == thing.scale:
                _report(head, endpoint, real, thing)
        result[tensor.name] = quantize(real, tensor)
    return result


def _report(head: Head, endpoint: Endpoint, real: Array, thing: Thing) -> None:
    """Write one object into the cell that holds its centre."""
    stride = head.strides[thing.scale]
    x1, y1, x2, y2 = thing.box
    column, row = int((x1 + x2) / 2 // stride), int((y1 + y2) / 2 // stride)
    cell = real[0, row, column]
    if endpoint.role == "scores":
        cell[thing.label] = thing.score if head.fold else np.log(thing.score / (1 - thing.score))
    elif endpoint.role == "mask_coefs":
        cell[:] = np.where(np.arange(len(cell)) % 2 == thing.label % 2, 1.5, -1.5)
    elif endpoint.role == "boxes":
        centre_x, centre_y = column + 0.5, row + 0.5
        sides = (centre_x - x1 / stride, centre_y - y1 / stride, x2 / stride - centre_x, y2 / stride - centre_y)
        if head.encoding == "direct":
            cell[:] = sides
            return
        cell[:] = -10.0
        for side, distance in enumerate(sides):  # a distribution over two neighbouring bins, whose mean is the distance
            lower = min(int(distance), REG_MAX - 2)
            part = min(max(distance - lower, 1e-3), 1 - 1e-3)
            cell[side * REG_MAX + lower] = np.log(1 - part) + 8
            cell[side * REG_MAX + lower + 1] = np.log(part) + 8


def decode(
    head: Head, arrays: dict[str, Array], tensors: tuple[PhysicalTensor, ...], threshold: float = 0.25
) -> tuple[Array, Array, Array, Array]:
    """Decode without suppression: boxes [N, 4] as fractions, scores [N], classes [N], mask coefficients [N, masks]."""
    by_node = {name: tensor for tensor in tensors for name in tensor.original_names}
    real = {e.name: dequantize(arrays[by_node[e.node].name], by_node[e.node])[0] for e in head.split.endpoints}
    boxes, scores, labels, coefficients = [], [], [], []
    for index, stride in enumerate(head.strides):
        score = real[f"scores_{index}"]
        score = score if head.fold else 1 / (1 + np.exp(-score))
        for row, column in np.argwhere(score.max(axis=2) >= threshold):
            cell = real[f"boxes_{index}"][row, column]
            if head.encoding == "dfl":
                weights = np.exp(cell.reshape(4, REG_MAX) - cell.max())
                cell = (weights * np.arange(REG_MAX)).sum(axis=1) / weights.sum(axis=1)
            left, top, right, bottom = cell
            x, y = column + 0.5, row + 0.5
            box = np.array([x - left, y - top, x + right, y + bottom]) * stride
            boxes.append(box / np.array([head.size[1], head.size[0]] * 2))
            scores.append(score[row, column].max())
            labels.append(score[row, column].argmax())
            coefficients.append(real[f"mask_coefs_{index}"][row, column] if head.masks else np.zeros(0))
    order = np.argsort(-np.array(scores), kind="stable")
    return np.array(boxes)[order], np.array(scores)[order], np.array(labels)[order], np.array(coefficients)[order]
