"""E1 to E15 mixed: a short soak; the long one is `python -m tests.engine.experiments.soak --builds 200`."""

from __future__ import annotations

from pathlib import Path

from tests.engine.experiments.soak import soak
from tests.profiles import EXPERIMENTS


def test_builds_under_fire_end_like_undisturbed_ones(tmp_path: Path) -> None:
    builds = 15 if EXPERIMENTS else 8
    summary = soak(tmp_path, builds=builds, seed=7)
    assert summary.problems == [], str(summary)
    assert summary.rounds == builds
    assert sum(summary.kills.values()) >= builds // 3, str(summary)
