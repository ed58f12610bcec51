"""`doit doctor --install-dfc`: the environment from the user's wheel, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build_rules.compilers.dfc import install as installing
from build_rules.compilers.dfc.install import MARK, choose_python, install, lines_to_write
from build_rules.compilers.dfc.wheel import Wheel, read_wheel
from build_rules.errors import InputError
from tests.compilers.dfc.wheels import make_wheel

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def quiet(line: str) -> None:
    """Tell nobody."""


def fake(folder: Path, name: str, says: str, code: int = 0) -> Path:
    """Put a program into a folder that answers whatever it is asked."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {says}\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_an_environment_that_has_the_wheel_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    told: list[str] = []
    python = install(make_wheel(tmp_path), tmp_path / "dfc", sys.executable, told.append)
    assert python == tmp_path / "dfc/bin/python"
    ask = "import hailo_sdk_client, importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    names = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert set(names) <= {"hailo-dataflow-compiler", "pip", "setuptools"}
    assert not (tmp_path / "dfc" / MARK).exists()
    assert not (tmp_path / "elsewhere").exists()
    assert any("Successfully installed hailo-dataflow-compiler-3.33.0" in line for line in told)


def test_a_failed_installation_leaves_nothing_behind(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, wants=("tensorflow==2.18.0",))
    with pytest.raises(InputError, match="could not install hailo_dataflow_compiler-3") as caught:
        install(wheel, tmp_path / "dfc", sys.executable, quiet)
    assert "tensorflow==2.18.0" in caught.value.paste
    assert not (tmp_path / "dfc").exists()


def test_an_interrupted_installation_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(make_wheel(tmp_path), tmp_path / "dfc", sys.executable, interrupt)
    assert not (tmp_path / "dfc").exists()


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "dfc").mkdir()
    (tmp_path / "dfc/mine").write_text("")
    with pytest.raises(InputError, match="is there already"):
        install(make_wheel(tmp_path), tmp_path / "dfc", sys.executable, quiet)
    assert (tmp_path / "dfc/mine").exists()
    with pytest.raises(InputError, match="there is no folder"):
        install(make_wheel(tmp_path), tmp_path / "a/dfc", sys.executable, quiet)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is there already"):
        install(make_wheel(tmp_path), tmp_path / "link", sys.executable, quiet)


def test_what_a_killed_installation_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, folder = make_wheel(tmp_path), tmp_path / "dfc"
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *venv*) sleep 60;; *) exec {sys.executable} "$@";; esac\n')
    slow.chmod(0o755)
    code = (
        "import platform; platform.machine = lambda: 'x86_64'\n"
        "from pathlib import Path\nfrom build_rules.compilers.dfc.install import install\n"
        f"install(Path({str(wheel)!r}), Path({str(folder)!r}), {str(slow)!r}, print)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
    try:
        while not (folder / MARK).exists():
            assert process.poll() is None
            time.sleep(0.02)
        with pytest.raises(InputError, match="another doit doctor is making it"):
            install(wheel, folder, sys.executable, quiet)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (folder / "half").write_text("")
    monkeypatch.setattr(installing, "_run", lambda command, failed, tell: None)
    install(wheel, folder, sys.executable, quiet)
    assert sorted(path.name for path in folder.iterdir()) == []


def test_the_mark_of_another_that_is_at_work_is_respected(tmp_path: Path) -> None:
    (tmp_path / "dfc").mkdir()
    with (tmp_path / "dfc" / MARK).open("xb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="wait for it"):
            install(make_wheel(tmp_path), tmp_path / "dfc", sys.executable, quiet)
    assert (tmp_path / "dfc" / MARK).exists()


def read(tmp_path: Path, version: str) -> Wheel:
    return read_wheel(make_wheel(tmp_path, version=version))


def test_the_interpreter_that_the_wheel_wants_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    fake(programs, "python3.10", "pyenv: command not found", 127)  # a stand-in that starts nothing
    fake(programs, "python3.9", "3.9")
    fake(programs, "python3.8", "3.8")
    monkeypatch.setenv("PATH", str(programs))
    assert choose_python(read(tmp_path, "3.30.0"), None) == "python3.9"


def test_no_interpreter_that_the_wheel_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.version_info", (3, 13, 0))
    with pytest.raises(InputError, match=r"wants Python 3.10 or 3.9 or 3.8, .*sudo apt install python3.10"):
        choose_python(read(tmp_path, "3.30.0"), None)


def test_an_interpreter_that_is_named(tmp_path: Path) -> None:
    right, wrong = fake(tmp_path / "bin", "right", "3.10"), fake(tmp_path / "bin", "wrong", "3.7")
    broken = fake(tmp_path / "bin", "broken", "what", 0)
    wheel = read(tmp_path, "3.33.0")
    assert choose_python(wheel, str(right)) == str(right)
    with pytest.raises(InputError, match=r"is Python 3\.7, and .* wants 3\.10 or 3\.11 or 3\.12"):
        choose_python(wheel, str(wrong))
    for name in (str(broken), str(tmp_path / "gone"), str(tmp_path), "a\0b"):
        with pytest.raises(InputError, match="is not there, or is no Python"):
            choose_python(wheel, name)


def test_wheels_of_other_machines_and_other_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="compiles for Hailo-10 and Hailo-15"):
        install(make_wheel(tmp_path, version="5.2.0"), tmp_path / "dfc", None, quiet)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(InputError, match="is for linux_x86_64, and this is Linux on aarch64"):
        install(make_wheel(tmp_path), tmp_path / "dfc", None, quiet)
    assert not (tmp_path / "dfc").exists()


def test_the_lines_that_use_it() -> None:
    assert lines_to_write(Path("../dfc/bin/python")) == (
        '[tool.build_rules]\ncompiler = "dfc"\n[tool.build_rules.dfc]\npython = "../dfc/bin/python"\n'
    )
