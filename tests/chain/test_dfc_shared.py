"""Hailo's compiler shared: one licence for steps side by side, one cache for colleagues."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from tests.chain.conftest import single_target
from tests.chain.dfc_workspaces import MODEL, Interpreter, choose_dfc, copy_numpy, make_dfc
from tests.dfc_double.environment import make_environment
from tests.doit_runs import Run, doit

PRESETS = ("fast", "balanced")
TARGETS = "".join(f'[[target]]\npreset = "{preset}"\n' for preset in PRESETS)
STEPS = 7


def ran(run: Run) -> list[str]:
    """The steps that really ran, not those that came from the cache."""
    return sorted(line.split()[0] for line in run.out.splitlines() if " done in " in line)


def overlapping(spans: list[tuple[int, int]]) -> bool:
    ordered = sorted(spans)
    return any(begin < end for (_, end), (begin, _) in pairwise(ordered))


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Interpreter]:
    """A workspace with two targets that wait for `har`, and the interpreter of an environment where that takes long."""
    place = tmp_path_factory.mktemp("licences")
    interpreter = Interpreter(make_environment(place / "dfc", sleep={"optimize": 1.0}))
    folder = make_dfc(place / "work", interpreter.path)
    single_target(folder, MODEL, "calibration_count = 8", TARGETS)
    run = doit(folder, "alls:*")
    assert run.code == 0, run.err
    return folder, interpreter


@pytest.mark.parametrize("licences", [1, 2])
def test_no_more_at_once_than_there_are_licences(
    parsed: tuple[Path, Interpreter], tmp_path: Path, licences: int
) -> None:
    folder, interpreter = tmp_path / "work", parsed[1]
    shutil.copytree(parsed[0], folder)
    counted = f"[tool.build_rules.resources]\ndfc = {licences}\ncores = 8\n"
    (folder / "pyproject.toml").write_text((folder / "pyproject.toml").read_text() + counted)
    interpreter.starts()
    run = doit(folder, "-n", "2", "-r", "events")
    assert run.code == 0, run.err
    events = [json.loads(line) for line in run.out.splitlines()]
    waiting = {event["task"].split(":")[0] for event in events if event["event"] == "waiting"}
    reasons = {event["text"] for event in events if event["event"] == "waiting"}
    spans = interpreter.spans()
    assert len(spans) >= 2 * len(PRESETS)
    if licences == 1:
        assert not overlapping(spans)
        assert "har" in waiting
        assert reasons == {"waits for dfc (1 of 1 taken)"}
    else:
        assert overlapping(spans)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace that somebody has built, and the cache that it filled."""
    place = tmp_path_factory.mktemp("colleague")
    folder = make_dfc(place / "work", make_environment(place / "dfc"))
    choose_dfc(folder, place / "dfc/bin/python", top=[f'cache = "{place / "cache"}"'])
    run = doit(folder)
    assert (run.code, len(ran(run))) == (0, STEPS), run.err
    return folder, place / "cache"


def hef(folder: Path) -> bytes:
    return (folder / f"build/{MODEL}/hailo8l-fast-dfc/model+meta.hef").read_bytes()


def test_what_a_colleague_has_compiled_is_not_compiled_again(filled: tuple[Path, Path], tmp_path: Path) -> None:
    """In another checkout, by another path to an environment in another place, which has the same in it."""
    first, cache = filled
    interpreter = Interpreter(make_environment(tmp_path / "elsewhere/hailo"))
    folder = make_dfc(tmp_path / "checkout", interpreter.path)
    choose_dfc(folder, interpreter.path, "time_limit = 5", top=[f'cache = "{cache}"'])
    asked = interpreter.starts()
    run = doit(folder)
    assert (run.code, ran(run)) == (0, []), run.err
    assert f"{STEPS} from the cache" in run.out
    assert interpreter.starts() <= asked + 1, "it is asked which one it is, and never to compile"
    assert hef(folder) == hef(first)
    assert (folder / f"build/{MODEL}/hailo8l-fast-dfc/hef.log").read_bytes(), "the log comes with it"
    assert doit(folder).executed == []


def test_another_environment_compiles_for_itself(filled: tuple[Path, Path], tmp_path: Path) -> None:
    first, cache = filled
    python = make_environment(tmp_path / "dfc")
    copy_numpy(python, "1.23.3")
    folder = make_dfc(tmp_path / "checkout", python)
    choose_dfc(folder, python, top=[f'cache = "{cache}"'])
    run = doit(folder)
    assert run.code == 0, run.err
    assert [name.split(":")[0] for name in ran(run)] == ["har", "hef", "meta", "parse"]
    assert hef(folder) == hef(first)
    shutil.rmtree(folder / "build")
    run = doit(folder)
    assert (run.code, ran(run)) == (0, []), "and then it is there for its own kind"
