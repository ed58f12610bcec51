"""A physical output tensor, as the HEF describes it, and the binding of endpoints to physical tensors.

Source of the facts: `EdgeLayerInfo` and `NumericInfo` in the HEF's protobuf. `original_names` are the ONNX nodes that
the compiler fused into the layer, which is the only link between a tensor of the HEF and the graph it came from.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from build_rules.errors import InputError
from build_rules.records.roles import UNIT_ACTIVATIONS
from build_rules.records.split_json import Endpoint, Split

__all__ = ["Bound", "PhysicalTensor", "bind_endpoints", "folded_by_ranges", "looks_folded"]

_LEVELS = {"uint8": 255, "uint16": 65535}
_FLOAT = "float32"
_TOLERANCE = (
    0.01  # a compiler rounds the range of a folded sigmoid to whole steps; a logit is never this close to [0, 1]
)


@dataclass(frozen=True)
class PhysicalTensor:
    """One output stream of a HEF, or one output of the network before it is quantized.

    `name` is the vstream name, `shape` is `(1, H, W, C)`. `dtype` is `uint8` or `uint16`, with `real = scale * (q -
    zero_point)` for the whole tensor, or `float32`, whose `scale` and `zero_point` are None. `limits` are the real
    values `(min, max)` that the compiler measured, None when the file says nothing. `original_names` are the fused
    ONNX node names.
    """

    name: str
    shape: tuple[int, int, int, int]
    dtype: str
    scale: float | None
    zero_point: int | None
    original_names: tuple[str, ...]
    limits: tuple[float, float] | None = None

    @property
    def is_float(self) -> bool:
        """Whether the values are real numbers as they are."""
        return self.dtype == _FLOAT

    @property
    def exact_scale(self) -> float:
        """The scale as the HEF stores it, a float32, as the double of equal value; infinite when it is none.

        That of a float tensor is 1: its values are real.
        """
        if self.scale is None:
            return 1.0
        try:
            exact: float = struct.unpack("<f", struct.pack("<f", self.scale))[0]
        except OverflowError:
            return math.inf
        return exact

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real value that the quantization can express; a float has no bounds."""
        if self.scale is None or self.zero_point is None:
            return -math.inf, math.inf
        return -self.scale * self.zero_point, self.scale * (_LEVELS[self.dtype] - self.zero_point)


@dataclass(frozen=True)
class Bound:
    """An endpoint of the cut graph and the physical tensor that carries it; `stride` is `(x, y)` in input pixels."""

    endpoint: Endpoint
    tensor: PhysicalTensor
    stride: tuple[int, int]


def looks_folded(tensor: PhysicalTensor) -> bool:
    """Tell whether the tensor's values are those of a sigmoid or softmax: everything it can express is within [0, 1].

    Quantization always spans zero, so logits, which take both signs, express negative values and do not pass.
    """
    low, high = tensor.range if tensor.limits is None else tensor.limits
    return low >= -_TOLERANCE and high <= 1 + _TOLERANCE


def folded_by_ranges(split: Split, tensors: tuple[PhysicalTensor, ...]) -> frozenset[str]:
    """Return the endpoints whose activation the HEF has, as its ranges tell; never of roles that may not be folded."""
    return frozenset(
        binding.endpoint.name
        for binding in bind_endpoints(split, tensors)
        if binding.endpoint.foldable in UNIT_ACTIVATIONS and looks_folded(binding.tensor)
    )


def bind_endpoints(split: Split, tensors: tuple[PhysicalTensor, ...]) -> tuple[Bound, ...]:
    """Return every endpoint of `split`, in its order, with the tensor whose fused nodes contain the endpoint's node.

    Raises `InputError` when an endpoint has no tensor or several, when two endpoints share one, when a tensor belongs
    to no endpoint, when a shape differs from the graph's, or when a tensor's numbers are not a quantization.
    """
    for tensor in tensors:
        _check_tensor(tensor)
    bound = tuple(_bind(endpoint, split, tensors) for endpoint in split.endpoints)
    owners: dict[str, str] = {}
    for binding in bound:
        if binding.tensor.name in owners:
            raise InputError(
                f"{split.model}: endpoints {owners[binding.tensor.name]!r} and {binding.endpoint.name!r} are both "
                f"found in the HEF output {binding.tensor.name!r}; the HEF was not compiled from this split: rebuild "
                "it."
            )
        owners[binding.tensor.name] = binding.endpoint.name
    strangers = [tensor.name for tensor in tensors if tensor.name not in owners]
    if strangers:
        raise InputError(
            f"{split.model}: the HEF has outputs that no endpoint of the split explains: {_names(strangers)}; "
            "it was not compiled from this split: rebuild it, or give the HEF's own ONNX."
        )
    return bound


def _check_tensor(tensor: PhysicalTensor) -> None:
    """Refuse a tensor that no decoder could read."""
    if tensor.dtype not in (*_LEVELS, _FLOAT):
        dtypes = _names((*_LEVELS, _FLOAT))
        raise InputError(f"HEF output {tensor.name!r}: dtype {tensor.dtype!r} is not one of {dtypes}.")
    if len(tensor.shape) != 4 or tensor.shape[0] != 1 or min(tensor.shape) < 1:
        raise InputError(f"HEF output {tensor.name!r}: shape {list(tensor.shape)} is not [1, H, W, C].")
    if tensor.is_float:
        if (tensor.scale, tensor.zero_point) != (None, None):
            raise InputError(f"HEF output {tensor.name!r}: is {tensor.dtype}, which has no scale and no zero point.")
        return
    if type(tensor.zero_point) is not int:
        raise InputError(f"HEF output {tensor.name!r}: zero point {tensor.zero_point!r} is not an integer.")
    if tensor.scale is None or not 0 < tensor.exact_scale < math.inf:
        raise InputError(f"HEF output {tensor.name!r}: quantization scale {tensor.scale!r} is not a positive number.")


def _bind(endpoint: Endpoint, split: Split, tensors: tuple[PhysicalTensor, ...]) -> Bound:
    """Find the tensor of one endpoint and compare its shape."""
    matching = [tensor for tensor in tensors if endpoint.node and endpoint.node in tensor.original_names]
    if not matching:
        outputs = _names(f"{t.name} ({', '.join(t.original_names) or 'no original names'})" for t in tensors)
        raise InputError(
            f"{split.model}: no output of the HEF comes from node {endpoint.node!r} (endpoint {endpoint.name!r}); it "
            f"has {outputs or 'no outputs'}. The HEF was not compiled from this split: rebuild it."
        )
    if len(matching) > 1:
        raise InputError(
            f"{split.model}: endpoint {endpoint.name!r} (node {endpoint.node!r}) is ambiguous: the HEF outputs "
            f"{_names(t.name for t in matching)} all come from it; the HEF was not compiled from this split: rebuild "
            "it."
        )
    tensor = matching[0]
    expected = _nhwc(endpoint, split)
    if tensor.shape != expected:
        raise InputError(
            f"{split.model}: HEF output {tensor.name!r} has shape {list(tensor.shape)} (NHWC), but endpoint "
            f"{endpoint.name!r} has {list(expected)} in the graph; the HEF was not compiled from this split: rebuild "
            "it."
        )
    return Bound(endpoint, tensor, _stride(endpoint, split, tensor))


def _nhwc(endpoint: Endpoint, split: Split) -> tuple[int, ...]:
    """Return the endpoint's shape as Hailo lays it out; in ONNX a convolution's output is NCHW whatever the input."""
    if len(endpoint.shape) != 4:
        raise InputError(
            f"{split.model}: endpoint {endpoint.name!r} has shape {list(endpoint.shape)}; only tensors with four axes "
            "(batch, channels, height, width) can become HEF outputs: correct the split hints."
        )
    n, c, h, w = endpoint.shape
    return (n, h, w, c)


def _stride(endpoint: Endpoint, split: Split, tensor: PhysicalTensor) -> tuple[int, int]:
    """Return how many input pixels one cell covers, `(x, y)`, from the shapes; the split's own number must agree."""
    _, rows, columns, _ = tensor.shape
    if split.input.width % columns or split.input.height % rows:
        raise InputError(
            f"{split.model}: endpoint {endpoint.name!r} has {rows}x{columns} cells, which do not divide the input of "
            f"{split.input.height}x{split.input.width} pixels; export the model for an input that is a multiple of its "
            "stride."
        )
    stride = (split.input.width // columns, split.input.height // rows)
    if endpoint.stride is not None and endpoint.stride not in stride:
        raise InputError(
            f"{split.model}: endpoint {endpoint.name!r} is said to have stride {endpoint.stride}, but {rows}x{columns} "
            f"cells of a {split.input.height}x{split.input.width} input have stride {stride[1]}x{stride[0]}; correct "
            "the split hints."
        )
    return stride


def _names(names: Iterable[str]) -> str:
    """Return names for a sentence, sorted so that equal causes give equal messages."""
    return ", ".join(sorted(names))
