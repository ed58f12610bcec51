"""What the document of an export without EdgeFirst metadata says: as EdgeFirst's own decoder infers it.

Source: `edgefirst.decoder.infer_ultralytics_schema` (0.38); docs/metadata.md holds both side by side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from build_rules.records.roles import DETECTOR
from build_rules.records.split_json import Split
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.preprocessing import color_word
from build_rules.trainer.vocabulary import COLOR_KEYS, DEFAULT_NMS

__all__ = ["complete_bare"]


def complete_bare(trainer: TrainerDocument, split: Split) -> TrainerDocument:
    """Return the document with what is inferred in place of what it does not say; one with metadata as it is."""
    if trainer.key is not None:
        return trainer
    section, color = dict(trainer.section("input")), split.preprocessing.color
    if color is not None and color_word(section) is None:
        section[COLOR_KEYS[0]] = color
    inferred: dict[str, Any] = {"nms": DEFAULT_NMS}
    # An anchor head is described by its outputs alone, and nobody infers a document for one.
    if trainer.ultralytics and not split.anchor_head and {endpoint.role for endpoint in split.endpoints} >= DETECTOR:
        inferred["decoder_version"] = "yolo26" if trainer.end2end else "yolov8"
    return replace(trainer, content={**inferred, **trainer.content, **({"input": section} if section else {})})
