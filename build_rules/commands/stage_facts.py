"""What the stages of the compiler did, as they have reported it beside their outputs or as the metadata say it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.records.stage_report import REPORT_BYTES, StageReport, parse_report
from build_rules.regular_file import find_fault, read_small

__all__ = [
    "HEF_NAMES",
    "REPORTS",
    "described_stages",
    "read_described_warnings",
    "read_own_report",
    "read_reports",
    "stage_facts",
]

REPORTS = {"optimize": "har.json", "compile": "hef.json"}
"""The stages that report, and the file in the folder of the target; beside it what they have made, and logged."""
HEF_NAMES = ("model.hef", "model+meta.hef")
"""What the files are called beside which a build leaves the reports."""
DOCUMENT = "edgefirst.json"
WARNINGS = "warnings"

Facts = dict[str, Any]


def read_reports(folder: Path) -> dict[str, StageReport]:
    """Return what stages report that left something in a folder, by stage; what is no report is left out."""
    reports = {}
    for stage in REPORTS:
        did = read_own_report(folder, stage)
        if did is not None:
            reports[stage] = did
            with suppress(InputError, OSError):
                reports[stage] = _read_back(stage, did, folder)
    return reports


def read_own_report(folder: Path, stage: str) -> StageReport | None:
    """Return what a stage says itself, None when it left no report; neither logs nor what it made are read."""
    path = folder / REPORTS[stage]
    with suppress(InputError, OSError):
        if find_fault(path) is None:
            return parse_report(read_small(path, REPORT_BYTES, "a report"), str(path))
    return None


def read_described_warnings(folder: Path) -> tuple[str, ...]:
    """Return what the metadata of a target say that its compiler warned of: one small file, for a thousand targets."""
    path = folder / DOCUMENT
    with suppress(InputError, OSError, ValueError, RecursionError):
        if find_fault(path) is None:
            document = json.loads(read_small(path, REPORT_BYTES, "metadata"))
            return described_stages(document)[1] if isinstance(document, dict) else ()
    return ()


def _read_back(stage: str, did: StageReport, folder: Path) -> StageReport:
    """Return a report with what log and files say; raises `InputError` and `OSError` when one cannot be read."""
    from build_rules.compilers import find_maker
    from build_rules.compilers.har_file import outline_har
    from build_rules.compilers.read_back import read_compile, read_optimize

    har, hef, script = (folder / name for name in ("model.har", "model.hef", "model.alls"))
    compiler = find_maker(har)
    log = (folder / REPORTS[stage]).with_suffix(".log") if compiler.keeps_logs else None
    if stage == "optimize":
        return read_optimize(compiler, did, har, script, log)
    return read_compile(compiler, did, hef, har, script, log, outline_har(har)[0].hw_arch or "")


def described_stages(document: Mapping[str, Any]) -> tuple[dict[str, StageReport], tuple[str, ...]]:
    """Return what metadata say of the stages, and all warnings, of which they do not say whose they are."""
    section = document.get("hailo")
    build = section.get("build") if isinstance(section, dict) else None
    build = build if isinstance(build, dict) else {}
    stages = {stage: StageReport(facts) for stage in REPORTS if isinstance(facts := build.get(stage), dict)}
    told = build.get(WARNINGS)
    warnings = tuple(text for text in told if isinstance(text, str)) if isinstance(told, list) else ()
    return stages, warnings


def stage_facts(stages: Mapping[str, StageReport], warnings: tuple[str, ...] = ()) -> Facts:
    """Return the rows of `doit inspect`: every fact, then every warning."""
    rows = [
        {"stage": stage, "fact": fact, "value": value}
        for stage, report in stages.items()
        for name, told in report.facts.items()
        for fact, value in _each(name, told)
    ]
    told = [*(text for report in stages.values() for text in report.warnings), *warnings]
    return {"build": rows, WARNINGS: [{"warning": text} for text in told]}


def _each(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Return a fact, or where it says the same of several things (contexts) one for each, counted from 1."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield from ((f"{name} {number}", item) for number, item in enumerate(value, start=1))
    else:
        yield name, value
