"""Two compilers in one repository: neither makes the other's work again, and what they make lies apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chain.conftest import make_workspace, single_target
from tests.compilers import made_up
from tests.doit_runs import Run, doit

MODEL = "shapes-det"
DODO = """from build_rules.compilers import COMPILERS

COMPILERS["made_up"] = "second:MadeUp"
from build_rules.dodo import *
"""
OWN = ["alls", "har", "hef", "meta", "parse"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that both compilers have built, the second one last; and that again as `kept`, beside it."""
    place = tmp_path_factory.mktemp("compilers")
    folder = place / "work"
    folder.mkdir()
    make_workspace(folder, (MODEL,), images=4)
    single_target(folder, MODEL, "calibration_count = 4")
    shutil.copy(made_up.__file__, folder / "second.py")
    (folder / "dodo.py").write_text(DODO)
    assert doit(folder).code == 0
    settings(folder, 'python = "this"')
    run = doit(folder)
    assert (run.code, run.steps) == (0, OWN), run.err
    assert told(run) == {f"{stage} by MadeUp(python='this', level=1)" for stage in ("parse", "optimize", "compile")}
    shutil.copytree(folder, place / "kept")
    return place / "kept"


@pytest.fixture
def folder(kept: Path) -> Path:
    """The repository as it was built, where it was built: its compiler's code is known by its path."""
    work = kept.with_name("work")
    shutil.rmtree(work)
    shutil.copytree(kept, work)
    return work


def settings(folder: Path, *lines: str, compiler: str = "made_up") -> None:
    text = "\n".join((f'[tool.build_rules]\ncompiler = "{compiler}"', "[tool.build_rules.made_up]", *lines))
    (folder / "pyproject.toml").write_text(text + "\n")


def told(run: Run) -> set[str]:
    return {line.strip() for line in run.out.splitlines() if " by MadeUp(" in line}


def test_what_they_make_lies_apart(folder: Path) -> None:
    build = folder / "build" / MODEL
    assert {path.name for path in build.iterdir() if path.is_dir()} == {
        *("hailo8l", "hailo8l-fast", "hailo8l-made_up", "hailo8l-fast-made_up"),
    }
    same = "parsed.har"
    assert (build / "hailo8l" / same).read_bytes() == (build / "hailo8l-made_up" / same).read_bytes()
    assert f"meta:{MODEL}:hailo8l-fast-made_up" in doit(folder, "list", "--all").out


def test_back_and_forth_makes_nothing_again(folder: Path) -> None:
    for compiler in ("emulator", "made_up", "emulator"):
        settings(folder, 'python = "this"', compiler=compiler)
        run = doit(folder)
        assert (run.code, run.executed) == (0, []), run.out


def test_its_settings_run_what_they_decide(folder: Path) -> None:
    settings(folder, 'python = "that"')
    assert doit(folder).executed == [], "how it is run decides nothing"
    settings(folder, 'python = "that"', "level = 2")
    why = doit(folder, "why", f"har:{MODEL}:hailo8l-fast-made_up").out
    assert "made_up.level changed: 1 -> 2" in why
    run = doit(folder)
    assert run.steps == ["har"], "equal bytes end it"
    assert told(run) == {"optimize by MadeUp(python='that', level=2)"}
    settings(folder, 'python = "that"', "level = 3", compiler="emulator")
    assert doit(folder).executed == []


def test_editing_one_runs_nothing_of_the_other(folder: Path) -> None:
    with (folder / "second.py").open("a") as stream:
        stream.write("# another line\n")
    settings(folder, 'python = "this"', compiler="emulator")
    assert doit(folder).executed == []
    settings(folder, 'python = "this"')
    assert doit(folder).steps == ["har", "hef", "parse"]


def test_side_by_side(folder: Path) -> None:
    settings(folder, 'python = "this"', "level = 4")
    run = doit(folder, "-n", "2")
    assert run.code == 0, run.err
    assert told(run) == {"optimize by MadeUp(python='this', level=4)"}, "in a process of its own, too"


def test_what_is_wrong_with_its_table(folder: Path) -> None:
    settings(folder, "levl = 2")
    run = doit(folder)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert 'pyproject.toml, [tool.build_rules], [made_up]: unknown key levl = 2; did you mean "level"?' in run.err


@pytest.mark.parametrize(
    ("line", "task", "text"),
    [
        ('python = "gone"', "parse:shapes-det:hailo8l-made_up", "python = 'gone' is not there; install it,"),
        ("level = 0", "har:shapes-det:hailo8l-fast-made_up", "level = 0 wants made_up 10; install it,"),
    ],
)
def test_one_that_cannot_tell_what_its_outputs_depend_on(folder: Path, line: str, task: str, text: str) -> None:
    """An interpreter that is gone, a version that will not do: a fault of the first step that has to know."""
    settings(folder, line)
    for arguments in ((), ("-n", "2"), ("-c",)):
        run = doit(folder, *arguments)
        assert (run.code, run.executed) == (3, []), run.err
        assert run.err.count("ERROR") == 1
        assert f"ERROR in {task}: [made_up]: {text}" in run.err
        assert "Traceback" not in run.out + run.err
    assert text in doit(folder, "why", task).out
    settings(folder, line, compiler="emulator")
    assert (doit(folder).code, doit(folder).executed) == (0, []), "nobody asks one that is not chosen"
