"""Which release of HailoRT knew what first, as published: each entry of the tables, by what a file is refused for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from build_rules.hef import Hef, read_hef, write_hef
from build_rules.hef.loaders import oldest_release
from build_rules.hef.releases import RELEASES
from tests.hef.samples import spec

FIRST = {
    (4, 12): (0, 1, 2, 3, 4, 5, 6, 9, 10, 12, 13, 14),
    (4, 14): (15, 16, 18, 19, 20, 21, 22, 23, 25, 26),
    (4, 15): (17, 24),
    (4, 16): (11, 27),
    (4, 17): (28, 29),
    (4, 21): (30, 31, 32),
    (5, 0): (35,),
    (5, 1): (33, 34),
}
HEADERS = {0: (4, 14), 1: (4, 18), 2: (4, 20), 3: (4, 21)}
"""The sample demands extension 26, which came after the first header."""


def demanding(folder: Path, *extensions: int, version: int = 0) -> Hef:
    path = folder / "a.hef"
    path.write_bytes(write_hef(spec(), b"payload" if version else b"", version))
    hef = read_hef(path)
    return replace(hef, extensions=(*hef.extensions, *extensions))


@pytest.mark.parametrize(("extension", "since"), [(one, since) for since, those in FIRST.items() for one in those])
def test_an_extension_is_known_from_its_release_on(tmp_path: Path, extension: int, since: tuple[int, int]) -> None:
    assert oldest_release(demanding(tmp_path, extension)) == max(since, HEADERS[0])


@pytest.mark.parametrize("version", HEADERS)
def test_a_header_is_known_from_its_release_on(tmp_path: Path, version: int) -> None:
    assert oldest_release(demanding(tmp_path, version=version)) == HEADERS[version]


@pytest.mark.parametrize("extension", [7, 8, 36, 1000])
def test_an_extension_that_nobody_may_demand(tmp_path: Path, extension: int) -> None:
    assert oldest_release(demanding(tmp_path, extension)) is None


def test_the_releases_that_are_told_apart() -> None:
    assert (*((4, minor) for minor in range(12, 24)), (5, 0), (5, 1), (5, 2)) == RELEASES
