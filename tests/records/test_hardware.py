"""The table of chips is the only one, and says of each what HEF files, runtimes and settings need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build_rules.declared.settings import Settings, read_settings
from build_rules.errors import InputError
from build_rules.records.hardware import DEFAULT_ARCH, HARDWARE, TARGETS, from_code, takes_code

DOCS = Path(__file__).resolve().parents[2] / "docs"


def names(chips: object) -> list[str]:
    return [chip.name for chip in chips]  # type: ignore[attr-defined]


def test_one_default_and_it_stands_first() -> None:
    assert [chip.name for chip in HARDWARE.values() if chip.is_default] == [DEFAULT_ARCH]
    assert TARGETS[:2] == (DEFAULT_ARCH, "hailo8")
    assert {*TARGETS} == {chip.name for chip in HARDWARE.values() if chip.is_target}
    assert Settings().targets[0].hw_arch == DEFAULT_ARCH


@pytest.mark.parametrize(
    ("code", "chips"),
    [
        (0, ["hailo8"]),
        (1, ["hailo8"]),
        (2, ["hailo8r"]),
        (3, ["hailo8l"]),
        (4, ["hailo15m"]),
        (5, ["hailo10h"]),
        (6, ["hailo15l"]),
        (7, []),
        (103, ["hailo15h", "hailo10h"]),
    ],
)
def test_what_a_number_is_said_of(code: int, chips: list[str]) -> None:
    assert names(from_code(code)) == chips


@pytest.mark.parametrize(
    ("code", "by_4", "by_5"),
    [
        (0, [], ["hailo8"]),
        (1, ["hailo8"], ["hailo8"]),
        (2, ["hailo8"], ["hailo8"]),
        (3, ["hailo8l", "hailo8"], ["hailo8l", "hailo8"]),
        (4, ["hailo15m", "hailo15h", "hailo10h"], ["hailo15m", "hailo15h", "hailo10h"]),
        (5, ["hailo10h", "hailo15h"], []),
        (6, ["hailo15l"], ["hailo15l"]),
        (7, [], []),
        (103, ["hailo15h", "hailo10h"], ["hailo15h", "hailo10h"]),
    ],
)
def test_what_runtimes_configure_with_a_number(code: int, by_4: list[str], by_5: list[str]) -> None:
    assert (names(takes_code(code, 4)), names(takes_code(code, 5))) == (by_4, by_5)


def test_every_chip_reads_back_as_one_of_its_number() -> None:
    for chip in HARDWARE.values():
        assert chip in from_code(chip.codes[0])
        assert chip.clock_of is None or chip.clock_of in HARDWARE
        assert chip.silicon.replace("-", "").lower() == chip.name


def test_a_chip_that_is_no_target_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[[tool.build_rules.target]]\nhw_arch = "hailo99"\n')
    with pytest.raises(InputError, match=r'hw_arch = \'hailo99\' .* one of: "hailo8l", "hailo8"'):
        read_settings(tmp_path / "pyproject.toml")


def test_the_manual_says_which_chips_there_are() -> None:
    page = (DOCS / "model-toml.md").read_text(encoding="utf-8")
    (said,) = re.findall(r'^hw_arch = "\w+" +# (.*)$', page, re.MULTILINE)
    assert said.startswith(f"{DEFAULT_ARCH} (default)")
    assert re.findall(r"hailo\w+", said) == [*TARGETS]
