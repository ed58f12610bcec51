"""A name that the metadata give leads to one file of one folder, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.calibration.snapshot.find_named import MAX_NAME_BYTES, find_named, is_plain
from build_rules.errors import InputError

OTHERS = ["../given/x", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\0b", "a\nb", "\ud800", "\x1b[2J"]


@pytest.mark.parametrize("name", [*OTHERS, "x" * (MAX_NAME_BYTES + 1), "ä" * 128])
def test_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/x").touch()
    assert not is_plain(name)
    with pytest.raises(InputError, match=r"not the plain name of a file.*`calibration`"):
        find_named(tmp_path / "given", name)


@pytest.mark.parametrize("name", ["x", "calibration-ds-1.safetensors", "ä b", "...", "x" * MAX_NAME_BYTES])
def test_the_file_of_that_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"given: there is no such folder.*calibration_folder"):
        find_named(tmp_path / "given", name)
    (tmp_path / "given").mkdir()
    with pytest.raises(InputError, match="neither beside the model nor in"):
        find_named(tmp_path / "given", name)
    (tmp_path / "given" / name).mkdir()
    with pytest.raises(InputError, match="neither beside the model nor in"):
        find_named(tmp_path / "given", name)
    (tmp_path / "given" / name).rmdir()
    (tmp_path / "given" / name).touch()
    assert find_named(tmp_path / "given", name) == tmp_path / "given" / name
