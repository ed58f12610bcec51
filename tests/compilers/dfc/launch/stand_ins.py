"""Programs that stand in for docker, podman, ssh and srun: they check every argument, and then really run the worker.

A container lives in a session of its own, as it does under a daemon: killing the command does not end it, the end of
its standard input reaches it, `kill NAME` ends it. Its paths are not those here, so what is mounted is put into the
request in place of them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

__all__ = ["IMAGE", "StandIns"]

IMAGE = "sha256:" + "ab" * 32

COMMON = (
    f"#!{sys.executable} -I\n"
    + r"""
import csv, json, os, re, shlex, signal, subprocess, sys
from pathlib import Path

PLACE = Path(__file__).resolve().parent
PLAN = json.loads((PLACE / "plan.json").read_text())
NAME = Path(__file__).name
words = sys.argv[1:]
with (PLACE / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([NAME, *words]) + "\n")

def fail(text, code=125):
    sys.stderr.write(text + "\n")
    sys.exit(code)
"""
)

RUNNER = (
    COMMON
    + r"""
if "error" in PLAN:
    fail(PLAN["error"], 1)
if words[:2] == ["image", "inspect"]:
    if words[2:4] != ["--format", "{{.Id}}"] or len(words) != 5:
        fail("unknown arguments " + repr(words))
    if words[4] != PLAN["image"]:
        fail("Error response from daemon: No such image: " + words[4], 1)
    print(PLAN["id"])
    sys.exit(0)
if words[0] == "kill":
    os.killpg(int((PLACE / words[1]).read_text()), signal.SIGKILL)
    sys.exit(0)
if words[0] != "run":
    fail("unknown command")
if "run_error" in PLAN:
    fail(PLAN["run_error"])
given = {"--mount": [], "--env": [], "--device": []}
words = words[1:]
while words and words[0].startswith("-"):
    option = words.pop(0)
    if option in ("--rm", "-i", "--init"):
        given[option] = True
    elif option in given:
        given[option].append(words.pop(0))
    elif option in ("--pull", "--name", "--network", "--user", "--userns", "--security-opt", "--gpus", "--shm-size",
                    "--workdir", "--entrypoint"):
        given[option] = words.pop(0)
    else:
        fail("unknown flag: " + option)
image, words = words[0], words[1:]
if image != PLAN["id"]:
    fail("No such image: " + image)
mounts = {}
for text in given["--mount"]:
    (fields,) = csv.reader([text])
    field = dict(part.partition("=")[::2] for part in fields)
    if field.pop("type") != "bind" or not os.path.lexists(field["source"]):
        fail("invalid mount config: bind source path does not exist: " + field["source"])
    mounts[field.pop("target")] = field.pop("source")
    if set(field) - {"readonly"}:
        fail("unknown mount option")
(PLACE / "given.json").write_text(json.dumps({**given, "mounts": mounts}))

def outside(path):
    target = max((t for t in mounts if path == t or path.startswith(t + "/")), key=len)
    return mounts[target] + path[len(target):]

run = Path(outside("/dfc/run"))
request = json.loads((run / "request.json").read_text())
(PLACE / "request.json").write_text(json.dumps(request))
for names in (request["inputs"], request["outputs"]):
    names.update({name: outside(path) for name, path in names.items()})
(run / "request.json").write_text(json.dumps(request))
environment = dict(text.partition("=")[::2] for text in given["--env"])
if given["--entrypoint"] != "/bin/sh" or words[0] != "-c":
    fail("no shell")
command = ["/bin/sh", *[outside(word) if word.startswith("/dfc/") else word for word in words]]
environment = {name: outside(value) if value.startswith("/dfc/") else value for name, value in environment.items()}
environment.update(PATH="/usr/bin:/bin", VIRTUAL_ENV=PLAN["environment"], PIDS=os.environ.get("PIDS", ""))
container = subprocess.Popen(
    command, cwd=outside(given["--workdir"]), start_new_session=True, stdin=subprocess.PIPE, env=environment
)
(PLACE / given["--name"]).write_text(str(container.pid))
if os.fork() == 0:  # the daemon: it holds the container's input as long as the command is there
    os.setsid()
    try:
        while piece := os.read(0, 4096):
            container.stdin.write(piece)
            container.stdin.flush()
    except OSError:
        pass
    os._exit(0)
container.stdin.close()
sys.exit(container.wait() % 256)
"""
)

SSH = (
    COMMON
    + r"""
while words and words[0] == "-o":
    words = words[2:]
host, words = words[0], words[1:]
if host != "gpu1":
    fail("ssh: Could not resolve hostname " + host, 255)
if PLAN.get("ssh") == "refused":
    fail("user@gpu1: Permission denied (publickey,password).", 255)
if PLAN.get("ssh") == "asks":
    sys.stderr.write("user@gpu1's password: ")
    sys.stderr.flush()
    os.read(0, 1)
    os.read(0, 1)
if os.path.exists("/dev/tty"):
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        fail("there is a terminal to ask at", 1)
    except OSError:
        pass
sys.stdout.write("Welcome to gpu1\n\x1edfc-worker 00\nno end of line")
sys.stdout.flush()
os.chdir("/")
if "evil" in PLAN:
    nonce = words[-1]
    sys.stderr.write("\x1edfc-worker " + nonce + "\n")
    sys.stderr.flush()
    sys.stdout.buffer.write(b"\n\x1edfc-worker " + nonce.encode() + b"\n" + Path(PLAN["evil"]).read_bytes())
    sys.exit(0)
remote = {"PATH": "/usr/bin:/bin", "PIDS": os.environ.get("PIDS", ""), "TMPDIR": PLAN.get("far", "/tmp")}
# The other side lives on when this program is killed; it sees the end of its input.
far = subprocess.Popen(["/bin/sh", "-c", " ".join(words)], start_new_session=True, env=remote)
sys.exit(far.wait() % 256)
"""
)

SRUN = (
    COMMON
    + r"""
while words and words[0].startswith("-"):
    words = words[1:]
os.execvp(words[0], words)
"""
)


class StandIns:
    """A folder of them, first in PATH. `plan` says what they do."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        for name, text in {"docker": RUNNER, "podman": RUNNER, "ssh": SSH, "srun": SRUN}.items():
            (self.folder / name).write_text(text, encoding="utf-8")
            (self.folder / name).chmod(0o755)
        self.plan(**plan)
        monkeypatch.setenv("PATH", str(self.folder), prepend=os.pathsep)

    def plan(self, **plan: Any) -> None:
        """Say what they do."""
        (self.folder / "plan.json").write_text(json.dumps({"image": "hailo:2025-10", "id": IMAGE, **plan}))

    def calls(self) -> list[list[str]]:
        """Return every call so far, with the name of the program."""
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]

    def told(self, name: str) -> dict[str, Any]:
        """Return what the last container was given (`given`), or asked (`request`)."""
        content: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return content
