"""doit is ended while Hailo's compiler works, which may take hours: nothing of it stays, and the next run goes on."""

from __future__ import annotations

import os
import shutil
import signal
import time
from itertools import product
from pathlib import Path

import pytest

from build_rules.engine.places import LEFTOVERS
from tests.chain.dfc_workspaces import MODEL, choose_dfc, make_dfc
from tests.dfc_double.environment import make_environment, set_behaviour
from tests.doit_runs import doit, start_doit, wait_until
from tests.profiles import EXPERIMENTS, sampled

PLACE = f"build/{MODEL}/hailo8l-fast-dfc"
STEPS = {"har": ("optimize", "model.har"), "hef": ("compile", "model.hef")}
KILLS = sampled(tuple(product(STEPS, (signal.SIGINT, signal.SIGTERM, signal.SIGKILL))), 4, EXPERIMENTS)
"""A plain run tries each signal, and each step with two of them."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kills")
    folder = make_dfc(place / "work", make_environment(place / "dfc"))
    run = doit(folder)
    assert run.code == 0, run.err
    return folder


def outputs(folder: Path) -> dict[str, bytes]:
    """All but the logs, which hold times."""
    files = (path for path in sorted((folder / "build").rglob("*")) if path.is_file() and path.suffix != ".log")
    found = {str(path.relative_to(folder)): path for path in files}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith("build/.")}


def processes_of(place: Path) -> list[str]:
    """The command lines of living processes that name a place, or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = (entry / "cwd").readlink()
        except OSError:
            continue
        if str(place) in command or f"{where}/".startswith(f"{place}/"):
            found.append(f"{entry.name}: {command} in {where}")
    return found


def hanging(folder: Path) -> list[int]:
    """The compiler's process and its child, as soon as both hang."""
    try:
        return [int(pid) for path in (folder / "build").rglob("hanging.pid") for pid in path.read_text().split()]
    except OSError:  # a folder of the stage before is just being removed
        return []


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="processes are looked for in /proc")
@pytest.mark.parametrize(("step", "sent"), KILLS)
def test_no_orphan_survives_and_the_next_run_goes_on(
    kept: Path, tmp_path: Path, step: str, sent: signal.Signals
) -> None:
    stage, output = STEPS[step]
    shutil.copytree(kept, folder := tmp_path / "work")
    python = make_environment(tmp_path / "dfc", hang=stage, stubborn=True)
    choose_dfc(folder, python)
    before = outputs(folder)
    (folder / PLACE / output).unlink()
    process = start_doit(folder)
    wait_until(lambda: len(hanging(folder)) == 2)
    working = hanging(folder)
    assert all(Path(f"/proc/{pid}").exists() for pid in working)
    assert not (folder / PLACE / output).exists()
    began = time.monotonic()
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if sent == signal.SIGKILL else 130)
    wait_until(lambda: processes_of(tmp_path) == [], 20)
    assert time.monotonic() - began < 15
    set_behaviour(python)
    run = doit(folder)
    assert (run.code, run.steps) == (0, [step, "meta"]), run.err
    assert outputs(folder) == before
    assert not list((folder / "build").rglob("*.partial"))
    assert not list((folder / "build").rglob(".dfc-*"))
    assert not list((folder / LEFTOVERS).glob("*"))


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="processes are looked for in /proc")
def test_who_watches_over_it_is_killed(kept: Path, tmp_path: Path) -> None:
    """What the compiler has started outlives both its parent and who would have ended it; the step ends it."""
    shutil.copytree(kept, folder := tmp_path / "work")
    choose_dfc(folder, make_environment(tmp_path / "dfc", hang="compile", stubborn=True))
    (folder / PLACE / "model.hef").unlink()
    process = start_doit(folder, "-n", "2")
    wait_until(lambda: len(hanging(folder)) == 2)
    worker, _ = hanging(folder)
    watching = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(watching, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 3
    wait_until(lambda: processes_of(tmp_path) == [], 20)


@pytest.mark.parametrize("step", STEPS)
def test_it_is_ended_by_the_machine(kept: Path, tmp_path: Path, step: str) -> None:
    """As the kernel does when memory runs out: told as a failure of the step, with what it left."""
    stage, output = STEPS[step]
    shutil.copytree(kept, folder := tmp_path / "work")
    python = make_environment(tmp_path / "dfc", die={"at": stage, "signal": 9})
    choose_dfc(folder, python)
    before = outputs(folder)
    (folder / PLACE / output).unlink()
    run = doit(folder)
    assert run.code == 3, run.err
    assert f"ERROR in {step}:{MODEL}:hailo8l-fast-dfc: " in run.err
    assert "signal 9" in run.err
    assert "Traceback" not in run.err
    left = list((folder / LEFTOVERS).glob(f"{step}-{MODEL}-hailo8l-fast-dfc-*"))
    assert (len(left), str(left[0].relative_to(folder)) in run.err) == (1, True)
    assert processes_of(tmp_path) == []
    set_behaviour(python)
    run = doit(folder)
    assert (run.code, run.steps) == (0, [step, "meta"]), run.err
    assert outputs(folder) == before
    assert not list((folder / LEFTOVERS).glob("*"))
