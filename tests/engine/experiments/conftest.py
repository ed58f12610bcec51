"""One workspace per experiment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.experiments.workspace import Workspace
from tests.profiles import EXPERIMENTS

HERE = Path(__file__).resolve().parent
KEPT = 6


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path / "repository")
    yield workspace
    workspace.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep every sixth case of each experiment, unless all are asked for (`EXPERIMENTS=all`): they take minutes."""
    if EXPERIMENTS:
        return
    seen: dict[str, int] = {}
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        if HERE not in item.path.parents:
            kept.append(item)
            continue
        name = item.nodeid.partition("[")[0]
        number = seen[name] = seen.get(name, -1) + 1
        (left_out if number % KEPT else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
