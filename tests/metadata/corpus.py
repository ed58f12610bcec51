"""The corpus as this room sees it: the trainer's documents, the true splits, the networks' own tensors in float."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from PIL import Image

from build_rules.metadata.physical import PhysicalTensor
from build_rules.records.split_json import Endpoint, ModelInput, Split
from tests.shared import SHARED, corpus_model, corpus_truth, needs_shared

__all__ = [
    "MODELS",
    "Array",
    "anchors_of",
    "every_model",
    "float_tensors",
    "nhwc",
    "picture",
    "run",
    "source_of",
    "split_of",
]

Array = npt.NDArray[Any]

CORPUS = SHARED / "corpus"
TRUTH: dict[str, Any] = corpus_truth() if CORPUS.is_dir() else {}
# Nothing to cut, or nothing of static shape to cut at.
MODELS = [name for name, truth in TRUTH.items() if truth["endpoints"] and truth["endpoints"][0]["stride"]]
ORDER = ("boxes", "scores", "mask_coefs", "landmarks", "anchor", "protos", "segmentation")
ACTIVATIONS = {"scores": "sigmoid", "anchor": "sigmoid", "segmentation": "softmax"}

every_model = pytest.mark.parametrize("name", MODELS or [pytest.param("", marks=needs_shared)])


def source_of(name: str) -> dict[str, Any]:
    """The document that the trainer embedded; nothing for a copy without metadata."""
    with zipfile.ZipFile(CORPUS / f"{name}.onnxz") as archive:
        model = onnx.load_from_string(archive.read("model.onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    text = properties.get("edgefirst") or properties.get("edgefirst.json") or "{}"
    document: dict[str, Any] = json.loads(text)
    return document


def split_of(name: str) -> Split:
    """The split that the manifest calls the truth."""
    truth = TRUTH[name]
    found = sorted([*truth["endpoints"], *truth["proto"]], key=lambda e: (ORDER.index(e["role"]), e.get("scale", 0)))
    boxes = {None: "anchor", 1: "direct", 16: "dfl"}[truth["reg_max"]]
    endpoints = [
        Endpoint(
            name=f"{one['role']}_{one.get('scale', 0)}",
            role=one["role"],
            scale_index=one.get("scale"),
            stride=one.get("stride"),
            tensor=one["tensor"],
            node=one["node"],
            shape=tuple(one["shape"]),
            encoding=boxes if one["role"] in ("boxes", "anchor") else None,
            activation=ACTIVATIONS.get(one["role"]),
        )
        for one in found
    ]
    input_name, shape = truth["input"]
    return Split(name, ModelInput(input_name, tuple(shape)), tuple(endpoints), (), None)


def anchors_of(name: str) -> Array | None:
    """The anchors of an anchor head, [levels, anchors, 2] in pixels; None for any other head."""
    anchors = TRUTH[name]["anchors"]
    return None if anchors is None else np.array(anchors, float)


def float_tensors(split: Split) -> tuple[PhysicalTensor, ...]:
    """The outputs of the cut network before anything is quantized."""
    return tuple(
        PhysicalTensor(f"{split.model}/{e.name}", nhwc(e.shape), "float32", None, None, (e.node,))
        for e in split.endpoints
    )


def nhwc(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A shape as a HEF has it."""
    return (shape[0], shape[2], shape[3], shape[1])


def picture(split: Split, what: str) -> Array:
    """A photograph or random colours as the network wants them, [1, 3, H, W] in [0, 1].

    The colours are patches of little contrast: the sharp noise of independent pixels is like no image, and drives the
    scores of networks to where thousands of them are exactly 1.
    """
    size = (split.input.width, split.input.height)
    if what == "random":
        patches = np.random.default_rng(1).integers(76, 179, (24, 24, 3)).astype(np.uint8)
        pixels = np.asarray(Image.fromarray(patches).resize(size, Image.Resampling.BILINEAR), np.float32)
    else:
        with Image.open(SHARED / "images" / what) as image:
            pixels = np.asarray(image.convert("RGB").resize(size), np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / 255)


def run(split: Split, image: Array) -> tuple[list[Array], dict[str, Array]]:
    """Run the whole original network: its own outputs, and the endpoints' tensors, NHWC, by the names of their streams.

    The graph is left as it is and only asked for more of its tensors: nothing here depends on how it is cut.
    """
    model = onnx.load(corpus_model(split.model))
    _restore_grid(model, split)
    own = [output.name for output in model.graph.output]
    asked = dict.fromkeys(endpoint.tensor for endpoint in split.endpoints)
    for tensor in asked.keys() - set(own):
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = [*own, *(tensor for tensor in asked if tensor not in own)]
    found = dict(zip(wanted, session.run(wanted, {split.input.name: image}), strict=True))
    tensors = {
        tensor.name: np.ascontiguousarray(found[endpoint.tensor].transpose(0, 2, 3, 1))
        for endpoint, tensor in zip(split.endpoints, float_tensors(split), strict=True)
    }
    return [found[name] for name in own], tensors


def _restore_grid(model: onnx.ModelProto, split: Split) -> None:
    """Put the cells' centres back where an exporter keeps them among the weights, which noise has replaced."""
    for stored in model.graph.initializer:
        if stored.name == "model.22.anchors":
            sizes = [endpoint.shape[2:] for endpoint in split.endpoints if endpoint.role == "boxes"]
            centres = [np.indices(size)[::-1].reshape(2, -1) + 0.5 for size in sizes]
            stored.CopyFrom(onnx.numpy_helper.from_array(np.hstack(centres).astype(np.float32), stored.name))
