"""An environment of its own for the DFC, from the wheel that the user downloaded: its Python, its pins, nothing else.

It is made in its place, since an environment cannot be moved; until it is whole it holds a mark, which the process
that makes it has locked. Whatever ends that process, what it left is known by the mark: it is removed at once, or, when
the process was killed, by the next installation.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from build_rules.compilers.dfc.pairing import NEWEST, Version, parse_version, text_of
from build_rules.compilers.dfc.wheel import Wheel, read_wheel, wanted_pythons
from build_rules.errors import InputError

__all__ = ["DEFAULT_FOLDER", "choose_python", "install", "lines_to_write"]

DEFAULT_FOLDER = Path("../dfc")
MARK = ".being-made-by-doit-doctor"
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV")
"""What would make pip write somewhere else, or the new interpreter read what is not its own."""
ANSWER_SECONDS = 30
TOLD = ("Collecting ", "Downloading ", "Building ", "Installing ", "Successfully ")
LAST_LINES = 12

Tell = Callable[[str], None]


def install(path: Path, into: Path, python: str | None, tell: Tell) -> Path:
    """Install a wheel into a new environment `into`, and return its interpreter.

    `python` names the interpreter to make it with; None looks for one on PATH. Raises `InputError` for a file that is
    not the DFC's wheel, a machine or a Python that it does not run on, a folder that is there already, and when pip
    fails; then nothing is left behind.
    """
    wheel = read_wheel(path)
    _check_wheel(wheel)
    interpreter = choose_python(wheel, python)
    with _new_folder(into):
        tell(f"{into}: an environment of {interpreter}; pip downloads what {wheel.path.name} pins, some GB.")
        _run([interpreter, "-I", "-m", "venv", str(into)], _no_venv(interpreter), tell)
        new = into / "bin" / "python"
        quiet = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off")
        _run([str(new), "-I", "-m", "pip", "install", *quiet, str(wheel.path.resolve())], _no_packages(wheel), tell)
    return new


def lines_to_write(python: Path) -> str:
    """Return what makes a repository use an environment, for its `pyproject.toml`."""
    place = os.path.relpath(python) if not python.is_absolute() else str(python)
    return f'[tool.build_rules]\ncompiler = "dfc"\n[tool.build_rules.dfc]\npython = "{place}"\n'


def _check_wheel(wheel: Wheel) -> None:
    version = parse_version(wheel.version)
    if version is not None and version[0] > NEWEST[0]:
        raise InputError(
            f"{wheel.path}: compiles for Hailo-10 and Hailo-15. Hailo-8, 8L and 8R want 3.x; {text_of(NEWEST)} is the "
            "newest known here."
        )
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or not wheel.platform.endswith(("any", machine)):
        raise InputError(
            f"{wheel.path}: is for {wheel.platform}, and this is {system} on {machine}. The DFC runs on Linux x86-64 "
            'alone; install it there, and let it be reached: command = ["ssh", ...] (docs/dfc.md).'
        )


def choose_python(wheel: Wheel, named: str | None) -> str:
    """Return the interpreter to make the environment with. Raises `InputError` when there is none that the wheel takes.

    What is called `pythonX.Y` on PATH may be a stand-in that starts nothing, so each is asked.
    """
    wanted = wanted_pythons(wheel)
    names = " or ".join(map(text_of, wanted)) or wheel.requires
    if named is not None:
        version = _ask(named)
        if version is None:
            raise InputError(f"--python {named}: is not there, or is no Python.")
        if version not in wanted:
            raise InputError(f"--python {named}: is Python {text_of(version)}, and {wheel.path.name} wants {names}.")
        return named
    for version in wanted:
        candidates = [f"python{text_of(version)}"]
        if sys.version_info[:2] == version:
            candidates.append(sys.executable)
        for candidate in candidates:
            if _ask(candidate) == version:
                return candidate
    first = text_of(wanted[0]) if wanted else "3.10"
    raise InputError(
        f"{wheel.path.name} wants Python {names}, and none of these is on PATH. Install one (`sudo apt install "
        f"python{first} python{first}-venv`, or `uv python install {first}`), or name one: --python PATH."
    )


def _ask(interpreter: str) -> Version | None:
    """Return which Python an interpreter is, None when it is none or does not answer."""
    command = [interpreter, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError, ValueError):
        return None
    return parse_version(done.stdout.strip()) if done.returncode == 0 else None


def _no_venv(interpreter: str) -> str:
    name = Path(interpreter).name
    return f"{interpreter} could not make a virtual environment; on Debian and Ubuntu: sudo apt install {name}-venv."


def _no_packages(wheel: Wheel) -> str:
    return (
        f"pip could not install {wheel.path.name} with what it pins. Where it says graphviz.h or Python.h: sudo apt "
        "install graphviz libgraphviz-dev python3-dev build-essential, for the Python in question. It needs the "
        "network, or PIP_INDEX_URL."
    )


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make a folder that did not exist, and remove it again with all that is in it when the block does not succeed."""
    if not folder.parent.is_dir():
        raise InputError(f"--into {folder}: there is no folder {folder.parent}; make it, or name another place.")
    _remove_abandoned(folder)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise InputError(
            f"{folder}: is there already, and nothing is written over; remove it, or name another place with --into."
        ) from error
    except OSError as error:
        raise InputError(f"--into {folder}: cannot be made ({error.strerror}); name another place.") from error
    mark = folder / MARK
    try:
        with mark.open("xb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
            mark.unlink()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_abandoned(folder: Path) -> None:
    """Remove what an installation has left that was killed: its mark is there, and nobody holds it."""
    with suppress(FileNotFoundError, NotADirectoryError), (folder / MARK).open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{folder}: another doit doctor is making it at this moment; wait for it.") from error
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], failed: str, tell: Tell) -> None:
    """Run a program to its end, telling some of what it prints. Raises `InputError` with the last of that."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip()[:500])
                if line.startswith(TOLD):
                    tell(f"   {last[-1]}")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise InputError(failed, "\n".join(last))
