"""Which DFC is in the environment outside, and whether it is still the one that was found there last."""

from __future__ import annotations

from collections.abc import Mapping

from build_rules.compilers.dfc.dfc_failures import PROBE, Hints, explain
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import Done, Work, WorkerFailure, environment_here, find_image, run_worker
from build_rules.compilers.protocol import Finding
from build_rules.errors import InputError

__all__ = ["check_same", "find_out"]

PROBE_SECONDS = 600.0
"""The first import of the DFC reads a gigabyte, maybe over a network."""
NOWHERE = (
    '[dfc]: compiler = "dfc" has to know where Hailo\'s Dataflow Compiler is installed; write python = '
    '"../dfc/bin/python" (an environment of its own), image = "..." or command = [...] below [tool.build_rules.dfc] in '
    'pyproject.toml, or compiler = "emulator". docs/dfc.md says how it is installed.'
)


def find_out(dfc: DfcSettings, remembered: Mapping[str, str] | None) -> Finding:
    """Ask the environment which DFC is in it. Raises `InputError` when there is none that works.

    An interpreter is known again by its files. An image is asked for its digest by every build; the other end of a
    command, which may be a queue, by one that has something to do, and for its distributions alone, because to import
    the DFC takes long. Where it cannot be reached what is remembered is taken to be so: the stages that really run
    there find out, and say so (`check_same`).
    """
    if dfc.python is None and dfc.image is None and not dfc.command:
        raise InputError(NOWHERE)
    try:
        if remembered is not None and _is_known_again(dfc, remembered):
            return Finding(remembered, last=dfc.image is None)
        done = _probe(dfc, imported=True)
    except WorkerFailure as failure:
        if dfc.python is None and remembered is not None:
            return Finding(remembered, last=dfc.image is None)
        raise explain(failure, PROBE, Hints()) from failure
    files = done.facts.get("files", ()) if dfc.python is not None else ()
    return Finding(dict(done.environment), tuple(map(str, files)), last=dfc.image is None)


def _is_known_again(dfc: DfcSettings, remembered: Mapping[str, str]) -> bool:
    if dfc.image is not None:
        return find_image(dfc.runner, dfc.image, environment_here()) == remembered.get("image")
    return dfc.python is None and _probe(dfc, imported=False).environment.get("digest") == remembered.get("digest")


def _probe(dfc: DfcSettings, *, imported: bool) -> Done:
    return run_worker(dfc, Work("probe", {"import": imported}, limit=PROBE_SECONDS), lambda line: None)


def check_same(found: Mapping[str, str], done: Done) -> None:
    """Raise `InputError` when the environment that did a piece of work is not the one that was found before."""
    before, now = found.get("digest"), done.environment.get("digest")
    if before is not None and now != before:
        raise InputError(
            f"[dfc]: the environment of the Dataflow Compiler has changed since this run began (it was version "
            f"{found.get('dfc')}, it is {done.environment.get('dfc')} now); run doit again."
        )
