"""Files that are sent to a worker on another machine, and what it sends back; no tar chooses where that lies."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from build_rules.compilers.dfc.dfc_worker import RESULT, RETURNED_FILES
from build_rules.compilers.dfc.launch.start import REQUEST
from build_rules.compilers.dfc.launch.work import FILE_NAMES

__all__ = ["TarError", "send", "unpack"]

MAX_FILES = RETURNED_FILES + 100
"""Files that come back: those of a working folder, and a few more."""
MAX_PARTS = 16
PIECE = 1 << 20


class TarError(Exception):
    """What came back is no tar of a worker."""


def send(stream: IO[bytes], source: Path, request: Path, inputs: Mapping[str, Path]) -> None:
    """Write a worker's source, its request and its inputs, as `dfc_worker.py` reads them. Raises `OSError`."""
    code = source.read_bytes()
    stream.write(b"%d\n%b" % (len(code), code))
    with tarfile.open(fileobj=stream, mode="w|", bufsize=PIECE) as archive:
        archive.copybufsize = PIECE  # type: ignore[attr-defined] # by default it copies in pieces of 16 KiB
        for name, path in ((REQUEST, request), *((FILE_NAMES[name], path) for name, path in inputs.items())):
            archive.add(str(path.resolve()), name, recursive=False)
    stream.flush()


def unpack(tar: Path, folder: Path) -> None:
    """Unpack a result, outputs (`out/`) and a working folder (`work/`) into the folder of a run.

    Raises `TarError` when it is damaged, or names anything outside of these.
    """
    try:
        with tarfile.open(tar, mode="r:") as archive:
            for number, info in enumerate(archive):
                parts = PurePosixPath(info.name).parts
                if number >= MAX_FILES or not info.isreg() or info.issparse() or not _is_expected(info.name, parts):
                    raise TarError(f"a member that no worker sends: {info.name[:200]!r}")
                place = folder.joinpath(*parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(info)
                assert content is not None
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file, PIECE)
                if place.stat().st_size != info.size:
                    raise TarError(f"{info.name[:200]!r} is cut short")
    except (tarfile.TarError, EOFError, ValueError, RecursionError, FileExistsError, NotADirectoryError) as error:
        raise TarError(f"no tar ({error})") from error


def _is_expected(name: str, parts: tuple[str, ...]) -> bool:
    if str(PurePosixPath(*parts)) != name or ".." in parts or len(parts) > MAX_PARTS or "\0" in name:
        return False
    if parts == (RESULT,):
        return True
    if parts[0] == "out":
        return len(parts) == 2 and parts[1] in FILE_NAMES.values()
    return parts[0] == "work" and len(parts) > 1
