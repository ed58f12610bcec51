"""model.hef, split.json, calibration.json, reports, the ONNX's metadata, labels -> edgefirst.json, model+meta.hef."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from build_rules import __version__
from build_rules.compilers.protocol import Compiler
from build_rules.compilers.read_back import read_compile, read_optimize
from build_rules.errors import InputError
from build_rules.hef import Hef, embed_zip, read_hef
from build_rules.metadata.bare import complete_bare
from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.metadata.examine import examine
from build_rules.metadata.hef_outputs import physical_tensors
from build_rules.metadata.outputs import class_count
from build_rules.metadata.physical import folded_by_ranges
from build_rules.metadata.pixels import with_front
from build_rules.metadata.serialize import document_bytes
from build_rules.presets import Preset
from build_rules.records.calibration_json import Calibrated, load_calibrated
from build_rules.records.split_json import load_split
from build_rules.records.stage_report import StageReport, load_report
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.labels import check_labels, labels_text, read_labels
from build_rules.trainer.read_document import read_document

__all__ = ["run"]

STAGES = ("optimize", "compile")

# The beginning of time for ZIP; a file without a time of its own gets it rather than the clock's.
NO_TIME = datetime(1980, 1, 1, tzinfo=timezone.utc)


def run(
    hef: Path,
    split_json: Path,
    calibrated: Sequence[Path],
    reports: Sequence[Path],
    onnx: Path,
    labels: Sequence[Path],
    document: Path,
    executable: Path,
    hw_arch: str,
    preset: Preset | None,
    compiler: str,
    embed: Literal["append", "sealed"],
    metadata: str | None,
    source_date_epoch: int | None,
    har: Sequence[Path] = (),
    model_script: Sequence[Path] = (),
    logs: Sequence[Path] = (),
    maker: Compiler | None = None,
) -> None:
    """Describe the compiled outputs as the HEF has them, add the description to it, and check what was written.

    `metadata` is a JSON object that is merged over the metadata in the ONNX. `reports` are those of the stages
    optimize and compile, `logs` what they logged, where `maker`, the compiler, keeps that. For a HEF that was compiled
    elsewhere there are none of these, nor what it was made of, and `preset` is None.
    """
    compiled_hef, split, trainer = read_hef(hef), load_split(split_json), read_document(onnx, metadata)
    tensors = physical_tensors(compiled_hef)
    if preset is None:  # what is compiled here, the step that did it has compared with what was asked for
        _check_architecture(compiled_hef, hw_arch, hef)
        split = with_front(split)
    calibration = load_calibrated(calibrated[0]) if calibrated else None
    stages = dict(zip(STAGES, map(load_report, reports), strict=False))
    if maker is not None:
        optimize_log, compile_log = logs or (None, None)
        stages = {
            "optimize": read_optimize(maker, stages["optimize"], har[0], model_script[0], optimize_log),
            "compile": read_compile(maker, stages["compile"], hef, har[0], model_script[0], compile_log, hw_arch),
        }
    facts = _facts(compiled_hef, calibration, hw_arch, preset, compiler, source_date_epoch, stages)
    # Whoever compiled it elsewhere may have folded less than the presets here do; the ranges tell.
    folded = split.folded if preset is not None else folded_by_ranges(split, tensors)
    compiled = compile_document(complete_bare(trainer, split), split, tensors, facts, folded)
    for warning in compiled.warnings:
        print(f"   warning: {warning}")
    names = _labels(labels, trainer, onnx)
    classes = class_count(compiled.document["outputs"])
    try:
        if classes is not None:
            check_labels(names, classes)
        members = {"edgefirst.json": document_bytes(compiled.document), "labels.txt": labels_text(names).encode()}
    except InputError as error:
        raise InputError(f"{labels[0] if labels else onnx}: {error}") from error
    document.write_bytes(members["edgefirst.json"])
    embed_zip(hef, members, executable, embed)
    _check_written(executable)
    if facts.emulated:
        print("   emulated: runs on this machine (doit infer), not on a device")


def _check_written(executable: Path) -> None:
    """Read back what was written, as a reader would that knows nothing else."""
    wrong = [f"{p.path} {p.text}".strip() for p in examine(executable).problems if p.severity == "error"]
    if wrong:
        raise InputError(f"{executable}: is not described rightly: {'; '.join(wrong)}.")


def _check_architecture(hef: Hef, hw_arch: str, path: Path) -> None:
    if hw_arch not in hef.chips:
        advice = f'write hw_arch = "{hef.hw_arch}" into a [[target]]'
        raise InputError(f"{path}: was compiled for {hef.hw_arch}, but the target is {hw_arch}; {advice}.")


def _facts(
    hef: Hef,
    calibrated: Calibrated | None,
    hw_arch: str,
    preset: Preset | None,
    compiler: str,
    source_date_epoch: int | None,
    stages: Mapping[str, StageReport],
) -> BuildFacts:
    name, _, version = compiler.partition(" ")
    return BuildFacts(
        version=__version__,
        timestamp=_timestamp(hef, source_date_epoch),
        hw_arch=hw_arch,
        preset=None if preset is None else preset.name,
        compiler=name,
        compiler_version=version or None,
        emulated=hef.is_emulated,
        sdk_version=hef.sdk_version,
        calibrated=calibrated,
        stages=stages,
    )


def _timestamp(hef: Hef, source_date_epoch: int | None) -> str:
    """Return ISO 8601 in UTC: `SOURCE_DATE_EPOCH`, else when the compiler says it made the HEF, never the clock."""
    if source_date_epoch is not None:
        moment = datetime.fromtimestamp(source_date_epoch, timezone.utc)
    else:
        moment = hef.created or NO_TIME
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _labels(files: Sequence[Path], trainer: TrainerDocument, onnx: Path) -> tuple[str, ...]:
    if files:
        return read_labels(files[0])
    if not trainer.labels:
        raise InputError(f"{onnx}: {trainer.lack_of_labels}")
    return trainer.labels
