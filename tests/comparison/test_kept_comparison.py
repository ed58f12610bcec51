"""A comparison that is kept comes back as it was, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build_rules.comparison.kept_comparison import dump, keep, load, recall
from build_rules.comparison.measured import Comparison
from tests.comparison.records import COMPARISONS
from tests.profiles import either


@given(COMPARISONS)
@settings(max_examples=either(40, 400), suppress_health_check=[HealthCheck.too_slow])
def test_it_comes_back_as_it_was(comparison: Comparison) -> None:
    text = json.dumps(dump(comparison), allow_nan=False)
    # NaN, which is what is not known, equals nothing; its name does.
    assert repr(load(json.loads(text))) == repr(comparison)


SMALL = Comparison("net", "hailo8l", (), (), (), None, "Nothing can be told.")


def test_it_holds_for_what_it_was_made_from(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    assert recall(path, "a") is None
    path.write_bytes(keep(SMALL, "a"))
    assert recall(path, "a") == SMALL
    assert recall(path, None) == SMALL
    assert recall(path, "b") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document | {"format": 2},
        lambda document: document["comparison"],
        lambda document: [document],
        lambda document: document | {"comparison": {**document["comparison"], "take": 3}},
        lambda document: document | {"comparison": {**document["comparison"], "further": 3}},
        lambda document: document | {"comparison": {**document["comparison"], "presets": [{}]}},
    ],
)
def test_what_is_damaged_or_foreign_is_computed_again(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "compare.json"
    path.write_text(json.dumps(change(json.loads(keep(SMALL, "a")))))
    assert recall(path, "a") is None


@given(st.binary(max_size=200))
@settings(max_examples=either(30, 300), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "compare.json").write_bytes(content)
    assert recall(tmp_path / "compare.json", "a") is None
    (tmp_path / "compare.json").write_bytes(b"[" * 100_000)
    assert recall(tmp_path / "compare.json", "a") is None
