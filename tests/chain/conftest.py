"""Workspaces: copies of the example models, built by the real doit as a user would."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.doit_runs import doit

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "models"


def make_workspace(folder: Path, models: tuple[str, ...], images: int | None = None) -> Path:
    """Copy `models` and the scenes they calibrate on (all, or the first `images`) into a workspace of its own."""
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    for name in models:
        shutil.copytree(MODELS / name, folder / "models" / name)
    pool = folder / "models/scenes/calibration"
    pool.mkdir(parents=True)
    for image in sorted((MODELS / "scenes/calibration").glob("*.jpg"))[:images]:
        shutil.copy(image, pool)
    return folder


def single_target(folder: Path, model: str, *lines: str) -> None:
    """Give a model one target, hailo8l-fast, and further lines in its model.toml."""
    text = "\n".join(['calibration = "../scenes/calibration"', *lines])
    (folder / "models" / model / "model.toml").write_text(text)


def make_small(folder: Path, *lines: str) -> Path:
    """`shapes-det` with one target and 12 calibration images of which 8 are wanted, and further lines in model.toml."""
    make_workspace(folder, ("shapes-det",), images=12)
    single_target(folder, "shapes-det", "calibration_count = 8", *lines)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """`shapes-det` with one target and 12 calibration images of which 8 are wanted; not built."""
    return make_small(tmp_path)


@pytest.fixture(scope="session")
def _built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_small(tmp_path_factory.mktemp("built"))
    run = doit(folder)
    assert run.code == 0, run.err
    return folder


@pytest.fixture
def built(tmp_path: Path, _built_once: Path) -> Path:
    """The same, built."""
    shutil.copytree(_built_once, tmp_path, dirs_exist_ok=True)
    return tmp_path
