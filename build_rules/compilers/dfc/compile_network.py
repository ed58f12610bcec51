"""The compile: with what the last one found, with what is tried when it finds no place, and what the profiler says."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.compilers.describe_har import describe
from build_rules.compilers.dfc.allocation import format_allocation, network_digest, read_allocation
from build_rules.compilers.dfc.dfc_failures import explain
from build_rules.compilers.dfc.drive import bare_script, hints_of, read_script
from build_rules.compilers.dfc.launch import Done, Work, WorkerFailure
from build_rules.compilers.dfc.remedies import Remedy, next_remedy, remedy_facts, remedy_texts, script_with
from build_rules.compilers.dfc.work_done import do_work, try_work
from build_rules.compilers.har_file import Har, outline_har
from build_rules.compilers.protocol import ALLOCATION_REUSED, CompileJob
from build_rules.errors import InputError
from build_rules.records.stage_report import JSON, StageReport

if TYPE_CHECKING:
    from build_rules.compilers.dfc import Dfc

__all__ = ["compile_network"]

FOUND = "found.alls"


@dataclass(frozen=True)
class _Attempt:
    """What one attempt to compile is made with: remedies that were tried, and the last allocation, if any."""

    remedies: tuple[Remedy, ...] = ()
    allocation: str | None = None


def compile_network(dfc: Dfc, job: CompileJob) -> StageReport:
    """Compile a quantized network. Raises `InputError` when the DFC finds no way to."""
    har = outline_har(job.har)[0]
    script = "" if job.script is None else read_script(job.script)
    network, chip = network_digest(har.hn, _bits(job.har)), har.hw_arch or ""
    kept = None
    if dfc.reuse_allocation and job.allocation is not None:
        kept = read_allocation(job.allocation, network, chip)
    with tempfile.TemporaryDirectory(prefix=".dfc-", dir=job.output.parent) as folder:
        attempt = _try_until(dfc, job, har, script, _Attempt(allocation=kept), Path(folder))
        found = Path(folder) / FOUND
        if job.new_allocation is not None and attempt.allocation is None and found.is_file():
            text = found.read_text(encoding="utf-8")
            job.new_allocation.write_text(format_allocation(text, network, chip), encoding="utf-8")
    profiled, silent = _profile(dfc, job, har)
    reused: dict[str, JSON] = {ALLOCATION_REUSED: True} if attempt.allocation is not None else {}
    facts = {**remedy_facts(attempt.remedies), **reused, **profiled}
    return StageReport(facts, (*_told(attempt.remedies), *silent))


def _bits(har: Path) -> dict[str, int]:
    """Return the bits of each layer: they decide where it finds room, and not every HN tells them."""
    return {layer.name: layer.bits for layer in describe(har).layers if layer.bits is not None}


def _try_until(dfc: Dfc, job: CompileJob, har: Har, script: str, attempt: _Attempt, folder: Path) -> _Attempt:
    """Compile, and where that fails as remedies help against, with the next one, as far as the settings allow."""
    logs: list[str] = []
    number = 1
    end = time.monotonic() + dfc.step_seconds  # of the step, however many attempts it makes
    while True:
        try:
            done = _compile(dfc, job, script, attempt, folder, number, end - time.monotonic())
        except WorkerFailure as failure:
            logs.append(failure.log)
            following = _next(dfc, failure, script, attempt)
            if following is None:
                hints = hints_of(har, job.around, job.script, script_with(script, attempt.remedies))
                hints = replace(hints, tried=remedy_texts(attempt.remedies), is_wide=16 in _bits(job.har).values())
                raise explain(failure, "compile", hints) from failure
            attempt, number = following, number + 1
            job.around.progress(f"attempt {number}: {_words(attempt)}")
        else:
            if job.around.kept is not None:
                shutil.rmtree(job.around.kept, ignore_errors=True)
            if job.around.log is not None:
                job.around.log.write_text(_joined([*logs, done.log]), encoding="utf-8", errors="replace")
            return attempt


def _next(dfc: Dfc, failure: WorkerFailure, script: str, attempt: _Attempt) -> _Attempt | None:
    if failure.kind == "timeout":
        return None
    if attempt.allocation is not None:  # it saves time, and must never be why nothing is found
        return replace(attempt, allocation=None)
    remedy = next_remedy(failure, attempt.remedies, script) if dfc.retry else None
    return None if remedy is None else replace(attempt, remedies=(*attempt.remedies, remedy))


def _compile(
    dfc: Dfc, job: CompileJob, script: str, attempt: _Attempt, folder: Path, number: int, limit: float
) -> Done:
    inputs = {"har": job.har, "script": bare_script(script_with(script, attempt.remedies), job.script, folder)}
    outputs = {"hef": job.output}
    if attempt.allocation is not None:
        inputs["allocation"] = folder / "kept.alls"
        inputs["allocation"].write_text(attempt.allocation, encoding="utf-8")
    if job.new_allocation is not None:
        outputs["allocation"] = folder / FOUND
    kept = None if job.around.kept is None else job.around.kept / f"attempt-{number}"
    return try_work(dfc, Work("compile", {}, inputs, outputs, None, kept, limit), job.around.progress)


def _profile(dfc: Dfc, job: CompileJob, har: Har) -> tuple[dict[str, JSON], tuple[str, ...]]:
    """Return what the profiler says; where it fails, why. The HEF has cost hours and is good without it."""
    if not dfc.profile:
        return {}, ()
    from build_rules.compilers.dfc.profile_facts import profile_facts

    inputs = {"har": job.har, "hef": job.output}
    try:
        done = do_work(dfc, Work("profile", {}, inputs, {}), job.around.progress, hints_of(har, job.around))
    except InputError as error:
        return {}, (f"nothing is known of speed and bandwidth. {error}",)
    return profile_facts(done.facts), ()


def _words(attempt: _Attempt) -> str:
    return attempt.remedies[-1].text if attempt.remedies else "without the allocation of the last compile"


def _told(remedies: Sequence[Remedy]) -> tuple[str, ...]:
    if not remedies:
        return ()
    texts = "; ".join(remedy_texts(remedies))
    return (f"the network found no place on the chip as the script has it, and did with: {texts}.",)


def _joined(logs: Sequence[str]) -> str:
    if len(logs) == 1:
        return logs[0]
    return "".join(f"==> attempt {number} <==\n{text.rstrip()}\n" for number, text in enumerate(logs, start=1))
