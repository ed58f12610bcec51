"""The guide through a run in `engine/__init__.py` names what is there."""

from __future__ import annotations

import re
from pathlib import Path

from build_rules import engine

ROOM = Path(engine.__file__).parent


def test_what_the_guide_names_is_there() -> None:
    assert engine.__doc__ is not None
    named = set(re.findall(r"`([\w/]+\.py|\w+/)`", engine.__doc__))
    everywhere = {path.name for path in ROOM.rglob("*.py")}
    assert sorted(name for name in named if not (ROOM / name).exists() and name not in everywhere) == []


def test_what_lies_at_the_top_is_named() -> None:
    named = set(re.findall(r"`(?:\w+/)?(\w+\.py)`", engine.__doc__ or ""))
    places = [ROOM, ROOM / "running", ROOM / "freshness"]
    there = {path.name for place in places for path in place.glob("*.py")} - {"__init__.py"}
    assert sorted(there - named) == []
