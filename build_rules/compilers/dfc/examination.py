"""Looking at the place where the DFC is to run: one probe there, and a few questions to this machine."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from build_rules.compilers.dfc.dfc_failures import PROBE, Hints, explain
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.diagnosis import PlaceFacts, Way, diagnose, facts_of, urgent
from build_rules.compilers.dfc.launch import Work, WorkerFailure, run_worker
from build_rules.compilers.dfc.outside import NOWHERE, PROBE_SECONDS
from build_rules.compilers.protocol import Diagnosis, TargetRequest
from build_rules.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_rules.compilers.dfc import Dfc

__all__ = ["check_before", "examine", "look"]


def examine(dfc: DfcSettings, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
    """Say what is wrong with the place where the DFC is, and with what targets ask of it."""
    if dfc.python is None and dfc.image is None and not dfc.command:
        return (Diagnosis("DFC", "error", NOWHERE),)
    return diagnose(look(dfc, tuple(sorted({request.hw_arch for request in requests}))), requests)


def look(dfc: DfcSettings, hw_archs: tuple[str, ...] = ()) -> PlaceFacts:
    """Find out what there is, and for which chips it can be set to work; that it gives no answer is a fact, too."""
    way, place = _place(dfc)
    here = _here(way, place, dfc.gpus)
    try:
        done = run_worker(
            dfc, Work("probe", {"import": True, "hw_archs": list(hw_archs)}, limit=PROBE_SECONDS), lambda line: None
        )
    except WorkerFailure as failure:
        return replace(here, failure=str(explain(failure, PROBE, Hints())).removeprefix("[dfc]: "))
    there = facts_of(way, place, dfc.gpus, done.environment, done.facts)
    missing = {field.name: getattr(here, field.name) for field in fields(there) if getattr(there, field.name) is None}
    return replace(there, **missing)


def check_before(dfc: Dfc, request: TargetRequest, need_mb: int, tell: Callable[[str], None]) -> None:
    """Raise `InputError` for what a stage could not be done with, and tell what is worse than it could be.

    Starts no program: it goes by what was found out about the environment before, and asks this machine for the rest.
    `need_mb` is what the stage writes at least. What is told is of this machine and moment: no output is to hold it.
    """
    way, place = _place(dfc)
    here = _here(way, place, dfc.gpus)
    found = dict(dfc.environment)
    facts = replace(here, dfc=found.get("dfc"), python=found.get("python"), numpy=found.get("numpy"))
    for one in urgent(facts, request, need_mb):
        text = f"{one.subject}: {one.text} {one.advice}".strip()
        if one.state == "error":
            raise InputError(f"[dfc], {text}")
        # The step that counts images tells of few, the log of the level; doctor advises more memory than is needed.
        if one.subject not in (request.name, "memory"):
            tell(text)


def _place(dfc: DfcSettings) -> tuple[Way, str]:
    if dfc.python is not None:
        return "python", dfc.python
    if dfc.image is not None:
        return "image", f"the image {dfc.image}"
    return "command", f"what {dfc.command[0]} starts"


def _here(way: Way, place: str, gpus: str) -> PlaceFacts:
    """Return what is known of this machine, where it is the one that the DFC runs on."""
    if way == "command":
        return PlaceFacts(way, place, gpus_asked=gpus)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1_000_000
    disk = shutil.disk_usage(".").free // 1_000_000
    return PlaceFacts(
        way,
        place,
        system=platform.system(),
        machine=platform.machine(),
        memory_mb=memory,
        disk_mb=disk,
        gpus_asked=gpus,
    )
