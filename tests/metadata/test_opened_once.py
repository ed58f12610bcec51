"""A HEF is opened once and checksummed once, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from build_rules.commands.describe import describe
from build_rules.commands.extract import COMPILED, extract
from build_rules.errors import InputError
from build_rules.hef import embed_zip, strip, write_hef
from build_rules.hef.header import LAYOUTS, Digest
from build_rules.metadata.examine import examine
from tests.hef.samples import EMBEDDINGS, spec
from tests.opens import opens

VERSION = 3


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes went into each checksum, in order."""
    sizes: list[int] = []
    layout = LAYOUTS[VERSION]

    class Counted:
        def __init__(self) -> None:
            self._digest = layout.digest()
            self._number = len(sizes)
            sizes.append(0)

        def update(self, data: bytes | memoryview, /) -> None:
            sizes[self._number] += len(data)
            self._digest.update(data)

        def digest(self) -> bytes:
            return self._digest.digest()

    counted: Callable[[], Digest] = Counted
    monkeypatch.setitem(LAYOUTS, VERSION, replace(layout, digest=counted))
    return sizes


@pytest.mark.parametrize("look", [examine, describe])
@pytest.mark.parametrize("embedding", [None, *EMBEDDINGS])
def test_a_hef_is_read_and_checksummed_once(
    tmp_path: Path, digested: list[int], look: Callable[[Path], object], embedding: str | None
) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(spec(), b"payload" * 100_000, VERSION))
    if embedding is not None:
        embed_zip(path, {"edgefirst.json": b"{}", "labels.txt": b"a\n"}, path, embedding)  # type: ignore[arg-type]
    digested.clear()
    with opens() as counts:
        look(path)
    assert counts[path] == 1
    header = examine(path).hef.container.header
    # The header's own, and that of the message, which is small.
    assert digested[:2] == [header.length - header.layout.size, header.proto_size]
    assert len(digested) == 4, "two for each look"


def test_what_a_hef_carries_is_extracted_with_one_checksum(tmp_path: Path, digested: list[int]) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(spec(), b"payload" * 1000, VERSION))
    compiled = path.read_bytes()
    embed_zip(path, {"labels.txt": b"a\n"}, path)
    digested.clear()
    extract(path, tmp_path / "out")
    assert len(digested) == 2, "the header's own, and that of the message"
    assert (tmp_path / "out" / COMPILED).read_bytes() == compiled


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_what_is_checked_is_what_is_copied(tmp_path: Path, embedding: Literal["append", "sealed"]) -> None:
    """Another file may have its name meanwhile."""
    path, whole, bare = (tmp_path / name for name in ("a.hef", "whole.hef", "bare.hef"))
    path.write_bytes(write_hef(spec(), b"payload" * 100_000, VERSION))
    with opens() as counts:
        embed_zip(path, {"labels.txt": b"a\n"}, whole, embedding)
        strip(whole, bare)
    assert (counts[path], counts[whole]) == (1, 1)
    assert bare.read_bytes() == path.read_bytes()


def test_what_is_damaged_is_still_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    content = bytearray(write_hef(spec(), b"payload" * 1000, VERSION))
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="its checksum does not match"):
        examine(path)
