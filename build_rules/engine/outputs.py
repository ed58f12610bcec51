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
from pathlib import Path
from typing import Any

from build_rules.engine.fingerprint import Fingerprint, fingerprint
from build_rules.engine.interrupt import drafts as running
from build_rules.errors import InputError

__all__ = ["InputChangedError", "produce"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputChangedError(Exception):
    """An input was edited while the step that reads it ran."""


def _flatten(inputs: Mapping[str, Path | Sequence[Path]]) -> list[Path]:
    return [path for value in inputs.values() for path in ([value] if isinstance(value, Path) else value)]


def _marks(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    stats = [os.stat(path) for path in paths]
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in stats]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def produce(
    rule: str,
    function: Callable[..., None],
    inputs: Mapping[str, Path | Sequence[Path]],
    outputs: Mapping[str, Path],
    settings: Mapping[str, Any],
) -> dict[Path, Fingerprint]:
    """Call `function(**inputs, **outputs, **settings)` and put its outputs into place.

    Returns each output's fingerprint. Raises `InputChangedError` when an input changed meanwhile, `InputError` when
    the disk is full, and whatever the function raises; in each case no output of this call is left behind.
    """
    folder = next(iter(outputs.values())).parent
    partial = folder / f".{rule}.partial"
    running.add(partial)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        sources = _flatten(inputs)
        before = _marks(sources)
        drafts = {key: partial / path.name for key, path in outputs.items()}
        function(**inputs, **drafts, **settings)
        _check_unchanged(sources, before)
        return _publish(drafts, outputs)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise InputError(
                f"{folder}: no space left to write the outputs of {rule}; free some and run again."
            ) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        running.discard(partial)


def _check_unchanged(sources: Sequence[Path], before: Sequence[tuple[int, ...]]) -> None:
    for path, old, new in zip(sources, before, _marks(sources), strict=True):
        if old != new:
            raise InputChangedError(f"{path} changed while the step that reads it ran; run doit again.")


def _publish(drafts: Mapping[str, Path], outputs: Mapping[str, Path]) -> dict[Path, Fingerprint]:
    for key, draft in drafts.items():
        if not draft.is_file():
            raise FileNotFoundError(f"the step ended without writing {outputs[key]}")
        _flush(draft)
    for key, draft in drafts.items():
        os.replace(draft, outputs[key])
    _flush(next(iter(outputs.values())).parent)
    return {path: fingerprint(path) for path in outputs.values()}
