"""`doit doctor`: what is said of a repository, its exit code, and that what it prints can be sent to others."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from build_rules.commands.repository_facts import Repository, read_repository
from build_rules.compilers.dfc.diagnosis import CHECKLIST
from build_rules.compilers.protocol import Diagnosis
from build_rules.exit_codes import DONE, WRONG_INPUT
from tests.compilers.dfc.wheels import make_wheel
from tests.dfc_double.environment import make_environment, set_behaviour
from tests.doit_runs import Run, doit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one model with two images; nothing in it is ever opened by doctor."""
    place = tmp_path / "w"
    pool = place / "models/parking/calibration"
    pool.mkdir(parents=True)
    (place / "models/parking/parking.onnx").write_bytes(b"")
    for name in ("a.jpg", "b.jpg"):
        (pool / name).write_bytes(b"")
    monkeypatch.chdir(place)
    return place


def settings(folder: Path, *lines: str) -> None:
    (folder / "pyproject.toml").write_text("\n".join(["[tool.build_rules]", *lines, ""]))


def found(subject: str, repository: Repository | None = None) -> Diagnosis:
    return next(one for one in (repository or read_repository()).found if one.subject == subject)


def line_of(run: Run, subject: str) -> str:
    return next(line for line in run.out.splitlines() if line.startswith("  ") and line.split()[1] == subject)


def test_a_repository_that_only_emulates_is_told_how_to_get_a_device_file(folder: Path) -> None:
    run = doit(folder, "doctor")
    assert (run.code, run.err) == (DONE, "")
    assert "what it makes runs on no device" in line_of(run, "emulator")
    assert "doit doctor --install-dfc WHEEL" in run.out
    assert "nothing is wrong" in run.out
    assert "[ ]" not in run.out  # there is nothing that this machine could not show


def test_no_file_of_the_build_is_made(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert doit(folder, "doctor").code == DONE
    assert sorted(folder.rglob("*")) == before


def test_what_targets_ask_of_their_compiler(folder: Path) -> None:
    (folder / "models/parking/model.toml").write_text(
        'calibration_count = 1\n[[target]]\npreset = "accurate"\n[[target]]\nhw_arch = "hailo8"\n'
    )
    (asked,) = read_repository().asked
    accurate, fast = sorted(asked.requests, key=lambda one: -one.level)
    assert (accurate.name, accurate.hw_arch, accurate.level, accurate.images, accurate.finetune) == (
        *("parking:hailo8l-accurate", "hailo8l", 2),
        *(1, 1),
    )
    assert (fast.name, fast.hw_arch, fast.level, fast.images, fast.finetune) == (
        "parking:hailo8-fast",
        "hailo8",
        1,
        1,
        0,
    )


def test_images_of_a_snapshot_of_a_list_and_of_nothing(folder: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    model = folder / "models/parking"

    def images() -> int | None:
        return read_repository().asked[0].requests[0].images

    assert images() == 2
    (model / "photos.txt").write_text("calibration/a.jpg\n")
    (model / "model.toml").write_text('calibration = "photos.txt"\n')
    assert images() == 1
    safetensors.save_file({"images": np.zeros((7, 3, 4, 4), np.uint8)}, model / "c.safetensors")
    (model / "model.toml").write_text('calibration = "c.safetensors"\n')
    assert images() == 7
    (model / "c.safetensors").write_bytes(b"no snapshot")
    assert images() is None
    (model / "model.toml").write_text('calibration = "gone"\n')
    assert images() is None
    assert "parking" in found("declarations").text


def test_models_of_several_compilers_are_judged_each_by_its_own(folder: Path) -> None:
    settings(folder, 'compiler = "emulator"')
    other = folder / "models/other"
    other.mkdir()
    (other / "other.onnx").write_bytes(b"")
    (other / "model.toml").write_text('compiler = "dfc"\n[dfc]\npython = "../nowhere/bin/python"\n')
    names = {asked.compiler.name: [one.name for one in asked.requests] for asked in read_repository().asked}
    assert names == {"emulator": ["parking:hailo8l-fast"], "dfc": ["other:hailo8l-fast"]}
    assert "one step at a time" in found("dfc").text
    (folder / "pyproject.toml").write_text("[tool.build_rules.resources]\ndfc = 2\n")
    assert "2 steps at a time" in found("dfc").text


def test_models_that_were_compiled_elsewhere_ask_nobody(folder: Path) -> None:
    (folder / "models/parking/parking.hef").write_bytes(b"")
    (folder / "models/parking/model.toml").write_text('compiler = "prebuilt"\nhef = "parking.hef"\n')
    assert read_repository().asked == ()
    assert "of 1 the HEFs were compiled elsewhere" in found("models").text
    assert doit(folder, "doctor").code == DONE


def test_settings_that_cannot_be_read(folder: Path) -> None:
    settings(folder, 'compil = "emulator"')
    run = doit(folder, "doctor")
    assert run.code == WRONG_INPUT
    assert 'did you mean "compiler"?' in line_of(run, "settings")


def test_outside_of_a_repository(tmp_path: Path) -> None:
    run = doit(tmp_path, "doctor")
    assert run.code == DONE
    assert "there is no folder models/ here" in line_of(run, "models")
    assert "1 warning" in run.out
    settings(tmp_path, 'compiler = "prebuilt"')
    assert doit(tmp_path, "doctor").code == DONE


def test_a_cache_that_answers_and_one_that_does_not(folder: Path) -> None:
    settings(folder, 'cache = "shared"')
    assert (found("cache").state, "answers (read-write)" in found("cache").text) == ("ok", True)
    assert not (folder / "shared").exists()
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings(folder, f'cache = "http://me:hidden@127.0.0.1:{port}"')
        assert found("cache").state == "warning"
        assert found("cache").advice
        run = doit(folder, "doctor")
        assert run.code == DONE
        assert "hidden" not in run.out
    (folder / "file").write_text("")
    settings(folder, 'cache = "file"')
    assert (found("cache").state, "this is a file" in found("cache").text) == ("error", True)


@pytest.fixture
def double(folder: Path) -> Path:
    """The same repository, compiled by the double of the DFC beside it."""
    settings(folder, 'compiler = "dfc"', "[tool.build_rules.dfc]", 'python = "../dfc/bin/python"')
    return make_environment(folder.parent / "dfc", gpus=1)


def test_a_compiler_that_works(folder: Path, double: Path) -> None:
    run = doit(folder, "doctor")
    assert (run.code, run.err) == (DONE, "")
    assert "3.33.0, in ../dfc/bin/python." in line_of(run, "DFC")
    assert "HailoRT 4.23 and later 4.x" in line_of(run, "version")
    assert "it can be set to work for hailo8l" in line_of(run, "licence")
    assert "`gpus` is not set, so none is visible" in line_of(run, "GPU")
    assert "is calibrated on 2 images" in line_of(run, "parking:hailo8l-fast")
    assert run.out.count("  [ ] ") == len(CHECKLIST)
    assert str(folder.parent) not in run.out
    assert not (folder / "build").exists()


def test_a_compiler_without_a_licence(folder: Path, double: Path) -> None:
    set_behaviour(double, licence=["hailo8"])
    run = doit(folder, "doctor")
    assert run.code == WRONG_INPUT
    assert "it is refused for hailo8l" in line_of(run, "licence")
    assert "[ ]" not in run.out  # first things first


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ('python = "../gone/bin/python"', "../gone/bin/python is not there"),
        ('python = "models"', "cannot be started"),
        (f'python = "{sys.executable}"', "there is no Dataflow Compiler in the environment"),
        ('command = ["no-such-program-here", "python"]', "no-such-program-here"),
        ("", 'python = "../dfc/bin/python"'),
    ],
)
def test_a_compiler_that_cannot_be_reached(folder: Path, place: str, told: str) -> None:
    settings(folder, 'compiler = "dfc"', "[tool.build_rules.dfc]", place)
    run = doit(folder, "doctor")
    assert run.code == WRONG_INPUT
    assert told in line_of(run, "DFC")
    assert "looks at it" not in run.out  # nobody who runs doctor is sent to doctor
    assert "are below" not in run.out
    assert "1 error" in run.out


@pytest.mark.parametrize(
    ("program", "says", "place", "told"),
    [
        ("docker", "Error: No such image: gone:1", 'image = "gone:1"', "docker load -i"),
        ("docker", "permission denied while trying to connect", 'image = "gone:1"', "usermod -aG docker"),
        ("docker", "Cannot connect to the Docker daemon", 'image = "gone:1"', "systemctl start docker"),
        (
            "ssh",
            "me@gpu1: Permission denied (publickey,password).",
            'command = ["ssh", "gpu1", "python"]',
            "ssh-copy-id",
        ),
    ],
)
def test_what_to_type_when_docker_or_another_machine_refuses(
    folder: Path, tmp_path: Path, program: str, says: str, place: str, told: str
) -> None:
    settings(folder, 'compiler = "dfc"', "[tool.build_rules.dfc]", place)
    stand_in = tmp_path / "bin" / program
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {255 if program == 'ssh' else 1}\n")
    stand_in.chmod(0o755)
    run = doit(folder, "doctor", PATH=f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    assert run.code == WRONG_INPUT
    assert told in line_of(run, "DFC")
    assert "me@" not in run.out


def test_the_report_is_what_is_printed(folder: Path, tmp_path: Path) -> None:
    run = doit(folder, "doctor", "--report", str(tmp_path / "report.txt"))
    assert run.code == DONE
    assert (tmp_path / "report.txt").read_text() == run.out
    assert doit(folder, "doctor", "--report", str(tmp_path)).code == WRONG_INPUT
    assert "is no place for a file" in doit(folder, "doctor", "--report", "gone/report.txt").err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("file",), "takes no file"),
        (("--into", "x"), "belong to --install-dfc"),
        (("--python", "python3"), "belong to --install-dfc"),
        (("--install-dfc", "x.whl", "--report", "r"), "--report is not for --install-dfc"),
        (("--install-dfc", "x.whl"), "is not named like Hailo's wheel"),
        (("--install-dfc",), "needs a value"),
    ],
)
def test_wrong_calls(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    run = doit(folder, "doctor", *arguments)
    assert run.code == WRONG_INPUT
    assert told in run.err
    assert run.err.count("\n") == 1


def test_an_environment_is_made_from_a_wheel_and_the_lines_are_printed(folder: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, platform="any")
    run = doit(folder, "doctor", "--install-dfc", str(wheel), "--python", sys.executable, PIP_NO_INDEX="1")
    assert (run.code, run.err) == (DONE, "")
    assert (tmp_path / "dfc/bin/python").exists()  # ../dfc, beside the repository
    assert '[tool.build_rules.dfc]\npython = "../dfc/bin/python"\n' in run.out
    assert not (folder / "pyproject.toml").exists()  # that is the user's own
    again = doit(folder, "doctor", "--install-dfc", str(wheel), "--python", sys.executable, PIP_NO_INDEX="1")
    assert again.code == WRONG_INPUT
    assert "../dfc: is there already" in again.err
    failed = make_wheel(tmp_path, platform="any", wants=("tensorflow==2.18.0",))
    last = doit(
        folder, *("doctor", "--install-dfc", str(failed), "--python", sys.executable, "--into", "new"), PIP_NO_INDEX="1"
    )
    assert last.code == WRONG_INPUT
    assert "tensorflow==2.18.0" in last.err  # what pip said stands below the paragraph
    assert not (folder / "new").exists()
