"""The same inputs give the same bytes: in another folder, on another day, after kills, with other threads."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.chain.conftest import make_workspace, single_target
from tests.doit_runs import doit, start_doit, wait_until

STEPS = ("split", "calibration", "parse", "alls", "har", "hef", "meta")


def built(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "build").rglob("*"))
        if path.is_file() and path.name[0] != "."
    }


def test_two_folders_give_equal_bytes(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "folder"
    shutil.copytree(small, other)
    assert doit(small, OMP_NUM_THREADS="1").code == 0
    assert doit(other, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7").code == 0
    first, second = built(small), built(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_in_any_step_changes_no_byte(small: Path, step: str, undisturbed: dict[str, bytes]) -> None:
    process = start_doit(small)
    partial = f".{step}.partial"
    wait_until(lambda: process.poll() is not None or any((small / "build").rglob(partial)))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert doit(small).code == 0
    assert built(small) == undisturbed
    assert not list((small / "build").rglob("*.partial"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = make_workspace(tmp_path_factory.mktemp("undisturbed"), ("shapes-det",), images=12)
    single_target(folder, "shapes-det", "calibration_count = 8")
    assert doit(folder).code == 0
    return built(folder)
