"""The worker in a container: exactly what docker and podman are told, and that no container is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import WorkerFailure
from build_rules.compilers.dfc.launch.image import FIND_PYTHON, container_command, find_image, why_not
from tests.compilers.dfc.launch.environments import has_ended, make_client, parse_work, run_apart, run_quietly
from tests.compilers.dfc.launch.hanging import APART, HANG, pids, wait_for
from tests.compilers.dfc.launch.stand_ins import IMAGE, StandIns

Made = Callable[..., StandIns]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: Path) -> Made:
    def make(source: str = "", **plan: Any) -> StandIns:
        python = make_client(tmp_path / "dfc", source)
        return StandIns(tmp_path, monkeypatch, environment=str(python.parent.parent), **plan)

    return make


def docker(**settings: Any) -> DfcSettings:
    return DfcSettings(**{"image": "hailo:2025-10", **settings})


def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / 'a, b: "c"'
    folder.mkdir()
    return folder


def test_docker_is_told_exactly_this(stand_ins: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAILO_SET_MEMORY_GROWTH", "False")
    programs, folder = stand_ins(), odd_folder(tmp_path)
    done = run_quietly(docker(), parse_work(folder))
    inspect, run = programs.calls()
    assert inspect == ["docker", "image", "inspect", "--format", "{{.Id}}", "hailo:2025-10"]
    (mounted, onnx) = programs.told("given")["mounts"].values()
    quoted = str(folder).replace('"', '""')
    assert run == [
        *("docker", "run", "--rm", "-i", "--pull", "never", "--name", run[7], "--network", "none"),
        *("--user", f"{os.getuid()}:{os.getgid()}", "--init", "--shm-size", "8g", "--workdir", "/dfc/run/work"),
        *("--env", "HOME=/dfc/run/home", "--env", "USER=build", "--env", "LOGNAME=build"),
        *("--env", "TMPDIR=/dfc/run/tmp", "--env", "PYTHONUNBUFFERED=1"),
        *("--mount", f'type=bind,"source={quoted}/{Path(mounted).name}",target=/dfc/run'),
        *("--mount", f'type=bind,"source={quoted}/net.onnx",target=/dfc/in/model.onnx,readonly'),
        *("--entrypoint", "/bin/sh", IMAGE, "-c", FIND_PYTHON, "sh"),
        *("-u", "/dfc/run/dfc_worker.py", "/dfc/run/request.json"),
    ]
    assert run[7].startswith("build-rules-dfc-")
    assert Path(mounted).parent == folder
    assert onnx == str(folder / "net.onnx")
    request = programs.told("request")
    assert request["inputs"] == {"onnx": "/dfc/in/model.onnx"}
    assert request["outputs"] == {"har": "/dfc/run/out/model.har"}
    assert request["environment"]["HAILO_SET_MEMORY_GROWTH"] == "False"
    content = json.loads((folder / "parsed.har").read_text())
    assert content["model"] == "an ONNX graph"
    assert content["environment"]["CUDA_VISIBLE_DEVICES"] == "-1"
    assert content["environment"]["HOME"].startswith(str(folder))
    assert done.environment["dfc"] == "3.33.0"


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker on this machine")
def test_the_real_docker_understands_the_words(tmp_path: Path) -> None:
    """It takes them apart before it looks for a daemon, of which there is none."""
    folder = odd_folder(tmp_path)
    inputs = {"model.onnx": folder / "net.onnx"}
    command = container_command("docker", IMAGE, "name", "device=0,1", folder, inputs, ("-u", "worker"))
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none", "DOCKER_CONFIG": str(tmp_path)}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert why_not(done.stderr, "") == "daemon", done.stderr
    with pytest.raises(WorkerFailure) as caught:
        find_image("docker", "hailo:2025-10", environment)
    assert caught.value.kind == "daemon"


def test_podman_keeps_the_user_and_takes_gpus_by_their_names(stand_ins: Made, tmp_path: Path) -> None:
    programs = stand_ins()
    run_quietly(docker(runner="podman", gpus="device=0,1"), parse_work(tmp_path))
    given = programs.told("given")
    assert (given["--userns"], given["--security-opt"]) == ("keep-id", "label=disable")
    assert given["--user"] == f"{os.getuid()}:{os.getgid()}"
    assert given["--device"] == ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
    assert "--init" not in given, "it needs a program that podman does not bring"


@pytest.mark.parametrize(("gpus", "told"), [("all", "all"), ("device=0", "device=0"), ("device=0,1", '"device=0,1"')])
def test_docker_takes_gpus_when_asked(stand_ins: Made, tmp_path: Path, gpus: str, told: str) -> None:
    programs = stand_ins()
    run_quietly(docker(gpus=gpus), parse_work(tmp_path))
    assert programs.told("given")["--gpus"] == told
    assert programs.told("request")["gpus"] == "all", "the container has no others"


def test_the_digest_is_that_of_the_image_too(stand_ins: Made, tmp_path: Path) -> None:
    programs = stand_ins()
    digests = []
    for number in ("ab", "ab", "cd"):
        programs.plan(id="sha256:" + number * 32, environment=str(tmp_path / "dfc"))
        digests.append(run_quietly(docker(), parse_work(tmp_path)).environment["digest"])
    assert digests[0] == digests[1] != digests[2]
    local = run_quietly(DfcSettings(python=str(tmp_path / "dfc/bin/python")), parse_work(tmp_path))
    assert local.environment["digest"] not in digests


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ({"image": "other"}, "image"),
        ({"error": "Error: hailo:2025-10: image not known"}, "image"),
        ({"error": "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?"}, "daemon"),
        (
            {"error": "permission denied while trying to connect to the Docker daemon socket"},
            "permission",
        ),
        ({"id": "rubbish"}, "image"),
        ({"run_error": 'docker: Error response from daemon: could not select device driver "" with [[gpu]].'}, "start"),
        ({"run_error": "docker: Cannot connect to the Docker daemon"}, "daemon"),
        ({"run_error": "write /var/lib/docker: no space left on device"}, "disk"),
    ],
)
def test_what_docker_has_against_it(stand_ins: Made, tmp_path: Path, plan: dict[str, str], kind: str) -> None:
    stand_ins(**plan)
    with pytest.raises(WorkerFailure) as caught:
        run_quietly(docker(), parse_work(tmp_path))
    assert caught.value.kind == kind
    assert [words for words in plan.values() if words.split(":")[-1].strip() in caught.value.message] or kind == "image"


def test_docker_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorkerFailure, match="docker is not installed") as caught:
        run_quietly(docker(), parse_work(tmp_path))
    assert caught.value.kind == "runner"


def test_an_image_without_the_compiler(stand_ins: Made, tmp_path: Path) -> None:
    stand_ins("raise ImportError('libcuda')")
    with pytest.raises(WorkerFailure, match="libcuda") as caught:
        run_quietly(docker(), parse_work(tmp_path))
    assert caught.value.kind == "environment"


def test_a_limit_kills_the_container_by_its_name(stand_ins: Made, tmp_path: Path, hanging: Path) -> None:
    programs = stand_ins(HANG)
    with pytest.raises(WorkerFailure) as caught:
        run_quietly(docker(), parse_work(tmp_path, 1.5))
    assert caught.value.kind == "timeout"
    *_, run, kill = programs.calls()
    assert kill == ["docker", "kill", run[7]]
    assert has_ended(pids(hanging))


def test_a_container_whose_client_has_died_is_killed_too(stand_ins: Made, tmp_path: Path, hanging: Path) -> None:
    """The daemon keeps it, and its input stays open as long as we hold that."""
    programs = stand_ins(HANG)

    def kill_client() -> None:
        _, supervisor, _ = wait_for(hanging)
        client = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(client, signal.SIGKILL)

    killing = threading.Thread(target=kill_client)
    killing.start()
    with pytest.raises(WorkerFailure) as caught:
        run_quietly(docker(), parse_work(tmp_path))
    killing.join()
    assert caught.value.kind == "died"
    *_, run, kill = programs.calls()
    assert kill == ["docker", "kill", run[7]]
    worker, supervisor, _ = pids(hanging)  # the stand-in does not end all of a container, as docker does
    assert has_ended([worker, supervisor])


def test_no_container_outlives_a_step_that_was_killed_with_its_group(
    stand_ins: Made, tmp_path: Path, hanging: Path
) -> None:
    stand_ins(HANG)
    waiting = run_apart(APART, {"image": "hailo:2025-10"}, tmp_path)
    started = wait_for(hanging)
    os.killpg(waiting.pid, signal.SIGKILL)
    waiting.communicate(timeout=30)
    assert has_ended(started)
