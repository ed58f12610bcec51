"""What the document of an export without EdgeFirst metadata says: as EdgeFirst's own decoder infers it.

Source: `edgefirst.decoder.infer_ultralytics_schema` (0.38); docs/metadata.md holds both side by side.
"""

from __future__ import annotations

from typing import Any

from build_rules.records.roles import DETECTOR
from build_rules.records.split_json import Split
from build_rules.trainer.preprocessing import COLOR_KEYS
from build_rules.trainer.vocabulary import DEFAULT_NMS

__all__ = ["complete_bare"]


def complete_bare(document: dict[str, Any], split: Split, *, ultralytics: bool, end2end: bool) -> dict[str, Any]:
    """Return the document with what is inferred in place of what it does not say.

    `document` is what `model.toml` adds, usually nothing. `ultralytics` and `end2end` are what the export says of
    itself: whose it is, and whether it selects its boxes in the graph.
    """
    section = document.get("input")
    section = section if isinstance(section, dict) else {}
    color = split.preprocessing.color
    if color is not None and not any(section.get(key) is not None for key in COLOR_KEYS):
        section = {**section, "cameraadaptor": color}
    inferred: dict[str, Any] = {"nms": DEFAULT_NMS}
    # An anchor head is described by its outputs alone, and nobody infers a document for one.
    if ultralytics and not split.anchor_head and {endpoint.role for endpoint in split.endpoints} >= DETECTOR:
        inferred["decoder_version"] = "yolo26" if end2end else "yolov8"
    return {**inferred, **document, **({"input": section} if section else {})}
