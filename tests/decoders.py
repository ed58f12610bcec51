"""The two decoders that read compiled models in the field, as judges: `edgefirst_hal` and its successor
`edgefirst.decoder`.

Both bind tensors to children by shape, so the order of the tensors matters when shapes are equal: they are handed over
in the order in which the document lists the children, which is the order that our documents promise to be right.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("RUST_LOG", "error")  # before the import: both libraries warn about every missing GPU

import edgefirst.decoder as edgefirst_decoder
import edgefirst.tensor as edgefirst_tensor
import edgefirst_hal

__all__ = [
    "DECODERS",
    "Detections",
    "decode_with_edgefirst",
    "decode_with_hal",
    "physical_outputs",
    "resolve_model_config",
]

resolve_model_config = edgefirst_decoder.resolve_model_config


@dataclass(frozen=True)
class Detections:
    """What a decoder found, best score first.

    `boxes` float32 [N, 4], x1 y1 x2 y2 as fractions of the input; `scores` float32 [N]; `classes` int64 [N]; `masks`
    one uint8 [h, w, 1] per detection at the resolution of the prototypes, cropped to its box (set above 127), empty
    without prototypes.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    masks: tuple[npt.NDArray[np.uint8], ...]


def physical_outputs(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the physical tensors of a compiled document, in its order."""
    for output in document["outputs"]:
        yield from output.get("outputs") or [output]


def decode_with_hal(
    document: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], *, score: float = 0.25, iou: float = 0.7
) -> Detections:
    """Decode NHWC tensors, quantized or float, keyed by vstream name, with `edgefirst_hal`."""
    nms = {"class_agnostic": edgefirst_hal.Nms.ClassAgnostic, "class_aware": edgefirst_hal.Nms.ClassAware}[
        document["nms"]
    ]
    decoder = edgefirst_hal.Decoder.new_from_json_str(json.dumps(document), score, iou, nms)
    return _decode(decoder, edgefirst_hal, document, tensors)


def decode_with_edgefirst(
    document: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], *, score: float = 0.25, iou: float = 0.7
) -> Detections:
    """Decode NHWC tensors, quantized or float, keyed by vstream name, with `edgefirst.decoder`, which reads `nms`."""
    decoder = edgefirst_decoder.Decoder.new_from_json_str(json.dumps(document), score, iou)
    return _decode(decoder, edgefirst_tensor, document, tensors)


DECODERS = {"edgefirst_hal": decode_with_hal, "edgefirst.decoder": decode_with_edgefirst}


def _decode(
    decoder: Any, library: Any, document: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
) -> Detections:
    """Wrap the arrays in the library's tensors, with the document's quantization, and decode."""
    tensors = []
    for physical in physical_outputs(document):
        array = arrays[physical["name"]]
        if list(array.shape) != physical["shape"] or array.dtype.name != physical["dtype"]:
            raise AssertionError(f"{physical['name']}: {array.dtype.name}{array.shape} is not what the document says")
        tensor = library.Tensor(list(array.shape), dtype=array.dtype.name, mem=library.TensorMemory.MEM)
        tensor.from_numpy(np.ascontiguousarray(array))
        quantization = physical["quantization"]
        # Float tensors refuse a quantization; the document of a split output must name one all the same.
        if quantization is not None and array.dtype.kind in "iu":
            tensor.set_quantization_per_tensor(quantization["scale"], quantization["zero_point"])
        tensors.append(tensor)
    boxes, scores, classes, masks = decoder.decode(tensors)
    order = np.argsort(-np.asarray(scores), kind="stable")
    return Detections(
        boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order],
        scores=np.asarray(scores, dtype=np.float32)[order],
        classes=np.asarray(classes).astype(np.int64)[order],
        masks=tuple(np.asarray(masks[i]) for i in order) if len(masks) == len(order) else tuple(map(np.asarray, masks)),
    )
