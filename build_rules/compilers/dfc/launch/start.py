"""Which command starts a worker, what it is given, and what the paths are on its side. Starts nothing itself."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch.image import RUN, container_command, inside, kill_command
from build_rules.compilers.dfc.launch.work import FILE_NAMES, Work

__all__ = ["REQUEST", "WORKER", "Start", "environment_here", "plan_start"]

WORKER, REQUEST = "dfc_worker.py", "request.json"
STARTER = "import sys;n=int(sys.stdin.buffer.readline());exec(compile(sys.stdin.buffer.read(n),'dfc_worker.py','exec'))"
"""Runs a worker whose source comes through standard input, so that nothing has to be installed on the other side."""
SECONDS_TO_START = {"python": 120.0, "image": 600.0, "command": None}
"""Until an interpreter or a container must have greeted; a queue (`srun`) may take as long as it likes."""
DROPPED = ("SSH_ASKPASS", "VIRTUAL_ENV", "CONDA_PREFIX")


@dataclass(frozen=True)
class Start:
    """A command, and what its request says. `kill` ends what outlives the command; `patience` is until it greets.

    `program` is what the user calls what is started.
    """

    place: str
    command: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    gpus: str
    is_streamed: bool = False
    patience: float | None = None
    kill: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = ""


def plan_start(dfc: DfcSettings, work: Work, run: Path, nonce: str, image: str) -> Start:
    """Plan the start of one run, whose folder is `run`; `image` is the digest of the settings' image."""
    visible = dfc.gpus.removeprefix("device=")
    if dfc.image is not None:
        return _in_container(dfc, work, run, nonce, image)
    inputs = {name: str(path.absolute()) for name, path in work.inputs.items()}
    outputs = {name: str(run / "out" / FILE_NAMES[name]) for name in work.outputs}
    words: tuple[str, ...] = ("-u", str(run / WORKER), str(run / REQUEST))
    if dfc.python is not None:
        python = str(Path(dfc.python).expanduser().absolute())
        patience = SECONDS_TO_START["python"]
        return Start("python", (python, *words), inputs, outputs, visible, patience=patience, program=dfc.python)
    is_streamed = not dfc.shared or _lies_here_alone(work)
    if is_streamed:
        inputs = {name: FILE_NAMES[name] for name in work.inputs}
        outputs = {name: f"out/{FILE_NAMES[name]}" for name in work.outputs}
        words = ("-u", "-c", STARTER, nonce)
    command = (*dfc.command, *_quoted(dfc.command, words))
    return Start(
        *("command", command, inputs, outputs, visible, is_streamed),
        environment=_hailo_variables(),
        program=dfc.command[0],
    )


def _lies_here_alone(work: Work) -> bool:
    """Say whether the folder of a run, or a file, lies where no other machine looks, whatever else is shared."""
    own = Path(tempfile.gettempdir()).resolve()
    files = (*work.inputs.values(), *work.outputs.values(), *filter(None, [work.log]))
    return not work.outputs or any(own in path.resolve().parents for path in files)


def _in_container(dfc: DfcSettings, work: Work, run: Path, nonce: str, image: str) -> Start:
    mounted = {FILE_NAMES[name]: path.absolute() for name, path in work.inputs.items()}
    name = f"build-rules-dfc-{nonce[:16]}"
    words = ("-u", f"{RUN}/{WORKER}", f"{RUN}/{REQUEST}")
    return Start(
        "image",
        container_command(dfc.runner, image, name, dfc.gpus, run, mounted, words),
        {name: inside(FILE_NAMES[name]) for name in work.inputs},
        {name: f"{RUN}/out/{FILE_NAMES[name]}" for name in work.outputs},
        "all" if dfc.gpus else "",  # those that were asked for are all that the container has
        patience=SECONDS_TO_START["image"],
        kill=kill_command(dfc.runner, name),
        environment=_hailo_variables(),
        program=dfc.runner,
    )


def _quoted(prefix: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    """Return words as a prefix hands them on: ssh joins them, and a shell on the other side takes them apart."""
    if any(Path(word).name == "ssh" for word in prefix[:-1]):
        return tuple(map(shlex.quote, words))
    return words


def _hailo_variables() -> dict[str, str]:
    """Return what the user has set for the compiler, which no container and no other machine inherits."""
    return {name: value for name, value in os.environ.items() if name.startswith("HAILO_")}


def environment_here() -> dict[str, str]:
    """Return the environment of what is started on this machine: the user's, without what is of our own interpreter.

    A step's process has our folders in PYTHONPATH, where another Python would find our numpy.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name not in DROPPED}
    # Without a terminal ssh would ask by a window, and wait for it.
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "SSH_ASKPASS_REQUIRE": "never",
    }
