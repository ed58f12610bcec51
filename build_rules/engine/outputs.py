"""Outputs appear whole or not at all.

A step writes into a hidden folder beside its outputs; only when it has finished, and its inputs are still what they
were, each output is flushed to disk and renamed into place. A kill at any moment leaves the old outputs, or outputs
whose digests are in no record and which are therefore made again.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build_rules.engine.fingerprint import Fingerprint, fingerprint, is_unchanged, marks_of
from build_rules.engine.interrupt import drafts as running
from build_rules.errors import InputError

__all__ = ["InputChangedError", "Produced", "produce"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputChangedError(Exception):
    """An input was edited while the step that reads it ran."""


@dataclass(frozen=True)
class Produced:
    """What a step read and wrote, as it was then."""

    inputs: dict[Path, Fingerprint]
    outputs: dict[Path, Fingerprint]


def _flatten(inputs: Mapping[str, Path | Sequence[Path]]) -> list[Path]:
    return [path for value in inputs.values() for path in ([value] if isinstance(value, Path) else value)]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def produce(
    rule: str,
    function: Callable[..., Sequence[Path] | None],
    inputs: Mapping[str, Path | Sequence[Path]],
    outputs: Mapping[str, Path],
    settings: Mapping[str, Any],
) -> Produced:
    """Call `function(**inputs, **outputs, **settings)` and put its outputs into place.

    The function may return further files that it turned out to read; they become inputs, too. It may write further
    files whose names begin with that of an output and a dot (`split.onnx.data`); they become outputs, too, and are gone
    when the next run does not write them. The inputs' fingerprints are those from before the call. Raises
    `InputChangedError` when an input changed meanwhile, `InputError` when the disk is full, and whatever the function
    raises; in each case no output of this call is left behind.
    """
    folder = next(iter(outputs.values())).parent
    partial = folder / f".{rule}.partial"
    running.add(partial)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        started = partial.stat().st_ctime_ns
        read = {path: fingerprint(path) for path in _flatten(inputs)}
        drafts = {key: partial / path.name for key, path in outputs.items()}
        for path in function(**inputs, **drafts, **settings) or ():
            read[path] = _discovered(path, started)
        _check_unchanged(read)
        return Produced(read, _publish(drafts, outputs))
    except OSError as error:
        if error.errno in DISK_FULL:
            raise InputError(
                f"{folder}: no space left to write the outputs of {rule}; free some and run again."
            ) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        running.discard(partial)


def _discovered(path: Path, started: int) -> Fingerprint:
    found = fingerprint(path)
    # Its content from before the call is unknown, so a change since then is one too many.
    if found.ctime_ns >= started:
        raise InputChangedError(f"{path} changed while the step that reads it ran; run doit again.")
    return found


def _check_unchanged(read: Mapping[Path, Fingerprint]) -> None:
    for path, before in read.items():
        # Marks that were not settled may stand for another content by now.
        known = path.exists() and marks_of(path.stat()) == before[:4]
        if not known or not (before.settled or is_unchanged(path, before)):
            raise InputChangedError(f"{path} changed while the step that reads it ran; run doit again.")


def _publish(drafts: Mapping[str, Path], outputs: Mapping[str, Path]) -> dict[Path, Fingerprint]:
    for key, draft in drafts.items():
        if not draft.is_file():
            raise FileNotFoundError(f"the step ended without writing {outputs[key]}")
    folder = next(iter(outputs.values())).parent
    further = _further(next(iter(drafts.values())).parent, drafts)
    for draft in [*drafts.values(), *further]:
        _flush(draft)
    for stale in set(_further(folder, outputs)) - {folder / draft.name for draft in further}:
        stale.unlink()
    # What an output refers to is there before the output is.
    for draft in further:
        os.replace(draft, folder / draft.name)
    for key, draft in drafts.items():
        os.replace(draft, outputs[key])
    _flush(folder)
    return {path: fingerprint(path) for path in [*outputs.values(), *(folder / draft.name for draft in further)]}


def _further(folder: Path, named: Mapping[str, Path]) -> list[Path]:
    """Return the files in `folder` that extend the name of one of `named`, in order of name."""
    names = {path.name for path in named.values()}
    return sorted(path for path in folder.iterdir() if any(path.name.startswith(f"{name}.") for name in names))
