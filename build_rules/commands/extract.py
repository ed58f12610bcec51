"""What a HEF carries, as files in a folder: nothing is written outside it, and nothing there is overwritten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from build_rules.errors import InputError
from build_rules.hef.container import open_hef, scan_container
from build_rules.hef.embed import strip_opened
from build_rules.hef.members import is_plain_name, members_of

__all__ = ["COMPILED", "extract"]

COMPILED = "compiled.hef"


def extract(hef: Path, folder: Path) -> tuple[Path, ...]:
    """Write the members of a HEF's ZIP and the HEF without it into `folder`, which is made; return what was written.

    Raises `InputError`, before anything is written, when the HEF or its ZIP is damaged, a member's name is no plain
    file name, or one of the files is there already.
    """
    if hef.suffix.lower() != ".hef":
        raise InputError(f"{hef}: only a .hef carries files that can be extracted.")
    with open_hef(hef) as source:
        return _extract(source, hef, folder)


def _extract(source: BinaryIO, hef: Path, folder: Path) -> tuple[Path, ...]:
    container = scan_container(source, str(hef))
    members = members_of(source, container, str(hef))
    for name in members:
        if not is_plain_name(name) or name == COMPILED:
            raise InputError(f"{hef}: carries a file called {name!r}, which is not written anywhere.")
    targets = [folder / name for name in (*members, COMPILED)]
    if there := next((target for target in targets if os.path.lexists(target)), None):
        raise InputError(f"{there}: is there already; give --extract another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in members.items():
            with (folder / name).open("xb") as stream:
                stream.write(data)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    strip_opened(source, container, str(hef), folder / COMPILED)
    return tuple(targets)
