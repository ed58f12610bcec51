"""The table of versions: each row says where it comes from, and none contradicts what HEF files say."""

from __future__ import annotations

import pytest

from build_rules.compilers.dfc import pairing
from build_rules.compilers.dfc.pairing import NEWEST, PAIRINGS, Pairing, find_pairing, parse_version, text_of
from build_rules.hef.reader import read_hef
from build_rules.hef.releases import HEADER_SINCE
from tests.shared import SHARED, needs_shared


@pytest.mark.parametrize("row", PAIRINGS, ids=lambda row: text_of(row.dfc))
def test_every_row_has_sources_that_the_module_explains(row: Pairing) -> None:
    assert row.sources
    for source in row.sources:
        assert f"* *{source}*:" in (pairing.__doc__ or "")
    assert (row.numpy is not None) == ("pip" in row.sources)
    assert (row.header is not None) == ("files" in row.sources)


def test_rows_ascend() -> None:
    assert [row.dfc for row in PAIRINGS] == sorted({row.dfc for row in PAIRINGS})
    releases = [row.hailort for row in PAIRINGS]
    assert releases == sorted(releases)
    assert find_pairing(NEWEST) is PAIRINGS[-1]


@pytest.mark.parametrize("row", [row for row in PAIRINGS if row.header is not None], ids=lambda row: text_of(row.dfc))
def test_the_release_that_came_with_a_dfc_loads_what_it_was_seen_to_write(row: Pairing) -> None:
    assert row.header is not None
    assert HEADER_SINCE[row.header] <= row.hailort


@needs_shared
def test_real_files_have_the_header_that_their_row_says() -> None:
    checked = 0
    for path in sorted((SHARED / "hefs").glob("*.hef")):
        hef = read_hef(path)
        row = find_pairing(parse_version(hef.sdk_version))
        if row is not None and row.header is not None:
            assert hef.container.header.version == row.header, path.name
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.33.0", (3, 33)),
        ("3.33", (3, 33)),
        ("3.33.0-double-emulated", (3, 33)),
        ("3.8.10+", (3, 8)),
        ("3", None),
        ("", None),
        (None, None),
        ("v3.33", None),
        ("3.99999", None),
        ("sdk-version: 5.2.0", None),
    ],
)
def test_versions(text: str | None, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version


def test_what_nothing_is_known_of() -> None:
    assert find_pairing((3, 99)) is None
    assert find_pairing(None) is None
