"""The same inputs give the same bytes: in another folder, on another day, after kills, with other threads."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.chain.conftest import make_small, single_target
from tests.doit_runs import doit, start_doit, wait_until
from tests.profiles import EXPERIMENTS

OUTPUTS = {
    "split": "split.json",
    "calibration": "calibration.json",
    "parse": "hailo8l/parsed.har",
    "statistics": "hailo8l/statistics.npz",
    "alls": "hailo8l-fast/model.alls",
    "har": "hailo8l-fast/model.har",
    "hef": "hailo8l-fast/model.hef",
    "meta": "hailo8l-fast/model+meta.hef",
}
"""One output of each step."""


def built(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "build").rglob("*"))
        if path.is_file() and path.name[0] != "."
    }


def test_two_folders_give_equal_bytes(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    presets = "".join(f'[[target]]\npreset = "{preset}"\n' for preset in ("fast", "balanced", "accurate"))
    single_target(small, "shapes-det", "calibration_count = 8", presets)
    other = tmp_path_factory.mktemp("other") / "folder"
    shutil.copytree(small, other)
    assert doit(small, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1").code == 0
    assert doit(other, "-n", "2", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7").code == 0
    first, second = built(small), built(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


# Stops the process (and so lets it be killed) in one step: before its function, when its drafts are whole, or when its
# outputs are in place and doit has not yet recorded them.
STOP = """
import functools, os, signal
from doit.dependency import Dependency
from build_rules.steps import {step} as step

def stopping(owner, name, wanted, after):
    original = getattr(owner, name)
    @functools.wraps(original)
    def stopped(*arguments, **named):
        result = original(*arguments, **named) if after else None
        if wanted(*arguments):
            os.kill(os.getpid(), signal.SIGSTOP)
        return result if after else original(*arguments, **named)
    setattr(owner, name, stopped)

stopping({place})
"""
PLACES = {
    "reading": "step, 'run', lambda *_: True, False",
    "whole": "step, 'run', lambda *_: True, True",
    "published": "Dependency, 'save_success', lambda _, task, *__: task.name.startswith('{step}:'), False",
}


KILLS = [(step, place) for step in OUTPUTS for place in PLACES]
if not EXPERIMENTS:  # every step at one place, and every place in two steps at least
    KILLS = [kill for number, kill in enumerate(KILLS) if number // 3 % 3 == number % 3]


@pytest.mark.parametrize(("step", "place"), KILLS)
def test_a_kill_in_any_step_changes_no_byte(small: Path, step: str, place: str, undisturbed: dict[str, bytes]) -> None:
    dodo = (small / "dodo.py").read_text()
    (small / "dodo.py").write_text(STOP.format(step=step, place=PLACES[place].format(step=step)) + dodo)
    process = start_doit(small)
    state = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (small / "build/shapes-det" / OUTPUTS[step]).exists() == (place == "published")
    (small / "dodo.py").write_text(dodo)
    assert doit(small).code == 0
    assert built(small) == undisturbed
    assert not list((small / "build").rglob("*.partial"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = make_small(tmp_path_factory.mktemp("undisturbed"))
    assert doit(folder).code == 0
    return built(folder)
