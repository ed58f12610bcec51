"""Logs, as the DFC writes them: files in the working directory, and `[info] ...` on the console.

`HAILO_SDK_LOG_DIR` moves the files, `HAILO_CLIENT_LOGS_ENABLED=false` keeps them from being written.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["ACCELERAS", "ALLOCATOR", "CLIENT", "CORE", "bare", "info", "log", "progress", "warning"]

CLIENT = "hailo_sdk.client.log"
CORE = "hailo_sdk.core.log"
ALLOCATOR = "allocator.log"
ACCELERAS = "acceleras.log"


def info(text: str, file: str = CLIENT) -> None:
    log("info", text, file)


def warning(text: str, file: str = CLIENT) -> None:
    log("warning", text, file)


def log(level: str, text: str, file: str = CLIENT) -> None:
    """Say a line on the console, and write it into a log and into the client's."""
    print(f"[{level}] {text}", flush=True)
    for name in dict.fromkeys((CLIENT, file)):
        _write(name, level, text)


def bare(text: str, file: str = ALLOCATOR) -> None:
    """Say a line without a level, as the search for a partition does."""
    print(text, flush=True)
    _write(file, "info", text)


def progress(name: str, done: int, total: int, unit: str = "entries") -> None:
    """Draw a bar as the vendor's libraries do: over itself on stderr, a line of its own at the end."""
    end = "\n" if done == total else ""
    filled = 30 * done // max(total, 1)
    bar = "█" * filled + " " * (30 - filled)
    percent = 100 * done // max(total, 1)
    text = f"\r{name}: {percent:3d}%|{bar}| {done}/{total} [00:00<00:00, 100.00{unit}/s]{end}"
    # Callers put other streams in place of these, which may have no bytes beneath.
    if hasattr(sys.stderr, "buffer"):
        sys.stderr.buffer.write(text.encode("utf-8"))
    else:
        sys.stderr.write(text)
    sys.stderr.flush()


def _write(name: str, level: str, text: str) -> None:
    folder = _folder()
    if folder is None:
        return
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with (folder / name).open("a", encoding="utf-8") as stream:
        stream.write(f"{stamp},000 - {level.upper()} - double.py:1 - {text}\n")


def _folder() -> Path | None:
    if os.environ.get("HAILO_CLIENT_LOGS_ENABLED", "true").lower() in ("0", "false"):
        return None
    return Path(os.environ.get("HAILO_SDK_LOG_DIR") or Path.cwd())
