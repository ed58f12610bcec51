"""The wheel of the DFC, as the user downloaded it: is it one, which version, and which Python does it want?

A wheel is a ZIP of unknown origin until that is known: its list of members is bounded before it is read, and one small
member is unpacked. Sources: PEP 427 (names of wheels), PEP 440 and 345 (`Requires-Python`), and the names under which
the wheel is quoted in public, `hailo_dataflow_compiler-3.33.1-py3-none-linux_x86_64.whl` and the like from 3.27 on:
the tag `py3` does not say which Python it wants.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from build_rules.compilers.dfc.pairing import Version, find_pairing, parse_version
from build_rules.errors import InputError
from build_rules.regular_file import open_regular

__all__ = ["Wheel", "read_wheel", "suits", "wanted_pythons"]

PACKAGE = "hailo_sdk_client"
DISTRIBUTION = "hailo-dataflow-compiler"
MAX_DIRECTORY = 64 << 20
"""TensorFlow's wheel lists twenty thousand members in two million bytes."""
MAX_METADATA = 1 << 20
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _LOCATOR = b"PK\5\6", b"PK\6\7"
_COMMENT = 1 << 16
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
    *(NotImplementedError, RuntimeError, ValueError, EOFError, struct.error),
)
"""What `zipfile` raises for files that are none."""
_NAME = re.compile(
    r"hailo_dataflow_compiler-(?P<version>[A-Za-z0-9.!+_]+)(?:-\d\w*)?-(?P<python>[\w.]+)-[\w.]+-(?P<platform>[\w.]+)\.whl",
    re.ASCII | re.IGNORECASE,
)
_ALL_PYTHONS: tuple[Version, ...] = ((3, 10), (3, 11), (3, 12), (3, 9), (3, 8))
"""Those that the worker runs on, the most likely first."""


@dataclass(frozen=True)
class Wheel:
    """One wheel of the DFC. `python` is its tag (`py3`, `cp310`), `requires` its `Requires-Python`, maybe empty."""

    path: Path
    version: str
    python: str
    platform: str
    requires: str


def read_wheel(path: Path) -> Wheel:
    """Return what a file says that should be the DFC's wheel. Raises `InputError` when it is not."""
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise InputError(
            f"{path}: is not named like Hailo's wheel (hailo_dataflow_compiler-3.33.0-py3-none-linux_x86_64.whl). That "
            "is in Hailo's developer zone (hailo.ai/developer-zone, Software Downloads, Dataflow Compiler) and nowhere "
            "else; keep its name, pip goes by it."
        )
    try:
        descriptor = open_regular(path)
        with os.fdopen(descriptor, "rb") as stream:
            text = _read_metadata(stream, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except _ZIP_ERRORS as error:
        raise InputError(f"{path}: is no wheel, or was not downloaded whole ({error}); download it again.") from error
    head = {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines()) if value}
    name, version = head.get("Name", ""), head.get("Version", "")
    if re.sub(r"[-_.]+", "-", name).lower() != DISTRIBUTION or version != named["version"]:
        raise InputError(
            f"{path}: says inside that it is {name or 'nothing'} {version}, not {DISTRIBUTION} {named['version']}; "
            "download it again, and keep its name."
        )
    return Wheel(path, version, named["python"].lower(), named["platform"].lower(), head.get("Requires-Python", ""))


def _read_metadata(stream: BinaryIO, path: Path) -> str:
    """Return the head of the wheel's METADATA, once its list of members is known to be of a wheel's size."""
    _check_directory(stream, path)
    with zipfile.ZipFile(stream) as archive:
        found = [info for info in archive.infolist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", info.filename)]
        names = {info.filename.split("/", 1)[0] for info in archive.infolist()}
        if len(found) != 1 or PACKAGE not in names:
            raise InputError(f"{path}: holds no {PACKAGE}, which the DFC's wheel does; download it again.")
        if found[0].file_size > MAX_METADATA:
            raise InputError(
                f"{path}: its METADATA has more than {MAX_METADATA >> 20} MiB; that is no wheel of Hailo's."
            )
        with archive.open(found[0]) as member:
            return member.read(MAX_METADATA).decode("utf-8", "replace").split("\n\n", 1)[0]


def _check_directory(stream: BinaryIO, path: Path) -> None:
    """Check the ZIP's last record, before `zipfile` reads as much as it announces."""
    size = stream.seek(0, os.SEEK_END)
    start = stream.seek(max(0, size - _COMMENT - _END.size))
    tail = stream.read()
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or len(tail) - place < _END.size:
        raise zipfile.BadZipFile("its list of members is not there")
    directory = _END.unpack_from(tail, place)[5]
    # Where a ZIP64 says it once more, `zipfile` believes that.
    if directory > MAX_DIRECTORY or directory > start + place or _LOCATOR in tail[max(0, place - 20) : place]:
        raise InputError(f"{path}: lists more members than Hailo's wheel can have.")


def wanted_pythons(wheel: Wheel) -> tuple[Version, ...]:
    """Return the Pythons that a wheel can be installed for, the one first that is to be tried first."""
    if match := re.fullmatch(r"cp(\d)(\d+)", wheel.python, re.ASCII):
        return ((int(match[1]), int(match[2])),)
    pairing = find_pairing(parse_version(wheel.version))
    known = (pairing.pythons if pairing else None) or _ALL_PYTHONS
    fitting = [version for version in known if suits(wheel.requires, version)]
    return tuple(fitting or [version for version in _ALL_PYTHONS if suits(wheel.requires, version)])


def suits(requires: str, python: Version) -> bool:
    """Say whether a `Requires-Python` such as `>=3.8,<3.11` takes a Python; clauses of other forms are left to pip."""
    for clause in requires.split(","):
        match = re.fullmatch(r"\s*(>=|<=|<|>|==)\s*(\d+)\.(\d+)(\.\*|\.\d+)?\s*", clause, re.ASCII)
        if match is None:
            continue
        sign, other = match[1], (int(match[2]), int(match[3]))
        takes = {
            ">=": python >= other,
            "<": python < other,
            "<=": python <= other,
            ">": python > other or (python == other and match[4] is not None),
            "==": python == other,
        }
        if not takes[sign] and not (sign == "<" and python == other and match[4] not in (None, ".0")):
            return False
    return True
