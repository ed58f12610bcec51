"""Names of files are UTF-8, whatever the locale of the session says.

A workspace is used from many sessions: a desktop, cron, an old cluster's login. Were names read in the encoding of
each, one file would have several names, records would not be found again, and some names could not be written down at
all. So in a locale with another encoding doit starts again in Python's UTF-8 mode; only the terminal keeps its own.
"""

from __future__ import annotations

import os
import sys

from build_rules.engine.doit_names import started_in

__all__ = ["insist_on_utf8"]

PROGRAMS = ("doit", "__main__.py")


def insist_on_utf8() -> None:
    """Start this doit again in UTF-8 mode (PEP 540) where names of files are not UTF-8; any other program is left."""
    if _is_utf8(sys.getfilesystemencoding()) or os.environ.get("PYTHONUTF8") == "1":
        return
    if os.path.basename(sys.argv[0]) not in PROGRAMS:
        return
    # In UTF-8 mode the terminal would get UTF-8, too.
    encoding = getattr(sys.stdout or sys.stderr, "encoding", None) or "ascii"
    os.environ.setdefault("PYTHONIOENCODING", encoding)
    os.environ["PYTHONUTF8"] = "1"
    # doit has gone to the folder of dodo.py; its own arguments count from where it was started.
    os.chdir(started_in())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")
