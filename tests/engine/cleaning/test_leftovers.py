"""What nobody declares any more is listed and removed, and nothing else is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from benchmarks.monorepo import generate
from build_rules.engine.places import failed_folder
from tests.doit_runs import doit
from tests.engine.test_other_users import doit as bound_doit

KEPT, CHANGED = "team000/model00000", "team000/model00001"
DECLARED = '[[target]]\nhw_arch = "hailo8l"\npreset = "fast"\n'
GONE = "build/team000/model00001/hailo8-fast"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leftovers") / "repository"
    folder.mkdir()
    generate(folder, 2)
    return folder


@pytest.fixture
def folder(generated: Path, tmp_path: Path) -> Path:
    """A repository of two built models, one of which has lost all its targets but one."""
    copy = tmp_path / "repository"
    shutil.copytree(generated, copy)
    (copy / "models" / CHANGED / "model.toml").write_text(DECLARED)
    return copy


def files(folder: Path) -> set[str]:
    found = (str(path.relative_to(folder)) for path in (folder / "build").rglob("*") if not path.is_dir())
    return {name for name in found if not name.startswith("build/.")}


def test_targets_that_are_declared_no_more(folder: Path) -> None:
    before = files(folder)
    for _ in range(2):  # the second time the models are known to be fresh
        status = doit(folder, "status")
        assert (status.code, f"   {GONE}/model.alls\n" in status.out) == (0, True), status.out
        assert "no longer declared, `doit clean --stale` removes " in status.out
        assert doit(folder).code == 0
    assert "no longer" not in doit(folder, "status", KEPT).out
    assert "no longer" not in doit(folder, "status", "preset=accurate").out

    dry = doit(folder, "clean", "--stale", "-n")
    assert (dry.code, files(folder)) == (0, before)
    assert f"meta:{CHANGED}:hailo8-fast - removing file '{GONE}/model+meta.hef'" in dry.out
    assert doit(folder, "clean", "--stale", KEPT).code == 3
    assert doit(folder, "clean", "--stale", "preset=fast").code == 3
    assert files(folder) == before

    assert doit(folder, "clean", "--stale").code == 0
    gone = before - files(folder)
    assert {name.split("/")[2] for name in gone} == {"model00001"}
    assert not (folder / GONE).exists()
    assert (folder / "build" / CHANGED / "hailo8l-fast/model+meta.hef").exists()
    assert "no longer" not in doit(folder, "status").out
    assert "nothing is left" in doit(folder, "clean", "--stale").out
    assert "up to date" in doit(folder).out


def test_a_model_that_is_gone(folder: Path) -> None:
    shutil.rmtree(folder / "models" / CHANGED)
    assert f"   build/{CHANGED}/" in doit(folder, "status").out
    kept, others = (failed_folder(f"hef:{name}:hailo8l-fast") for name in (CHANGED, KEPT))
    for place in (kept, others):
        (folder / place).mkdir(parents=True)
    assert doit(folder, "clean", "--stale").code == 0
    assert ((folder / kept).exists(), (folder / others).exists()) == (False, True)
    assert {name.split("/")[2] for name in files(folder)} == {"model00000"}
    assert not (folder / "build" / CHANGED).exists()


@pytest.mark.parametrize("fault", ["a model", "the folder of its team"])
def test_what_is_declared_wrongly_is_not_taken_for_gone(folder: Path, fault: str) -> None:
    if fault == "a model":
        (folder / "models" / CHANGED / "model.toml").write_text("[[target")
    else:
        (folder / "models/team000").rename(folder / "away")
        (folder / "models/team000").symlink_to("../unmounted")
    before = files(folder)
    assert "no longer" not in doit(folder, "status").out
    assert doit(folder, "clean", "--stale").code == 0
    assert files(folder) == before


def test_what_somebody_else_has_put_there_is_kept(folder: Path, tmp_path: Path) -> None:
    (folder / GONE / "notes.txt").write_text("mine")
    (folder / GONE / "model.har").write_text("mine")
    (folder / GONE / "model.alls").unlink()
    (folder / GONE / "model.alls").symlink_to(folder / "dodo.py")
    away = tmp_path / "away"
    other = folder / "build" / CHANGED / "hailo8l-balanced"
    other.rename(away)
    other.symlink_to(away)
    theirs = sorted(path.name for path in away.iterdir())
    run = doit(folder, "clean", "--stale")
    assert run.code == 1
    assert f"'{GONE}/model.har' is kept: it is not what the step wrote" in run.out
    assert f"'{GONE}/model.alls' is kept: it is not what the step wrote" in run.out
    assert "does not lie in build/ itself" in run.out
    assert sorted(path.name for path in (folder / GONE).iterdir()) == ["model.alls", "model.har", "notes.txt"]
    assert (folder / "dodo.py").exists()
    assert sorted(path.name for path in away.iterdir()) == theirs


def test_the_records_are_printed(folder: Path) -> None:
    run = doit(folder, "dumpdb")
    assert (run.code, run.err) == (0, "")
    assert f'\nmeta:{KEPT}:hailo8-fast -> {{"' in run.out
    assert doit(folder, "dumpdb", "x").code == 3
    (folder / "build/.records.db").write_bytes(b"no database, but something else of some length")
    assert doit(folder, "dumpdb").err.startswith("ERROR: build/.records.db: cannot be read as the records of steps")


def test_what_this_user_may_not_remove(folder: Path) -> None:
    """As `doit clean` without --stale: whose it is, in one paragraph, and exit code 1."""
    (folder / GONE).chmod(0o555)
    if bound_doit(folder, "clean", "--stale").code == 0:
        pytest.skip("this user can write everywhere, and nothing can be done about that")
    kept = files(folder)
    run = bound_doit(folder, "clean", "--stale")
    told = rf"ERROR: {GONE}/\S+ \(and 8 more\) cannot be removed: {GONE} cannot be changed \(Permission denied\): .*\n"
    assert (run.code, re.fullmatch(told, run.err) is not None) == (1, True), run.err
    (folder / GONE).chmod(0o755)
    (folder / "build/.lock").chmod(0o444)
    run = bound_doit(folder, "clean", "--stale")
    assert (run.code, run.out, files(folder)) == (1, "", kept)
    assert run.err.startswith("ERROR: nothing was removed: build/.lock cannot be written (Permission denied)")
