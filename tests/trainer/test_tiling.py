"""The `tiling` section: version 1, two modes, nothing that merely looks like them."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.records.split_json import Tiling
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.tiling import read_tiling, tiling_fault


def test_fine() -> None:
    assert TrainerDocument().tiling is None
    assert read_tiling({"version": 1, "mode": "tiled"}) == Tiling("tiled")
    for enabled in (True, False, 1, "yes"):
        section = {"version": 1, "mode": "whole_frame", "full_frame": {"enabled": enabled}}
        assert read_tiling(section) == Tiling("whole_frame", enabled is True)
        assert tiling_fault(section) is None
    assert read_tiling({"version": 1, "mode": "tiled", "full_frame": True}) == Tiling("tiled")


@pytest.mark.parametrize("section", [None, [], "tiled", 1, True])
def test_it_is_a_mapping(section: Any) -> None:
    with pytest.raises(InputError, match="not a mapping"):
        read_tiling(section)
    with pytest.raises(InputError, match="not a mapping"):
        _ = TrainerDocument({"tiling": section}).tiling


@pytest.mark.parametrize("version", [True, 1.0, "1", 2, 0, None])
def test_version_is_the_integer_one(version: Any) -> None:
    with pytest.raises(InputError, match=r"only the integer 1.*trainer's export, or \[metadata\.tiling\] in"):
        read_tiling({"version": version, "mode": "tiled"})


@pytest.mark.parametrize("mode", ["Tiled", "", None, 1, ["tiled"]])
def test_mode_is_known(mode: Any) -> None:
    with pytest.raises(InputError, match="tiled, whole_frame"):
        read_tiling({"version": 1, "mode": mode})
