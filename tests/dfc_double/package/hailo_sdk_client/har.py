"""Reading and writing HARs, with the member names of the real ones.

Beside them the double keeps what it and the emulator need: `<n>.double.json`, `<n>.emulator*`.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

__all__ = ["Archive"]


class Archive:
    """The members of a HAR by suffix (`.hn`, `.npz`, `.q.npz`, ...), and the name of its network."""

    def __init__(self, name: str, members: dict[str, bytes]) -> None:
        self.name, self.members = name, members

    @classmethod
    def read(cls, path: str | Path) -> Archive:
        """Read a HAR, compressed or not. Raises what `tarfile` raises, and ValueError when it is none."""
        found: dict[str, bytes] = {}
        with tarfile.open(str(path), "r:*") as archive:
            for member in archive.getmembers():
                stream = archive.extractfile(member)
                if stream is not None:
                    found[member.name] = stream.read()
        names = [name[: -len(".hn")] for name in found if name.endswith(".hn")]
        if len(names) != 1:
            raise ValueError(f"{path} is not a Hailo archive: it holds {len(names)} HN files")
        name = names[0]
        return cls(name, {key[len(name) :]: value for key, value in found.items() if key.startswith(name)})

    def write(self, path: str | Path, compressed: bool = False) -> None:
        """Write the HAR; equal content gives equal bytes when it is not compressed."""
        with tarfile.open(str(path), "w:gz" if compressed else "w", format=tarfile.GNU_FORMAT) as archive:
            for suffix in sorted(self.members):
                info = tarfile.TarInfo(self.name + suffix)
                info.size = len(self.members[suffix])
                archive.addfile(info, io.BytesIO(self.members[suffix]))

    def document(self, suffix: str) -> dict[str, Any]:
        """Return a JSON member, an empty dictionary when there is none."""
        if suffix not in self.members:
            return {}
        document: dict[str, Any] = json.loads(self.members[suffix].decode("utf-8"))
        return document

    def put(self, suffix: str, document: Any) -> None:
        """Store a JSON member."""
        self.members[suffix] = (json.dumps(document, indent=1) + "\n").encode("utf-8")
