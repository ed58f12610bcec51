"""Outputs appear whole or not at all.

A step writes into a hidden folder beside its outputs; only when it has finished, and its inputs are still what they
were, each output is flushed to disk and renamed into place. A kill at any moment leaves the old outputs, or outputs
whose digests are in no record and which are therefore made again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from build_rules.engine import places
from build_rules.engine.freshness.fingerprint import (
    COARSE_TICK_NS,
    Fingerprint,
    fingerprint,
    is_vague,
    marks_of,
)
from build_rules.engine.interrupt import on_interrupt
from build_rules.engine.ownership import FORBIDDEN, explain_unwritable, is_writable
from build_rules.engine.running.changes import (
    Reader,
    changed,
    check_agreed,
    check_unchanged,
    find_change,
    note_agreed,
    unreadable,
)
from build_rules.engine.running.hand_on import find_handed_on, relink
from build_rules.engine.slower import flush
from build_rules.errors import InputError

__all__ = ["Produced", "Recall", "clear_drafts", "further_files", "produce"]

MAX_PATH = 1 << 16
MANY = 100
"""Inputs of a step for which threads are worth their start."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OF_THE_DISK = (
    *(errno.EIO, errno.EREMOTEIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EROFS, errno.EXDEV, errno.EMLINK, errno.EBUSY, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM),
)
"""Errors that come from a file system, whatever a step does."""


class Recall(Protocol):
    """Somebody who may know what a step made of the same inputs before."""

    def restore(self, read: Mapping[Path, Fingerprint], folder: Path) -> Sequence[Path] | None:
        """Put the outputs into `folder` and return the further inputs; None when the step has to run."""

    def offer(
        self, read: Mapping[Path, Fingerprint], declared: int, written: Mapping[Path, Fingerprint], seconds: float
    ) -> None:
        """Take what a step has made; the first `declared` of `read` were known before it ran."""


class Produced(NamedTuple):
    """What a step read and wrote, as it was then."""

    inputs: dict[Path, Fingerprint]
    outputs: dict[Path, Fingerprint]


def _digests(files: Mapping[Path, Fingerprint]) -> dict[str, str]:
    return {str(path): mark.sha256 for path, mark in files.items()}


def _flatten(inputs: Mapping[str, Path | Sequence[Path]]) -> list[Path]:
    return [path for value in inputs.values() for path in ([value] if isinstance(value, Path) else value)]


def produce(
    rule: str,
    function: Callable[..., Sequence[Path] | None],
    inputs: Mapping[str, Path | Sequence[Path]],
    outputs: Mapping[str, Path],
    settings: Mapping[str, Any],
    recall: Recall | None = None,
    reader: Reader | None = None,
) -> Produced:
    """Call `function(**inputs, **outputs, **settings)` and put its outputs into place.

    The function may return further files that it turned out to read; they become inputs, too. It may write further
    files whose names begin with that of an output and a dot (`split.onnx.data`); they become outputs, too, and are gone
    when the next run does not write them. An output that is an input as it is, it may leave as a symbolic link to that
    (`hand_on.py`). The inputs' fingerprints are those from before the call. What `recall` knows of former calls with
    the same inputs is put into place instead of calling. Raises
    `InputChangedError` when an input changed meanwhile, whether the function succeeded or not, `InputError` when the
    disk is full, and whatever the function raises; in each case no output of this call is left behind. `reader` is the
    step as messages name it.
    """
    folder = next(iter(outputs.values())).parent
    partial = places.draft_folder(folder, rule)
    places.check_folder(folder)
    reader = reader or Reader(rule, str(folder))
    task = reader.task
    read: dict[Path, Fingerprint] = {}
    started = time.time_ns()
    on_interrupt.drafts.add(partial)
    mark = _mark_running(partial)
    try:
        places.remove_tree(partial)
        places.make_folder(partial)
        started = partial.stat().st_ctime_ns
        read.update(_read_all(_flatten(inputs), task))
        check_agreed(reader, read)
        drafts = {key: partial / path.name for key, path in outputs.items()}
        declared, begun = len(read), time.monotonic()
        discovered = recall.restore(read, partial) if recall is not None else None
        if discovered is None:
            discovered = function(**inputs, **drafts, **settings) or ()
        for path in discovered:
            read[path] = _discovered(path, started, task)
        check_unchanged(read, task)
        handed_on = find_handed_on(drafts, read)
        made = Produced(read, _publish(drafts, outputs, handed_on, read))
        note_agreed(reader, _digests(made.inputs), _digests(made.outputs))
        # Where this step can run, what it hands on is at hand: to fetch it would take longer.
        if recall is not None and not handed_on:
            recall.offer(made.inputs, declared, made.outputs, time.monotonic() - begun)
        return made
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        explained: Exception | None = _disk_fault(error, folder, rule) if isinstance(error, OSError) else None
        explained = find_change(read, partial, started, task, explained or error) or explained
        if explained is None:
            raise
        raise explained from error
    finally:
        places.remove_tree(partial)
        on_interrupt.drafts.discard(partial)
        with suppress(OSError):
            os.unlink(mark)


def _disk_fault(error: OSError, folder: Path, rule: str) -> InputError | None:
    """Return what an error of the file system says of the place of the outputs, None when it is of something else."""
    if error.errno in DISK_FULL:
        return InputError(f"{folder}: no space left to write the outputs of {rule}; free some and run again.")
    if error.errno in OF_THE_DISK:
        what = f"{error.filename}: " if error.filename else ""
        return InputError(
            f"{folder}: the outputs of {rule} cannot be written ({what}{error.strerror}); what was built before is "
            "untouched. Check the disk and its file system, and run again."
        )
    if error.errno in FORBIDDEN and isinstance(error.filename, (str, os.PathLike)):
        place = Path(error.filename)
        if place == folder or folder in place.parents or place in folder.parents:
            return InputError(explain_unwritable(place if is_writable(folder) else folder, error))
    return None


def _read_all(paths: Sequence[Path], task: str) -> dict[Path, Fingerprint]:
    """Return the fingerprints of files; a pool of images is hashed on all cores."""
    if len(paths) < MANY:
        return {path: _read(path, task) for path in paths}
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return dict(zip(paths, threads.map(lambda path: _read(path, task), paths), strict=True))


def _read(path: Path, task: str) -> Fingerprint:
    try:
        return fingerprint(path)
    except OSError as error:
        raise unreadable(path, task, error) from error


def _mark_running(partial: Path) -> str:
    """Note that a draft exists, for the next run should this one be killed; return where."""
    mark = os.path.join(places.RUNNING, hashlib.sha256(os.fsencode(partial)).hexdigest()[:24])
    with suppress(OSError):
        os.makedirs(places.RUNNING, exist_ok=True)
        places.write_whole(mark, [os.fsencode(partial)])
    return mark


def clear_drafts() -> None:
    """Remove what killed runs have left: to be called by the one run that has the workspace.

    Only what a run of ours can have left: drafts below `build/`, and files that former versions kept.
    """
    for former in places.FORMER:
        with suppress(OSError):
            os.unlink(former)
    with suppress(OSError):
        if os.path.lexists(places.RUNNING) and places.leads_out(places.RUNNING):
            places.clear_place(places.RUNNING)
        for name in os.listdir(places.RUNNING):
            with suppress(OSError):
                mark = os.path.join(places.RUNNING, name)
                places.clear_place(mark)
                partial = Path(os.fsdecode(places.read_regular(mark, MAX_PATH)))
                if places.is_draft_folder(partial):
                    places.remove_tree(partial)
                os.unlink(mark)


def _discovered(path: Path, started: int, task: str) -> Fingerprint:
    try:
        read = fingerprint(path)
        # Its content from before the call is unknown, so a change since then is one too many.
        marks = marks_of(path.stat())
        if marks.ctime_ns + (COARSE_TICK_NS if is_vague(marks) else 0) < started:
            return read
    except OSError as error:
        raise changed(path, task, "disappeared") from error
    raise changed(path, task)


def _publish(
    drafts: Mapping[str, Path],
    outputs: Mapping[str, Path],
    handed_on: Mapping[str, Path],
    read: Mapping[Path, Fingerprint],
) -> dict[Path, Fingerprint]:
    for key, draft in drafts.items():
        if not draft.is_file():
            raise FileNotFoundError(f"the step ended without writing {outputs[key]}")
    folder = next(iter(outputs.values())).parent
    further = _further(next(iter(drafts.values())).parent, drafts)
    for key, source in handed_on.items():
        relink(drafts[key], source, outputs[key])
    written = [*(draft for key, draft in drafts.items() if key not in handed_on), *further]
    for draft in written:
        flush(draft)
    digests = {folder / draft.name: fingerprint(draft).sha256 for draft in written}
    for place in (*outputs.values(), *digests):
        if place.is_dir() and not place.is_symlink():
            raise InputError(f"{place}: is a folder where an output belongs; remove it and run again.")
    for stale in set(_further(folder, outputs)) - digests.keys():
        stale.unlink()
    # What an output refers to is there before the output is.
    for draft in further:
        os.replace(draft, folder / draft.name)
    for key, draft in drafts.items():
        os.replace(draft, outputs[key])
    flush(folder)
    # By the digests of the drafts: whoever writes into an output as soon as it is there has not made it.
    published = {path: _as_drafted(path, sha256) for path, sha256 in digests.items()}
    return published | {outputs[key]: read[source] for key, source in handed_on.items()}


def _as_drafted(path: Path, sha256: str) -> Fingerprint:
    return Fingerprint(*marks_of(path.stat()), sha256)


def further_files(outputs: Mapping[str, Path]) -> list[Path]:
    """Return the files that a step wrote beside its outputs, under their names and more."""
    folder = next(iter(outputs.values())).parent
    return _further(folder, outputs) if folder.is_dir() and not places.leads_out(folder) else []


def _further(folder: Path, named: Mapping[str, Path]) -> list[Path]:
    """Return the files in `folder` that extend the name of one of `named`, in order of name."""
    names = {path.name for path in named.values()}
    extending = (path for path in folder.iterdir() if any(path.name.startswith(f"{name}.") for name in names))
    return sorted(path for path in extending if path.is_symlink() or not path.is_dir())
