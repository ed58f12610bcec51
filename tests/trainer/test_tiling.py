"""The `tiling` section: version 1, two modes, nothing that merely looks like them."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.trainer.tiling import check_tiling


@pytest.mark.parametrize("document", [{}, {"tiling": {"version": 1, "mode": "tiled"}}])
def test_fine(document: dict[str, Any]) -> None:
    check_tiling(document)
    check_tiling({"tiling": {"version": 1, "mode": "whole_frame", "full_frame": {"enabled": True}}})


@pytest.mark.parametrize("tiling", [None, [], "tiled", 1, True])
def test_it_is_a_mapping(tiling: Any) -> None:
    with pytest.raises(InputError, match="not a mapping"):
        check_tiling({"tiling": tiling})


@pytest.mark.parametrize("version", [True, 1.0, "1", 2, 0, None])
def test_version_is_the_integer_one(version: Any) -> None:
    with pytest.raises(InputError, match="only the integer 1"):
        check_tiling({"tiling": {"version": version, "mode": "tiled"}})


@pytest.mark.parametrize("mode", ["Tiled", "", None, 1, ["tiled"]])
def test_mode_is_known(mode: Any) -> None:
    with pytest.raises(InputError, match="tiled, whole_frame"):
        check_tiling({"tiling": {"version": 1, "mode": mode}})
