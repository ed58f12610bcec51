"""From trained weights to the ONNX file a trainer would hand over, EdgeFirst metadata included.

The file must be the same bytes for the same weights: no timestamps, no host names, metadata in a fixed order.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from training.networks import MASKS, NETWORKS, Detector, fuse
from training.pool import INPUT_SIZE
from training.scenes import CLASSES

__all__ = ["export", "metadata"]

OPSET = 17
AUTHOR = "the example models of this repository"
DATA_SET = "shapes"
DESCRIPTIONS = {
    "shapes-det": "Five shapes, boxes as distributions over bins (YOLOv8 design)",
    "shapes-seg": "Five shapes with masks, boxes as distributions over bins (YOLOv8 design)",
    "shapes-wide": "Five shapes of every size, boxes as plain distances on one fine grid",
    "shapes-attn": "Five shapes, boxes as plain distances, attention before the neck (YOLO11 and YOLO26 design)",
}


def _outputs(masks: bool, channels: int, cells: int) -> list[dict[str, Any]]:
    """The logical outputs, as the graph has them before any cut."""
    detection = {
        "name": "output0",
        "type": "detection",
        "shape": [1, channels, cells],
        "dshape": [{"batch": 1}, {"num_features": channels}, {"num_boxes": cells}],
        "decoder": "ultralytics",
        "encoding": "direct",
        "score_format": "per_class",
        "normalized": False,
        "dtype": "float32",
    }
    side = INPUT_SIZE // 4
    protos = {
        "name": "output1",
        "type": "protos",
        "shape": [1, MASKS, side, side],
        "dshape": [{"batch": 1}, {"num_protos": MASKS}, {"height": side}, {"width": side}],
        "decoder": "ultralytics",
        "dtype": "float32",
    }
    return [detection, protos] if masks else [detection]


def _split_hint(masks: bool, strides: tuple[int, ...]) -> dict[str, Any]:
    """Where the head may be cut so that every part gets a quantization range of its own."""
    scores_end = 4 + len(CLASSES)
    boundaries: list[dict[str, Any]] = [
        {"name": "boxes", "channels": [0, 4]},
        {"name": "scores", "channels": [4, scores_end], "activation": "sigmoid"},
    ]
    if masks:
        boundaries.append({"name": "mask_coefs", "channels": [scores_end, scores_end + MASKS]})
    return {
        "type": "quantization_split",
        "target": "output0",
        "input_dtype": "uint8",
        "output_dtype": "int8",
        "strides": list(strides),
        "anchors_per_cell": 1,
        "description": "Boxes, scores and mask coefficients differ in range: quantize each on its own",
        "boundaries": boundaries,
    }


def metadata(name: str) -> dict[str, Any]:
    """The `edgefirst.json` document of one model."""
    design = NETWORKS[name]
    cells = sum((INPUT_SIZE // stride) ** 2 for stride in design.strides)
    channels = 4 + len(CLASSES) + (MASKS if design.masks else 0)
    return {
        "schema_version": 2,
        "name": name,
        "description": DESCRIPTIONS[name],
        "author": AUTHOR,
        "host": {"studio_server": "local", "project_id": None, "session": None, "organization": None},
        "dataset": {"name": DATA_SET, "id": None, "classes": list(CLASSES)},
        "input": {
            "shape": [1, 3, INPUT_SIZE, INPUT_SIZE],
            "dshape": [{"batch": 1}, {"num_features": 3}, {"height": INPUT_SIZE}, {"width": INPUT_SIZE}],
            "cameraadaptor": "rgb",
            "input_channels": 3,
            "output_channels": 3,
        },
        "model": {
            "task": "segmentation" if design.masks else "detection",
            "size": "t",
            "detection": True,
            "segmentation": design.masks,
            "anchors": None,
            "end2end": False,
            "classes": len(CLASSES),
            "format": "onnx",
        },
        "validation": {
            "iou": 0.7,
            "score": 0.001,
            "nms": "hal",
            "normalization": "unsigned",
            "preprocessing": "letterbox",
        },
        "decoder_version": "yolo26" if design.direct else "yolov8",
        # Shapes overlap: suppressing a star because a circle stands before it costs three points of mAP50.
        "nms": "class_aware",
        "calibration": None,
        "split_hints": [_split_hint(design.masks, design.strides)],
        "outputs": _outputs(design.masks, channels, cells),
    }


def _embed(model: onnx.ModelProto, name: str) -> None:
    """Put the document and its quick copies where trainers put them."""
    properties = {
        "edgefirst": json.dumps(metadata(name)),
        "labels": json.dumps(CLASSES),
        "name": name,
        "description": DESCRIPTIONS[name],
        "author": AUTHOR,
        "dataset": DATA_SET,
    }
    del model.metadata_props[:]
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)


def _check(model: onnx.ModelProto, network: Detector) -> None:
    """Refuse to write a file whose answers are not the network's."""
    onnx.checker.check_model(model, full_check=True)
    images = np.random.default_rng(0).random((1, 3, INPUT_SIZE, INPUT_SIZE), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        answer = network(torch.from_numpy(images))
    expected = answer if isinstance(answer, tuple) else (answer,)
    for ours, theirs in zip(session.run(None, {"images": images}), expected, strict=True):
        worst = float(np.abs(ours - theirs.numpy()).max())
        if worst > 1e-4 * max(1.0, float(theirs.abs().max())) or np.isnan(worst):
            raise ValueError(f"the exported graph differs from the network by {worst}")


def export(network: Detector, name: str, file: Path) -> None:
    """Fuse, export, embed, check, and only then replace the file. The network is changed (fused, on eval)."""
    network.eval()
    fuse(network)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    names = ["output0", "output1"] if NETWORKS[name].masks else ["output0"]
    example = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (example,), partial, dynamo=False, opset_version=OPSET, input_names=["images"], output_names=names
        )
    model = onnx.load(partial)
    _embed(model, name)
    _check(model, network)
    partial.write_bytes(model.SerializeToString(deterministic=True))
    partial.replace(file)
