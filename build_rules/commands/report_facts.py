"""What the build knows of each model and target, as `doit report` tells it to the page."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules import workspace as ws
from build_rules.commands.stage_facts import read_described_warnings
from build_rules.commands.status import target_rows
from build_rules.commands.task_command import Steps, first_sentence
from build_rules.declared.model import Model
from build_rules.declared.settings import Target
from build_rules.engine.freshness.key import Kind
from build_rules.engine.freshness.records import digests_of
from build_rules.engine.memory.durations import History
from build_rules.errors import InputError
from build_rules.regular_file import find_fault
from build_rules.report_page.told import BuiltFrom, ToldModel, ToldTarget
from build_rules.versions import library_version

if TYPE_CHECKING:
    from build_rules.comparison.comparison_inputs import ComparisonInputs

__all__ = ["page_key", "tell_models", "with_sources"]

PAGES = Kind(
    "report",
    "",
    (
        *("report_page", "comparison", "objects", "mixed", "hef", "metadata", "calibration/chosen.py", "compilers"),
        *("commands/report_comparisons.py", "commands/report_facts.py", "commands/report_network.py"),
        *("commands/report_objects.py", "commands/compare_inputs.py", "commands/budget.py"),
    ),
)
"""What the page of a model is made of besides what is told of it."""

FEW = 8
"""Files of one role that are named one by one; of more (calibration images) there is one digest of all."""
COMPILING = ("har", "hef")
"""The steps that a compiler is waited for."""


def tell_models(models: Iterable[Model], steps: Steps) -> list[ToldModel]:
    """Return models by name, with what is told of each in the table of all."""
    rows: dict[tuple[str, str], dict[str, Any]] = {(row["model"], row["target"]): row for row in target_rows(steps)}
    history = History()
    return [_tell(model, rows, history) for model in sorted(models, key=lambda one: one.name)]


def _tell(model: Model, rows: Mapping[tuple[str, str], dict[str, Any]], history: History) -> ToldModel:
    return ToldModel(
        name=model.name,
        folder=ws.folder(model),
        onnx=model.onnx,
        is_prebuilt=model.is_prebuilt,
        targets=tuple(_tell_target(model, target, rows, history) for target in model.targets),
        faults=tuple(dict.fromkeys(fault.text for fault in model.faults)),
    )


def _tell_target(
    model: Model, target: Target, rows: Mapping[tuple[str, str], dict[str, Any]], history: History
) -> ToldTarget:
    name = ws.target_name(model, target)
    folder = ws.target_folder(model, target)
    # A model that is declared wrongly as a whole has one row, without a target.
    row = rows.get((model.name, name)) or rows.get((model.name, ""))
    took = [history.expected(f"{kind}:{model.name}:{name}") for kind in COMPILING]
    known = [seconds for seconds in took if seconds is not None]
    return ToldTarget(
        name=name,
        hw_arch=target.hw_arch,
        preset=target.preset,
        compiler=ws.compiler_version(model),
        emulated=_is_emulated(model, target),
        state="not known" if row is None else row["state"],
        because="" if row is None else first_sentence(row["because"]),
        folder=folder,
        arch_folder=ws.arch_folder(model, target.hw_arch),
        seconds=sum(known) if known and not model.is_prebuilt else None,
        warnings=read_described_warnings(folder),
    )


def _is_emulated(model: Model, target: Target) -> bool:
    """Return whether what a target holds runs on no device: as its compiler says, or else the HEF itself."""
    if not model.is_prebuilt and ws.compiling(model).compiler.is_emulated:
        return True
    hef = target.hef or ws.target_folder(model, target) / "model.hef"
    if find_fault(hef) is not None:
        return False
    from build_rules.hef import read_hef

    try:
        return read_hef(hef).is_emulated
    except (InputError, OSError):
        return False


def _sources_of(told: ToldModel, steps: Steps) -> tuple[tuple[BuiltFrom, ...], tuple[tuple[str, str], ...]]:
    """Return what the steps of a model last read that no step made, and the versions of the tools they used."""
    sources: dict[tuple[str, str], BuiltFrom] = {}
    tools: dict[str, str] = {}
    for name, step in steps.by_name.items():
        record = steps.record(name) if step.owner == told.name else {}
        if not record:
            continue
        tools |= {tool: str(version) for tool, version in record["key"].get("tools", {}).items()}
        for role, files in record["inputs"].items():
            read = {path: mark for path, mark in files.items() if path not in steps.writers}
            for source in _sources(step.rule.name, role, digests_of(read)):
                sources.setdefault((source.path, source.sha256), source)
    return tuple(sources.values()), tuple(sorted(tools.items()))


def _sources(step: str, role: str, digests: Mapping[str, str]) -> Iterator[BuiltFrom]:
    if len(digests) <= FEW:
        yield from (BuiltFrom(step, role, path, digest) for path, digest in digests.items())
        return
    together = hashlib.sha256("".join(f"{digest}\n" for digest in digests.values()).encode()).hexdigest()
    yield BuiltFrom(
        step, role, f"{_common(list(digests))} ({len(digests)} files; the digest of their digests)", together
    )


def _common(paths: Sequence[str]) -> str:
    """Return the folder that all of these files lie in."""
    first, *others = (Path(path).parent.parts for path in paths)
    shared = 0
    while shared < len(first) and all(parts[: shared + 1] == first[: shared + 1] for parts in others):
        shared += 1
    return Path(*first[:shared]).as_posix()


def with_sources(told: ToldModel, steps: Steps) -> ToldModel:
    """Return a model with what it was built from, what its network is made of, and what its endpoints weigh."""
    from build_rules.commands.budget import endpoint_bytes
    from build_rules.commands.report_network import tell_network
    from build_rules.presets import PRESETS
    from build_rules.records.split_json import load_split

    built_from, tools = _sources_of(told, steps)
    told = replace(told, built_from=built_from, tools=tools)
    try:
        split = load_split(told.folder / "split.json")
    except (InputError, OSError):
        return told
    parsed = [folder / "parsed.har" for folder in dict.fromkeys(target.arch_folder for target in told.targets)]
    presets = [preset for name, preset in PRESETS.items() if any(name == target.preset for target in told.targets)]
    return replace(
        told,
        network=tell_network(told.onnx, told.folder / "split.onnx", parsed, split.input.height),
        frame_bytes=tuple(
            (preset.name, tuple(endpoint_bytes(endpoint, preset) for endpoint in split.endpoints)) for preset in presets
        ),
    )


def page_key(told: ToldModel, steps: Steps, chips: Sequence[ComparisonInputs]) -> str:
    """Return one digest of all that the page of a model is made of, by content; `told` is without pictures.

    Times are in the table of all models alone: they are another's tomorrow, and the page is not.
    """
    from build_rules.comparison.comparison_inputs import digest_of
    from build_rules.report_page.render_pages import TEMPLATES

    untimed = replace(told, targets=tuple(replace(target, seconds=None) for target in told.targets))
    code = hashlib.sha256(PAGES.code_digest().encode())
    for template in sorted(TEMPLATES.iterdir()):
        code.update(template.read_bytes())
    libraries = ("jinja2", "numpy", "onnxruntime", "pillow")
    parts = [code.hexdigest(), *map(library_version, libraries), repr(untimed)]
    for name, step in steps.by_name.items():
        record = steps.record(name) if step.owner == told.name else {}
        parts += [f"{path} {digest}" for path, digest in digests_of(record.get("outputs", {})).items()]
    parts += [digest_of(inputs, "") for inputs in chips]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
