"""Hailo's compiler in a container: which image it is, and how docker or podman run it.

It sees exactly the files that it needs, has no network, and runs as the user. It lives as long as somebody holds its
standard input: killing the command that started it does not end a container, the end of that stream does.

Sources: https://docs.docker.com/reference/cli/docker/container/run/, https://docs.podman.io/en/latest/markdown/podman-run.1.html,
https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from build_rules.compilers.dfc.launch.work import WorkerFailure

__all__ = ["RUN", "container_command", "find_image", "inside", "kill_command", "why_not"]

RUN = "/dfc/run"
INSIDE = "/dfc/in"
PATIENCE = 60.0
"""Seconds in which a daemon answers what it knows by heart."""
SHARED_MEMORY = "8g"
"""The most that processes may share; the 64 MiB of docker are less than one batch of calibration."""
FIND_PYTHON = (
    'for python in "${VIRTUAL_ENV:-/none}/bin/python" /local/workspace/hailo_virtualenv/bin/python; '
    'do if [ -x "$python" ]; then exec "$python" "$@"; fi; done; exec python3 "$@"'
)
"""Hailo's image has the compiler in a virtual environment that a login shell enters."""
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)
_REASONS = (
    ("permission", r"permission denied"),
    ("image", r"no such image|image not known|unable to find image|no such object|manifest unknown|not found locally"),
    ("daemon", r"cannot connect to|daemon running|connection refused|error during connect|dial unix"),
    ("disk", r"no space left on device"),
)


def inside(name: str) -> str:
    """Return where an input called `name` lies in the container."""
    return f"{INSIDE}/{name}"


def find_image(runner: str, image: str, environment: Mapping[str, str]) -> str:
    """Return the digest of an image that is here. Raises `WorkerFailure`: start, daemon, permission, image."""
    command = [runner, "image", "inspect", "--format", "{{.Id}}", image]
    try:
        answer = subprocess.run(
            *(command,),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
        )
    except FileNotFoundError as error:
        raise WorkerFailure("runner", f"{runner} is not installed") from error
    except PermissionError as error:
        raise WorkerFailure("start", f"{runner} is not executable") from error
    except subprocess.TimeoutExpired as error:
        raise WorkerFailure("daemon", f"{runner} does not answer within {PATIENCE:.0f} s") from error
    except OSError as error:
        raise WorkerFailure("start", f"{runner} cannot be started ({error.strerror})") from error
    found = answer.stdout.strip()
    if answer.returncode == 0 and _ID.fullmatch(found):
        return found
    told = " ".join((answer.stderr or answer.stdout).split())[:1000]
    raise WorkerFailure(why_not(told, "image"), f"{runner} image inspect {image}: {told or 'said nothing'}")


def why_not(told: str, otherwise: str) -> str:
    """Return the kind of failure that a runner's words are of."""
    return next((kind for kind, words in _REASONS if re.search(words, told, re.IGNORECASE)), otherwise)


def container_command(
    runner: str, image: str, name: str, gpus: str, run: Path, inputs: Mapping[str, Path], arguments: Sequence[str]
) -> tuple[str, ...]:
    """Return the command that runs the image's interpreter with arguments, on a run's folder and input files.

    Inputs are mounted, read-only, as `inside` says.
    """
    mounts = [_mount(run, RUN, writable=True)]
    mounts += [_mount(path, inside(place), writable=False) for place, path in inputs.items()]
    own = ("--userns", "keep-id", "--security-opt", "label=disable") if runner == "podman" else ("--init",)
    return (
        *(runner, "run", "--rm", "-i", "--pull", "never", "--name", name, "--network", "none"),
        *("--user", f"{os.getuid()}:{os.getgid()}", *own, *_gpu_options(runner, gpus)),
        *("--shm-size", SHARED_MEMORY, "--workdir", f"{RUN}/work"),
        *("--env", f"HOME={RUN}/home", "--env", "USER=build", "--env", "LOGNAME=build"),
        *("--env", f"TMPDIR={RUN}/tmp", "--env", "PYTHONUNBUFFERED=1"),
        *(word for mount in mounts for word in ("--mount", mount)),
        *("--entrypoint", "/bin/sh", image, "-c", FIND_PYTHON, "sh", *arguments),
    )


def kill_command(runner: str, name: str) -> tuple[str, ...]:
    """Return what ends a container by its name."""
    return runner, "kill", name


def _gpu_options(runner: str, gpus: str) -> tuple[str, ...]:
    if not gpus:
        return ()
    if runner == "podman":
        named = gpus.removeprefix("device=").split(",")
        return tuple(word for gpu in named for word in ("--device", f"nvidia.com/gpu={gpu}"))
    # One field of comma-separated values: several devices have to be quoted.
    return "--gpus", f'"{gpus}"' if "," in gpus else gpus


def _mount(source: Path, target: str, *, writable: bool) -> str:
    field = f"source={source}"
    if any(sign in field for sign in ',"\n\r'):
        field = '"' + field.replace('"', '""') + '"'
    return ",".join(("type=bind", field, f"target={target}", *(() if writable else ("readonly",))))
