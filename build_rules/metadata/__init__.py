"""The compiled `edgefirst.json` and its checks: pure functions from what is known to what is written.

`vocabulary.py`     the closed lists of the format
`physical.py`       the HEF's output tensors, and which endpoint each carries
`anchors.py`        the anchors of a classic anchor head
`outputs.py`        the compiled `outputs[]`
`document.py`       the compiled document
`checks.py`         the checklist of a compiled document (`output_checks.py`, `problems.py`: its parts)
`labels.py`         `labels.txt`
`tiling.py`         the `tiling` section
`serialize.py`      the document as bytes
"""

from __future__ import annotations

from build_rules.metadata.checks import ITEMS, Problem, check_document
from build_rules.metadata.document import BuildFacts, CalibrationGeometry, Compiled, compile_document
from build_rules.metadata.labels import check_labels, labels_text, read_labels
from build_rules.metadata.outputs import class_count, compile_outputs
from build_rules.metadata.physical import PhysicalTensor, looks_folded
from build_rules.metadata.serialize import document_bytes
from build_rules.metadata.tiling import check_tiling

__all__ = [
    "ITEMS",
    "BuildFacts",
    "CalibrationGeometry",
    "Compiled",
    "PhysicalTensor",
    "Problem",
    "check_document",
    "check_labels",
    "check_tiling",
    "class_count",
    "compile_document",
    "compile_outputs",
    "document_bytes",
    "labels_text",
    "looks_folded",
    "read_labels",
]
