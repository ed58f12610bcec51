"""The folder of one run: what lies in it, how it is read, and what of it is kept.

A container or another machine may have put anything there: nothing is followed, and nothing read without bounds.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from build_rules.compilers.dfc import dfc_worker
from build_rules.compilers.dfc.launch.start import REQUEST, WORKER
from build_rules.compilers.dfc.launch.work import FILE_NAMES, OPTIONAL, Work

__all__ = ["LOGS", "OutputError", "joined_logs", "keep", "making_run_folder", "publish", "read_result"]

LOGS = ("hailo_sdk.client.log", "hailo_sdk.core.log", "acceleras.log", "allocator.log")
OUTPUT_LOG = "output.log"
LOG_HEAD = 256 << 10
LOG_TAIL = 768 << 10
"""Bytes of one log that are kept: its beginning, and its end."""
MAX_RESULT = 4 << 20
"""Bytes; it has some ten thousand."""
MAX_DEPTH = 64
"""Folders of one that works there below another."""
MAX_WORD = 200
"""Characters of a version, or of the digest."""
SOURCE = Path(dfc_worker.__file__)
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


class OutputError(Exception):
    """What a worker says it made is not there."""


@contextmanager
def making_run_folder(work: Work) -> Iterator[Path]:
    """Make a folder beside the first output, with what a run needs in it; it is gone afterwards. Raises `OSError`."""
    beside = next((path.absolute().parent for path in (*work.outputs.values(), *filter(None, [work.log]))), None)
    run = Path(tempfile.mkdtemp(prefix=".dfc-", dir=beside))
    try:
        for name in ("work", "out", "home", "tmp"):
            (run / name).mkdir()
        shutil.copyfile(SOURCE, run / WORKER)
        yield run
    finally:
        _pull_up(run)
        shutil.rmtree(run, ignore_errors=True)


def _pull_up(top: Path) -> None:
    """Move folders that lie deeper than any compiler's to the top: what removes a tree calls itself for each level."""
    pending, moved = [(str(top), 0)], 0
    with suppress(OSError):
        while pending:
            folder, depth = pending.pop()
            with os.scandir(folder) as entries:
                below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            for path in below:
                if depth < MAX_DEPTH:
                    pending.append((path, depth + 1))
                else:
                    moved += 1
                    place = top / f"deep-{moved}"
                    Path(path).rename(place)
                    pending.append((str(place), 1))


def read_result(run: Path, nonce: str) -> Mapping[str, Any] | None:
    """Return the result of a worker; None when there is none, or it is not the answer to this run's request."""
    data = _read(run / dfc_worker.RESULT, MAX_RESULT, 0)
    if data is None or len(data) > MAX_RESULT:
        return None
    try:
        result = json.loads(data.decode("utf-8"), parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    if not isinstance(result, dict) or result.get("nonce") != nonce:
        return None
    environment, facts = result.get("environment", {}), result.get("facts", {})
    texts = [result.get(name, "") for name in ("kind", "type", "message", "traceback")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(facts, dict) or not _is_known(environment):
        return None
    is_whole = "kind" in result or ("facts" in result and {"dfc", "python", "numpy", "digest"} <= environment.keys())
    return result if is_whole else None


def _finite(text: str) -> float | None:
    """Return a number that other JSON may hold, too: 1e999 is none."""
    number = float(text)
    return number if math.isfinite(number) else None


def _is_known(environment: object) -> bool:
    """Say whether this names an environment in short words: they go into files, and onto screens."""
    if not isinstance(environment, dict):
        return False
    return all(isinstance(word, str) and len(word) <= MAX_WORD and word.isprintable() for word in environment.values())


def publish(run: Path, outputs: Mapping[str, Path], text: str, log: Path | None) -> None:
    """Rename all outputs and the log into place, or none. Raises `OutputError` for one that is no file, or empty."""
    ready = []
    for name, target in outputs.items():
        made = run / "out" / FILE_NAMES[name]
        state = made.lstat() if os.path.lexists(made) else None
        if state is not None and stat.S_ISREG(state.st_mode) and state.st_size:
            ready.append((made, target))
        elif name not in OPTIONAL:
            raise OutputError(f"it says that it has made {made.name}, but there is {_what(state)}")
    if log is not None:
        (run / "log").write_text(text, encoding="utf-8", errors="replace")
        ready.append((run / "log", log))
    for made, target in ready:
        made.replace(target)


def joined_logs(run: Path, output: str) -> str:
    """Return the compiler's logs and what it printed as one text, each headed by its name."""
    texts = []
    for name in LOGS:
        data = _read(run / "work" / name, LOG_HEAD, LOG_TAIL)
        if data is not None:
            texts.append((name, data.decode("utf-8", "replace")))
    texts.append((OUTPUT_LOG, output))
    return "\n".join(f"==> {name} <==\n{text if text.endswith(chr(10)) else text + chr(10)}" for name, text in texts)


def keep(run: Path, kept: Path, output: str) -> Path | None:
    """Move what a run that failed left behind, but for inputs and outputs; return where it lies, None when nowhere."""
    _pull_up(run / "work")
    with suppress(OSError):
        kept.mkdir(parents=True, exist_ok=True)
        (kept / OUTPUT_LOG).write_text(output, encoding="utf-8", errors="replace")
        for place in (*sorted((run / "work").iterdir()), run / REQUEST, run / dfc_worker.RESULT):
            if os.path.lexists(place) and not _is_odd(place):
                shutil.move(place, kept / place.name)
        for folder, _, files in os.walk(kept):
            for name in files:
                if _is_odd(Path(folder, name)):
                    Path(folder, name).unlink()
    return kept if kept.is_dir() else None


def _is_odd(place: Path) -> bool:
    """Say whether it is a link, a pipe or a device: nothing that is worth keeping."""
    mode = place.lstat().st_mode
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _what(state: os.stat_result | None) -> str:
    if state is None:
        return "no such file"
    return "nothing in it" if stat.S_ISREG(state.st_mode) else "no regular file"


def _read(path: Path, head: int, tail: int) -> bytes | None:
    """Return beginning and end of a regular file, one byte more than `head` when only that is wanted; None without."""
    try:
        descriptor = os.open(path, _READING)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            return None
        if state.st_size <= head + tail:
            return file.read(head + tail + 1)
        if not tail:
            return file.read(head + 1)
        begun = file.read(head)
        file.seek(-tail, os.SEEK_END)
        left_out = state.st_size - head - tail
        return begun + b"\n[... %d bytes left out ...]\n" % left_out + file.read(tail)
