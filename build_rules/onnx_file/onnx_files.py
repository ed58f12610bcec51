"""An ONNX file and those beside it that hold its weights, each opened once however often it is read.

`TensorProto.external_data` names files by paths relative to the model (onnx.proto3), which a hostile model makes up:
only the model itself and files that were admitted are ever opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from build_rules.regular_file import open_regular

__all__ = ["OnnxFiles", "opened"]

MAX_OPEN = 64
"""Files that are open at one time; of more, the one that was not read for longest is opened again when it is."""


class OnnxFiles:
    """Reads by `location`: the name of the model's own file, or what an external tensor calls another.

    Left as a context, or when nobody holds it any longer, all are closed.
    """

    def __init__(self, path: Path) -> None:
        self._open: dict[str, int] = {}
        self._admitted = {path.name: (path, "this")}
        self.path = path

    @property
    def folder(self) -> Path:
        """Where locations lead from."""
        return self.path.parent

    @property
    def own(self) -> str:
        """The location of the model's own file."""
        return self.path.name

    def __enter__(self) -> OnnxFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close all files; one that is read afterwards is opened again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def admit(self, location: str, path: Path, called: str) -> None:
        """Let `location` be read: it is the file `path`, and what messages call it."""
        self._admitted[location] = (path, called)

    def stat(self, location: str) -> os.stat_result:
        """Return what the system says of an open file. Raises `InputError` and `OSError` as `open_regular` does."""
        return os.fstat(self._descriptor(location))

    def read(self, location: str, start: int, length: int) -> bytes:
        """Return bytes of a file; fewer than `length` where it ends before. Raises as `stat` does."""
        descriptor = self._descriptor(location)
        parts = []
        while length > 0 and (part := os.pread(descriptor, length, start)):
            parts.append(part)
            start += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _descriptor(self, location: str) -> int:
        descriptor = self._open.pop(location, None)
        if descriptor is None:
            if len(self._open) >= MAX_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = open_regular(*self._admitted[location])
        self._open[location] = descriptor  # at the end: it was read last
        return descriptor


@contextmanager
def opened(onnx: Path | OnnxFiles) -> Iterator[OnnxFiles]:
    """Give the files of a model to a block: those that the caller holds, or others that are closed after it."""
    if isinstance(onnx, OnnxFiles):
        yield onnx
        return
    with OnnxFiles(onnx) as files:
        yield files
