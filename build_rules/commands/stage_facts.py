"""What the stages of the compiler did, as they have reported it beside their outputs or as the metadata say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.records.stage_report import REPORT_BYTES, StageReport, parse_report
from build_rules.regular_file import find_fault, read_small

__all__ = ["HEF_NAMES", "REPORTS", "described_stages", "read_reports", "stage_facts"]

REPORTS = {"optimize": "har.json", "compile": "hef.json"}
"""The stages that report, and the file in the folder of the target; beside it what they have made, and logged."""
HEF_NAMES = ("model.hef", "model+meta.hef")
"""What the files are called beside which a build leaves the reports."""
WARNINGS = "warnings"

Facts = dict[str, Any]


def read_reports(folder: Path) -> dict[str, StageReport]:
    """Return what stages report that left something in a folder, by stage; what is no report is left out."""
    found = {}
    for stage, name in REPORTS.items():
        path = folder / name
        try:
            if find_fault(path) is None:
                found[stage] = parse_report(read_small(path, REPORT_BYTES, "a report"), str(path))
                found[stage] = _read_back(stage, found[stage], folder)
        except (InputError, OSError):
            continue
    return found


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
