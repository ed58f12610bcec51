"""What each step is made of: its function, the modules of ours whose code decides its output, and what it takes.

A change in one of these modules runs the step again; which ones are missing or too many `tests/test_rules.py` tells.
Code of a compiler is added by the step that is handed one (`dodo.py`).
"""

from __future__ import annotations

from build_rules.engine.running.rule import Rule

__all__ = ["ALLS", "CALIBRATION", "HAR", "HEF", "META", "PARSE", "RECORDS", "SPLIT", "STATISTICS"]

ALL = 1 << 16
"""More cores than a machine has: a step that uses all there are."""
RECORDS = (
    "records/__init__.py",
    "records/calibration_json.py",
    "records/normalization.py",
    "records/roles.py",
    "records/split_hint.py",
    "records/split_json.py",
    "errors.py",
)

SPLIT = Rule(
    "split",
    "build_rules.steps.split:run",
    (
        "steps/split.py",
        "graph",
        "onnx_file",
        "trainer",
        "metadata/outputs.py",
        "metadata/physical.py",
        "objects/formulas.py",
        "calibration/sample.py",
        "calibration/pixels/adaptor.py",
        "calibration/pixels/image_file.py",
        "calibration/pixels/images.py",
        "calibration/pixels/letterbox.py",
        "calibration/pool/folders.py",
        "calibration/pool/list_file.py",
        "calibration/pool/sources.py",
        "calibration/pool/suffixes.py",
        "calibration/snapshot/find_named.py",
        "calibration/snapshot/safetensors_file.py",
        "calibration/snapshot/snapshot_file.py",
        "atomic_file.py",
        "regular_file.py",
        "varint.py",
        "versions.py",
        "inference.py",
        "engine/running/note_reads.py",
        "records/choices.py",
        *RECORDS,
    ),
    needs=(("cores", 1), ("memory_mb", 1000)),
)
CALIBRATION = Rule(
    "calibration",
    "build_rules.steps.calibration:run",
    (
        "steps/calibration.py",
        "atomic_file.py",
        "calibration/chosen.py",
        "calibration/fitted.py",
        "calibration/frames.py",
        "calibration/produce.py",
        "calibration/sheet.py",
        "calibration/pixels",
        "calibration/pool",
        "calibration/snapshot",
        "regular_file.py",
        "versions.py",
        "engine/running/note_reads.py",
        "engine/database.py",
        "engine/ownership.py",
        "engine/places.py",
        "engine/messages.py",
        "toml_table.py",
        *RECORDS,
    ),
    needs=(("cores", ALL), ("memory_mb", 900)),
)
# What these four do is the compiler's code, which each step adds.
PARSE = Rule(
    "parse",
    "build_rules.steps.parse:run",
    ("steps/parse.py", "compilers/protocol.py", "engine/messages.py", *RECORDS),
)
STATISTICS = Rule(
    "statistics",
    "build_rules.steps.statistics:run",
    ("steps/statistics.py", "compilers/name_sample.py", "compilers/protocol.py", "engine/messages.py", *RECORDS),
    needs=(("cores", 4), ("memory_mb", 600)),
)
ALLS = Rule(
    "alls",
    "build_rules.steps.alls:run",
    (
        "steps/alls.py",
        "alls",
        "presets.py",
        "compilers/archive.py",
        "compilers/har_file.py",
        "records/hardware.py",
        "records/mixed_json.py",
        "regular_file.py",
        "versions.py",
        *RECORDS,
    ),
)
HAR = Rule(
    "har",
    "build_rules.steps.har:run",
    (
        "steps/har.py",
        "compilers/exported_graph.py",
        "compilers/name_sample.py",
        "compilers/pixel_proof.py",
        "compilers/protocol.py",
        "engine/messages.py",
        "records/stage_report.py",
        "calibration/snapshot/safetensors_file.py",
        "inference.py",
        "regular_file.py",
        *RECORDS,
    ),
    needs=(("cores", 2), ("memory_mb", 1500)),
)
HEF = Rule(
    "hef",
    "build_rules.steps.hef:run",
    (
        "steps/hef.py",
        "compilers/protocol.py",
        "engine/messages.py",
        "engine/running/note_reads.py",
        "errors.py",
        "records/stage_report.py",
    ),
)
META = Rule(
    "meta",
    "build_rules.steps.meta:run",
    (
        "__init__.py",
        "steps/meta.py",
        "metadata",
        "trainer/anchors.py",
        "trainer/class_names.py",
        "trainer/document.py",
        "trainer/labels.py",
        "trainer/preprocessing.py",
        "trainer/read_document.py",
        "trainer/tiling.py",
        "trainer/vocabulary.py",
        "hef",
        # What a stage did, and whether that is what was asked for, is told by its step and decided here.
        *("compilers/read_back.py", "compilers/compiled_check.py", "compilers/asked_outputs.py"),
        *("compilers/describe_har.py", "compilers/archive.py", "compilers/har_file.py", "compilers/npz_numbers.py"),
        *("compilers/protocol.py", "alls/script.py"),
        "records/choices.py",
        "records/hardware.py",
        "records/stage_report.py",
        "protobuf.py",
        "atomic_file.py",
        "onnx_file/field_reader.py",
        "onnx_file/onnx_files.py",
        "presets.py",
        "regular_file.py",
        "varint.py",
        "versions.py",
        *RECORDS,
    ),
)
