"""Another repository uses the rules as a dependency: an installed wheel, a dodo.py of one line, models/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chain.conftest import make_workspace, single_target
from tests.chain.dfc_workspaces import make_dfc
from tests.dfc_double.environment import make_environment

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel installed, and our dependencies, but not this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout
    for name in listed.splitlines():
        if name.startswith("build_rules/") or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, source / name)
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv/bin/python"
    site = sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    # What the wheel requires comes from this environment; a .pth line adds the folder, not what its .pth files add.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return python


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), "-m", "doit", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_a_repository_of_one_line_builds(python: Path, tmp_path: Path) -> None:
    make_workspace(tmp_path, ("shapes-det",), images=4)
    single_target(tmp_path, "shapes-det", "calibration_count = 4")
    where = [str(python), "-c", "import build_rules; print(build_rules.__file__)"]
    place = subprocess.run(where, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert not place.startswith(str(REPOSITORY))
    first = run(python, tmp_path)
    assert first.returncode == 0, first.stderr
    hef = "build/shapes-det/hailo8l-fast/model+meta.hef"
    assert (tmp_path / hef).is_file()
    assert "8 up to date" in run(python, tmp_path).stdout
    assert "meta:shapes-det:hailo8l-fast" in run(python, tmp_path, "list", "--all").stdout
    assert "0.1.0-emulated" in run(python, tmp_path, "inspect", hef).stdout
    assert run(python, tmp_path, "report").returncode == 0
    assert "nodes removed" in (tmp_path / "build/report/models/shapes-det.html").read_text()


def test_hailo_s_compiler_is_driven_from_there(python: Path, tmp_path: Path) -> None:
    """By the file that runs where the compiler is, which is in the wheel."""
    folder = make_dfc(tmp_path / "work", make_environment(tmp_path / "dfc"))
    first = run(python, folder)
    assert first.returncode == 0, first.stderr
    shown = run(python, folder, "inspect", "build/shapes-det/hailo8l-fast-dfc/model+meta.hef")
    assert "3.33.0-double-emulated" in shown.stdout
    assert executed(run(python, folder)) == []


def test_a_rule_s_own_code_runs_that_rule(python: Path, tmp_path: Path) -> None:
    make_workspace(tmp_path, ("shapes-det",), images=4)
    single_target(tmp_path, "shapes-det", "calibration_count = 4")
    assert run(python, tmp_path).returncode == 0
    where = [str(python), "-c", "import build_rules; print(build_rules.__file__)"]
    package = Path(subprocess.run(where, cwd=tmp_path, check=True, capture_output=True, text=True).stdout).parent
    with edited(package / "steps/meta.py", "NO_TIME", "NO_TIME"):
        assert executed(run(python, tmp_path)) == ["meta"]
    assert executed(run(python, tmp_path)) == ["meta"]
    with edited(package / "graph/tail/attention.py", "NEVER", "NEVER"):
        assert executed(run(python, tmp_path)) == ["split"], "equal bytes end it"
    with edited(package / "trainer/document.py", "NEVER", "NEVER"):
        assert executed(run(python, tmp_path)) == ["meta", "split"], "meta reads the metadata itself"
    assert executed(run(python, tmp_path)) == ["meta", "split"]
    with edited(package / "compilers/emulator/run_hef.py", "NOTHING", ""):
        assert executed(run(python, tmp_path)) == [], "what runs a network makes none"
    with edited(package / "compilers/emulator/compile.py", "NOTHING", ""):
        assert executed(run(python, tmp_path)) == ["hef"], "each stage has code of its own"
    with edited(package / "compilers/begin_at.py", "NOTHING", ""):
        assert executed(run(python, tmp_path)) == ["hef", "parse"]
    assert executed(run(python, tmp_path)) == ["parse"]
    with edited(package / "compilers/emulator/__init__.py", 'EMULATOR_VERSION = "0.1.0"', 'EMULATOR_VERSION = "0.1.1"'):
        after = executed(run(python, tmp_path))
    assert set(after) == {"parse", "statistics", "alls", "har", "hef", "meta"}, (
        "a compiler's version never concerns split or calibration"
    )


@contextmanager
def edited(file: Path, old: str, new: str) -> Iterator[None]:
    """Change a module of the installed package for a while: a replacement, and a comment at its end."""
    text = file.read_text()
    file.write_text(text.replace(old, new) + "# another line\n")
    try:
        yield
    finally:
        file.write_text(text)


def executed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The kinds of step that ran."""
    assert done.returncode == 0, done.stderr
    return sorted(line[3:].split(":")[0] for line in done.stdout.splitlines() if line.startswith(".  "))


def test_commands_work_where_there_is_no_dodo(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "model.alls"
    script.write_text("normalization1 = normalization([0.0], [255.0])\n")
    shown = run(python, tmp_path, "inspect", "--json", "model.alls")
    assert (shown.returncode, "normalization" in shown.stdout) == (0, True)
