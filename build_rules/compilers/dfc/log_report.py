"""From what the logs say and what was asked for to what is reported of a stage: facts, and warnings about the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from build_rules.compilers.dfc.asked import FINETUNE, Asked, read_asked
from build_rules.compilers.dfc.log_facts import LogFacts, read_log
from build_rules.compilers.dfc.log_text import last_attempt
from build_rules.records.stage_report import JSON, StageReport

__all__ = ["read_back", "report"]

TOLD = 3
"""Layers that a warning names; the facts have all of them."""


def read_back(stage: str, did: StageReport, log: str, script: str) -> StageReport:
    """Return what a stage says itself (`did`), with what its log says of what the model script asks for."""
    found = report(read_log(last_attempt(log)), read_asked(script) if stage == "optimize" else Asked())
    return StageReport({**found.facts, **did.facts}, (*did.warnings, *found.warnings))


def report(facts: LogFacts, asked: Asked = Asked()) -> StageReport:  # noqa: B008 - it is frozen
    """Return the report of a stage; `asked` is what the script says of the optimization, if it is that stage."""
    return StageReport(dict(_facts(facts, asked)), tuple(_warnings(facts, asked)))


def _facts(facts: LogFacts, asked: Asked) -> Iterator[tuple[str, JSON]]:
    level = next((each for each in (facts.level, asked.level, facts.default_level) if each is not None), None)
    values: Mapping[str, JSON] = {
        "optimization_level": level,
        "calibration_images": facts.datasets.get("calibration"),
        "finetune_images": facts.datasets.get("finetune"),
        "algorithms": list(facts.ran),
        "algorithms_skipped": list(facts.skipped),
        "four_bit_layers": list(facts.four_bit),
        "four_bit_ratio": facts.four_bit_ratio,
        "narrowed_layers": list(facts.narrowed),
        "end_nodes": list(facts.end_nodes),
        "noise_db": dict(facts.noise),
        "contexts": facts.contexts,
        "utilization": [asdict(each) for each in facts.utilization],
        "bandwidth_mbit": dict(facts.bandwidth),
    }
    for name, value in values.items():
        if value is not None and value != [] and value != {}:
            yield name, value


def _warnings(facts: LogFacts, asked: Asked) -> Iterator[str]:
    yield from _level(facts, asked)
    if facts.four_bit and not asked.compression:
        yield (
            f"{_layers(facts.four_bit)} got 4-bit weights{_part(facts.four_bit_ratio)}, which the script does not ask "
            "for; `compression_level=0` keeps 8 bits."
        )
    yield from _images(facts, asked)
    yield from _algorithms(facts, asked)
    if facts.narrowed:
        yield (
            f"{_layers(facts.narrowed)} lost more than half of the bits of what they deliver, since their values range "
            "too widely: calibrate with real images, or clip activations."
        )
    if facts.unnormalized:
        yield (
            "the compiler finds the calibration images not normalized: the script's normalization does not fit what "
            "the network takes."
        )
    if facts.contexts is not None and facts.contexts > 1:
        yield (
            f"the network takes {facts.contexts} contexts: it does not fit on the chip at once, and is loaded in so "
            "many parts for each frame or batch, which costs frames per second."
        )


def _level(facts: LogFacts, asked: Asked) -> Iterator[str]:
    if not _is_lowered(facts, asked):
        return
    wanted = "" if asked.level is None else f" from {asked.level}"
    because = f", because {facts.level_reason}" if facts.level_reason else ""
    missed = [name for name in asked.algorithms if name in facts.skipped and name not in facts.ran]
    without = f": {', '.join(missed)} did not run" if missed else ""
    yield (
        f"the optimization level was lowered{wanted} to {facts.level}{because}{without}. The network detects worse for "
        'it: `gpus = "all"` and 1,024 images keep the level.'
    )


def _is_lowered(facts: LogFacts, asked: Asked) -> bool:
    return facts.level is not None and (asked.level is None or facts.level < asked.level)


def _images(facts: LogFacts, asked: Asked) -> Iterator[str]:
    used = facts.datasets.get("calibration")
    if used is not None and asked.calibration_images is not None and used < asked.calibration_images:
        yield f"the calibration used {used} images of the {asked.calibration_images} that the script asks for."
    used = facts.datasets.get("finetune")
    wanted = asked.finetune_images or facts.short.get(FINETUNE)
    if used is not None and wanted is not None and used < wanted:
        yield f"the fine-tune used {used} images of the {wanted} that it asks for."
    for name, count in facts.short.items():
        if name != FINETUNE or used is None:
            yield f"{name} asks for {count} images, and there were fewer."


def _algorithms(facts: LogFacts, asked: Asked) -> Iterator[str]:
    if _is_lowered(facts, asked):
        return  # it is told with the level
    for name in asked.algorithms:
        if name in facts.skipped and name not in facts.ran:
            yield f"{name} did not run, though the script asks for it."


def _layers(names: tuple[str, ...]) -> str:
    if len(names) <= TOLD:
        return f"{'layer' if len(names) == 1 else 'the layers'} {', '.join(names)}"
    return f"{len(names)} layers ({', '.join(names[:TOLD])}, ...)"


def _part(ratio: float | None) -> str:
    return "" if ratio is None else f" ({ratio:.0%} of all weights)"
