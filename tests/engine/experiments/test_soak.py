"""E1 to E15 mixed: a short soak; the long one is `python -m tests.engine.experiments.soak --builds 200`."""

from __future__ import annotations

from pathlib import Path

from tests.engine.experiments.soak import soak


def test_builds_under_fire_end_like_undisturbed_ones(tmp_path: Path) -> None:
    summary = soak(tmp_path, builds=15, seed=7)
    assert summary.problems == [], str(summary)
    assert summary.rounds == 15
    assert sum(summary.kills.values()) >= 5, str(summary)
