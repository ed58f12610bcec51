"""The compiled `edgefirst.json`: the trainer's document, with what the converter knows in place of what it consumed.

Source: the EdgeFirst metadata documentation (schema v2): `split_hints` goes, `outputs` is compiled, `input` describes
the compiled input, a section named after the converter comes, and every other member stays as the trainer wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from build_rules.errors import InputError
from build_rules.metadata.checks import check_document
from build_rules.metadata.outputs import compile_outputs
from build_rules.metadata.physical import PhysicalTensor
from build_rules.metadata.pixels import say_pixels
from build_rules.records.calibration_json import Calibrated
from build_rules.records.split_json import ModelInput, Split
from build_rules.records.stage_report import StageReport
from build_rules.trainer.anchors import split_anchors
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.vocabulary import DECODER_VERSIONS, DEFAULT_NMS, HINT_TYPE, NMS_MODES, SCHEMA_VERSION

__all__ = ["BuildFacts", "Compiled", "compile_document"]

SECTION = "hailo"


@dataclass(frozen=True)
class BuildFacts:
    """What the build knows and the trainer does not: the content of the section `hailo`.

    `version` is this package's, `timestamp` ISO 8601, `sdk_version` the one in the HEF's header (None when it has
    none), `calibrated` the facts of the snapshot. These, the preset and the compiler's version are None for a HEF that
    was compiled elsewhere. `stages` are what the stages of the compiler report, by name, in their order.
    """

    version: str
    timestamp: str
    hw_arch: str
    preset: str | None
    compiler: str
    compiler_version: str | None
    emulated: bool
    sdk_version: str | None = None
    calibrated: Calibrated | None = None
    stages: Mapping[str, StageReport] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiled:
    """The compiled document, in its final member order, and what the user should know about it."""

    document: dict[str, Any]
    warnings: tuple[str, ...]


def compile_document(
    trainer: TrainerDocument,
    split: Split,
    tensors: tuple[PhysicalTensor, ...],
    facts: BuildFacts,
    folded: Collection[str],
) -> Compiled:
    """Compile the trainer's document for the HEF whose outputs are `tensors`; arguments are left unchanged.

    `folded` names the endpoints whose activation is on the chip. Raises `InputError` when split and HEF do not match
    (see `compile_outputs`), for anchors that cannot be (see `split_anchors`), for a timestamp that is not ISO 8601, and
    when the result would fail one of the checks of `check_document`.
    """
    warnings: list[str] = []
    document = {key: value for key, value in trainer.content.items() if key not in ("split_hints", SECTION)}
    document = {"schema_version": SCHEMA_VERSION, **document}
    document["input"] = _input(trainer, split.input)
    if trainer.selects_boxes:
        # The graph was cut before it selects its boxes: readers that go by this would leave out their suppression.
        document["model"] = {**document["model"], "end2end": False}
    say_pixels(document, trainer, split)
    warnings += _close_lists(document)
    document["outputs"] = compile_outputs(split, tensors, folded, split_anchors(trainer, split))
    document[SECTION] = _section(trainer, facts)
    problems = check_document(document, tensors)
    errors = [f"{problem.path} {problem.text}" for problem in problems if problem.severity == "error"]
    if errors:
        raise InputError(f"{split.model}: the compiled edgefirst.json would not be readable: {'; '.join(errors)}.")
    return Compiled(document, (*warnings, *(f"{problem.path} {problem.text}" for problem in problems)))


def _input(trainer: TrainerDocument, image: ModelInput) -> dict[str, Any]:
    """Return the `input` section in the layout of a HEF, NHWC; `dshape` is what tells readers so."""
    axes = {"batch": 1, "height": image.height, "width": image.width, "num_features": image.channels}
    section = dict(trainer.section("input"))
    section["shape"] = list(axes.values())
    section["dshape"] = [{name: size} for name, size in axes.items()]
    return section


def _close_lists(document: dict[str, Any]) -> list[str]:
    """Bring `decoder_version` and `nms` into their closed lists, in place; return what was changed.

    A reader refuses the whole document for an unknown word. `nms` is always written, because its default differs from
    one release of the readers to the next.
    """
    warnings = []
    version = document.get("decoder_version")
    if version not in DECODER_VERSIONS and "decoder_version" in document:
        del document["decoder_version"]
        warnings.append(
            f"decoder_version {version!r} is unknown to the decoders and was left out (they know "
            f"{', '.join(DECODER_VERSIONS)})"
        )
    nms = document.get("nms")
    if nms not in NMS_MODES:
        document["nms"] = DEFAULT_NMS
        was = (
            f"is {nms!r}, not one of {', '.join(NMS_MODES)}" if "nms" in document and nms is not None else "is missing"
        )
        warnings.append(
            f"nms {was}: {DEFAULT_NMS} was written, as decoders do that are told nothing ([metadata] nms in model.toml "
            "says otherwise)"
        )
    return warnings


def _section(trainer: TrainerDocument, facts: BuildFacts) -> dict[str, Any]:
    """Return the section `hailo`; members that do not apply are absent."""
    try:
        datetime.fromisoformat(facts.timestamp.replace("Z", "+00:00"))
    except ValueError as error:
        raise InputError(f"The build's timestamp {facts.timestamp!r} is not ISO 8601 ({error}).") from error
    section: dict[str, Any] = {
        "version": facts.version,
        "timestamp": facts.timestamp,
        "hw_arch": facts.hw_arch,
        "preset": facts.preset,
        "compiler": facts.compiler,
        "compiler_version": facts.compiler_version,
        "sdk_version": facts.sdk_version,
        "emulated": facts.emulated,
        "splits_applied": [HINT_TYPE] if HINT_TYPE in trainer.hint_types else [],
        "calibration": None if facts.calibrated is None else facts.calibrated.file_name,
        "calibration_geometry": None if facts.calibrated is None else facts.calibrated.geometry.as_mapping(),
        "build": _build(facts.stages) or None,
    }
    return {key: value for key, value in section.items() if value is not None}


def _build(stages: Mapping[str, StageReport]) -> dict[str, Any]:
    """Return what the stages did, each in a member of its own name, and what was not as it was asked.

    They stand in a member of their own, since the compiler decides what its facts are called.
    """
    build: dict[str, Any] = {name: dict(stage.facts) for name, stage in stages.items() if stage.facts}
    warnings = [warning for stage in stages.values() for warning in stage.warnings]
    return {**build, "warnings": warnings} if warnings else build
