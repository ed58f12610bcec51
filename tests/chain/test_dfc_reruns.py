"""What runs again with Hailo's compiler (docs/what-reruns.md), by its double: as with the emulator, and more rows."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests.chain.conftest import single_target
from tests.chain.dfc_workspaces import MODEL, Interpreter, choose_dfc, choose_place, copy_numpy, make_dfc
from tests.compilers.dfc.launch.stand_ins import IMAGE, StandIns
from tests.dfc_double.environment import make_environment
from tests.doit_runs import doit
from tests.profiles import sampled

ALL = ["alls", "calibration", "har", "hef", "meta", "parse", "split"]
OWN = ["alls", "har", "hef", "meta", "parse"]
AGAIN = ["har", "hef", "meta", "parse"]
"""Those in which the compiler is started, and the one that reads what it has logged, which holds times."""
PLACE = f"build/{MODEL}/hailo8l-fast-dfc"
DECLARED = ("calibration_count = 8", 'labels = "labels.txt"')


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace that both compilers have built, Hailo's last, and the interpreter of the double's environment."""
    place = tmp_path_factory.mktemp("dfc")
    python = make_environment(place / "dfc")
    folder = make_dfc(place / "work", python)
    (folder / f"models/{MODEL}/labels.txt").write_text("circle\nsquare\ntriangle\nstar\ncross\n")
    single_target(folder, MODEL, *DECLARED)
    run = doit(folder)
    assert (run.code, run.steps) == (0, ALL), run.err
    run = doit(folder, "compiler=emulator")
    assert (run.code, run.steps) == (0, [*OWN, "statistics"]), run.err
    return folder, python


@pytest.fixture
def folder(kept: tuple[Path, Path], tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(kept[0], copy)
    return copy


@pytest.fixture
def python(kept: tuple[Path, Path]) -> Path:
    return kept[1]


def steps_after(folder: Path) -> list[str]:
    run = doit(folder)
    assert run.code == 0, run.err
    again = doit(folder)
    assert (again.code, again.executed) == (0, [])
    return run.steps


def test_nothing_changed(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.name[0] != ".":
            os.utime(path, (2_000_000_000, 2_000_000_000))
    assert steps_after(folder) == []


def test_switching_back_and_forth_makes_nothing_again(folder: Path, python: Path) -> None:
    for compiler in ("emulator", "dfc", "emulator", "dfc"):
        choose_dfc(folder, python, compiler=compiler)
        run = doit(folder)
        assert (run.code, run.executed) == (0, []), run.out
    assert doit(folder, "compiler=emulator").executed == []
    assert {path.name for path in (folder / "build" / MODEL).iterdir() if path.is_dir()} == {
        *("hailo8l", "hailo8l-dfc", "hailo8l-fast", "hailo8l-fast-dfc"),
    }


def test_another_compiler_for_one_run(folder: Path) -> None:
    shutil.rmtree(folder / "build" / MODEL / "hailo8l-fast")
    run = doit(folder, "compiler=emulator")
    assert (run.code, run.steps) == (0, ["alls", "har", "hef", "meta"])
    assert not any(name.endswith("-dfc") for name in run.executed)
    assert doit(folder).executed == []


def test_a_null_build_starts_no_program(folder: Path, tmp_path: Path) -> None:
    interpreter = Interpreter(make_environment(tmp_path / "dfc"))
    choose_dfc(folder, interpreter.path)
    time.sleep(0.1)
    assert doit(folder).executed == [], "an equal environment in another place decides nothing"
    assert interpreter.starts() > 0
    for arguments in ((), (), ("status",), ("plan",), ("-n", "2"), (f"hef:{MODEL}:*",), ("why", f"hef:{MODEL}:*")):
        run = doit(folder, *arguments)
        assert (run.code, run.executed) == (0, []), run.err
        assert interpreter.starts() == 0, arguments
    (folder / f"models/{MODEL}/labels.txt").write_text("disc\nsquare\ntriangle\nstar\ncross\n")
    assert doit(folder).steps == ["meta"]
    assert interpreter.starts() == 0, "nor does a build in which the compiler has nothing to do"


def change_labels(folder: Path) -> None:
    (folder / f"models/{MODEL}/labels.txt").write_text("disc\nsquare\ntriangle\nstar\ncross\n")


def add_a_preset(folder: Path) -> None:
    single_target(folder, MODEL, *DECLARED, '[[target]]\n[[target]]\npreset = "balanced"')


def choose_another_chip(folder: Path) -> None:
    single_target(folder, MODEL, *DECLARED, '[[target]]\nhw_arch = "hailo8"')


def take_more_images(folder: Path) -> None:
    single_target(folder, MODEL, "calibration_count = 9", 'labels = "labels.txt"')


def change_weights(folder: Path) -> None:
    path = folder / f"models/{MODEL}/{MODEL}.onnx"
    model = onnx.load(path)
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    changed = onnx.numpy_helper.to_array(weights) * 1.001
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
    path.write_bytes(model.SerializeToString(deterministic=True))


ROWS: list[tuple[Callable[[Path], None], list[str]]] = [
    (change_labels, ["meta"]),
    (add_a_preset, ["alls", "har", "hef", "meta"]),
    (choose_another_chip, OWN),
    (take_more_images, ["alls", "calibration", "har", "hef", "meta"]),
    (change_weights, ["alls", "har", "hef", "meta", "parse", "split"]),
]


@pytest.mark.parametrize(("change", "steps"), sampled(ROWS, 3))
def test_what_runs_again_as_with_the_emulator(folder: Path, change: Callable[[Path], None], steps: list[str]) -> None:
    change(folder)
    assert steps_after(folder) == steps
    if change in (add_a_preset, choose_another_chip):
        single_target(folder, MODEL, *DECLARED)
        assert steps_after(folder) == [], "what was made for the former targets is still there"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


SPOILT: list[tuple[str, Callable[[Path], None], list[str]]] = [
    ("model.har", cut_short, ["har", "meta"]),
    ("model.har", Path.unlink, ["har", "meta"]),
    ("model.hef", Path.unlink, ["hef", "meta"]),
    ("model.hef", cut_short, ["hef", "meta"]),
    ("hef.log", Path.unlink, ["hef", "meta"]),
    ("hef.log", cut_short, ["hef", "meta"]),
]


@pytest.mark.parametrize(("name", "spoil", "steps"), sampled(SPOILT, 3))
def test_an_output_that_is_gone_or_damaged(
    folder: Path, name: str, spoil: Callable[[Path], None], steps: list[str]
) -> None:
    spoil(folder / PLACE / name)
    assert steps_after(folder) == steps


def test_a_line_of_the_compile_alone_does_not_quantize_again(folder: Path) -> None:
    """Which takes hours, where the compile takes minutes."""
    declared = (*DECLARED, "[alls]", 'append = ["resources_param(max_utilization=0.8)"]')
    single_target(folder, MODEL, *declared)
    steps = steps_after(folder)
    assert {"alls", "hef"} <= set(steps) <= {"alls", "hef", "meta"}
    single_target(folder, MODEL, *declared[:-1], 'append = ["model_optimization_config(calibration, batch_size=2)"]')
    assert {"alls", "har", "hef"} <= set(steps_after(folder))


def test_how_it_is_run_decides_nothing(folder: Path, python: Path) -> None:
    choose_dfc(folder, python, "time_limit = 3")
    assert steps_after(folder) == []


@pytest.mark.parametrize(
    ("line", "steps"), [('gpus = "all"', ["har"]), ("retry = true", ["hef"]), ("reuse_allocation = true", ["hef"])]
)
def test_a_setting_runs_what_it_decides(folder: Path, python: Path, line: str, steps: list[str]) -> None:
    choose_dfc(folder, python, line)
    why = doit(folder, "why", f"{steps[0]}:{MODEL}:hailo8l-fast-dfc").out
    assert line.split()[0] in why
    assert set(steps) <= set(steps_after(folder)) <= {*steps, "meta"}


def test_another_release_of_the_compiler(folder: Path, tmp_path: Path) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", version="3.34.0"))
    told = doit(folder, "why", f"parse:{MODEL}:hailo8l-dfc").out
    assert "compiler changed: dfc 3.33.0 -> dfc 3.34.0" in told
    assert steps_after(folder) == OWN


def test_the_environment_is_upgraded_where_it_is(folder: Path, tmp_path: Path) -> None:
    """As by pip: the same path, other distributions. Equal bytes end it, but for the logs."""
    python = make_environment(tmp_path / "dfc")
    choose_dfc(folder, python)
    assert steps_after(folder) == []
    time.sleep(0.1)
    copy_numpy(python, "1.23.3")
    assert "environment changed" in doit(folder, "why", f"parse:{MODEL}:hailo8l-dfc").out
    assert steps_after(folder) == AGAIN


def test_the_image_is_another_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `docker load`: the same name, another digest. No container is started to see that it is the same."""
    plan = {"environment": str(make_environment(tmp_path / "dfc").parent.parent)}
    docker = StandIns(tmp_path, monkeypatch, **plan)
    choose_place(folder, 'image = "hailo:2025-10"')
    assert steps_after(folder) == AGAIN
    begun = len(docker.calls())
    assert doit(folder).executed == []
    assert {tuple(call[:3]) for call in docker.calls()[begun:]} == {("docker", "image", "inspect")}
    docker.plan(**plan, id=IMAGE.replace("ab", "cd"))
    assert steps_after(folder) == AGAIN


def test_another_environment_behind_a_command(folder: Path, tmp_path: Path) -> None:
    interpreter = Interpreter(python := make_environment(tmp_path / "dfc"))
    choose_place(folder, f'command = ["{interpreter.path}"]')
    assert steps_after(folder) == []
    copy_numpy(python, "1.23.3")
    assert steps_after(folder) == [], "a build with nothing to do starts nothing, and waits in no queue"
    change_labels(folder)
    assert steps_after(folder) == AGAIN
    interpreter.path.unlink()
    (folder / "models" / MODEL / "labels.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    assert steps_after(folder) == ["meta"], "what cannot be reached is taken to be as it was"


def test_an_environment_that_is_gone(folder: Path, tmp_path: Path) -> None:
    """Nobody can tell any more what the outputs depend on: told in the first step that has to know."""
    choose_dfc(folder, tmp_path / "gone/bin/python")
    run = doit(folder)
    assert (run.code, run.executed) == (3, [])
    assert f"ERROR in parse:{MODEL}:hailo8l-dfc" in run.err
    assert "Traceback" not in run.err
    assert doit(folder, "compiler=emulator").code == 0
