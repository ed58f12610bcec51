"""What a stage did: what it says itself, what its log says, and how that which it made compares with what was asked.

Nothing that a stage makes depends on this. Its step tells it when it is done; the step that describes the HEF asks
again, so that a version of ours that reads a log better, or checks more, makes no HAR and no HEF again.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from build_rules.alls.script import parse_script
from build_rules.compilers.asked_outputs import find_demoted
from build_rules.compilers.compiled_check import check_compiled
from build_rules.compilers.describe_har import describe
from build_rules.compilers.protocol import Compiler
from build_rules.records.stage_report import StageReport
from build_rules.regular_file import SCRIPT_BYTES, read_small

__all__ = ["LOG_BYTES", "read_compile", "read_optimize"]

LOG_BYTES = 64 << 20
"""An optimization of hours has logged a few."""


def read_optimize(compiler: Compiler, did: StageReport, har: Path, script: Path, log: Path | None) -> StageReport:
    """Return the report of the stage `optimize`, of which `did` is what it says itself; `log` is its log, if any.

    What a HAR has in fewer bits than asked is a warning, before the hours of the compile, which fails when it delivers
    that.
    """
    text = _script(script)
    report = compiler.read_back("optimize", did, _log(log), text)
    return replace(report, warnings=(*report.warnings, *find_demoted(describe(har), parse_script(text, str(script)))))


def read_compile(
    compiler: Compiler, did: StageReport, hef: Path, har: Path, script: Path, log: Path | None, hw_arch: str
) -> StageReport:
    """Return the report of the stage `compile`; `script` is the model script, which `har` was quantized with.

    Raises `InputError` when the HEF is not what was asked for.
    """
    text = _script(script)
    report = compiler.read_back("compile", did, _log(log), text)
    return replace(report, warnings=(*report.warnings, *check_compiled(hef, har, text, hw_arch)))


def _script(path: Path) -> str:
    return read_small(path, SCRIPT_BYTES, "a model script").decode("utf-8")


def _log(path: Path | None) -> str:
    return "" if path is None else read_small(path, LOG_BYTES, "a log").decode("utf-8", "replace")
