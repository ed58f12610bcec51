"""What may be wrong with Hailo's compiler, or where it runs: told in one paragraph, and nothing half-written."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chain.conftest import single_target
from tests.chain.dfc_workspaces import MODEL, choose_dfc, make_dfc
from tests.dfc_double.environment import make_environment
from tests.doit_runs import Run, doit

PLACE = f"build/{MODEL}/hailo8l-fast-dfc"
PARSE, HAR, HEF = (
    f"{step}:{MODEL}:{name}"
    for step, name in zip(("parse", "har", "hef"), ("hailo8l-dfc", "hailo8l-fast-dfc", "hailo8l-fast-dfc"), strict=True)
)
DOCKER = """#!/bin/sh
echo "$@" >> {log}
echo "{words}" >&2
exit {code}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By step: a workspace in which all is done that comes before it, by a compiler that is sound."""
    place = tmp_path_factory.mktemp("bad")
    folder = make_dfc(place / "work", make_environment(place / "dfc"))
    kept = {}
    for step, *earlier in ((PARSE, "split:*", "calibration:*"), (HAR, "alls:*"), (HEF, "har:*")):
        run = doit(folder, *earlier)
        assert run.code == 0, run.err
        kept[step] = place / step.partition(":")[0]
        shutil.copytree(folder, kept[step])
    return kept


@pytest.fixture
def folder(kept: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the workspace before the step that a test is about, which is `parse` where it says none."""
    shutil.copytree(kept[getattr(request, "param", PARSE)], tmp_path / "work")
    return tmp_path / "work"


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def settings(folder: Path, *lines: str) -> None:
    text = ['[tool.build_rules]\ncompiler = "dfc"', "[tool.build_rules.dfc]", *lines]
    (folder / "pyproject.toml").write_text("\n".join(text) + "\n")


def refused(folder: Path, step: str, *told: str, **environment: str) -> Run:
    """Run doit: it ends in one paragraph of that step with all of `told`, with exit code 3, and has made nothing."""
    run = doit(folder, **environment)
    assert run.code == 3, (run.out, run.err)
    first, *further = run.err.splitlines()
    assert first.startswith(f"ERROR in {step}: ")
    assert "Traceback" not in run.err
    assert "unexpected" not in first
    assert not any(line.startswith("ERROR") for line in further)
    for text in told:
        assert text in run.err, run.err
    assert not list(folder.rglob("*.partial"))
    assert not list((folder / "build" / MODEL).rglob(".dfc-*"))
    made = {path.name for path in (folder / "build" / MODEL).rglob("*") if path.suffix in (".har", ".hef")}
    whole = {PARSE: set(), HAR: {"parsed.har"}, HEF: {"parsed.har", "model.har"}}[step]
    assert made == whole
    return run


def test_no_place_is_named(folder: Path) -> None:
    settings(folder)
    refused(folder, PARSE, "python =", "image =", "command =", "pyproject.toml")


def test_an_interpreter_that_is_not_there(folder: Path) -> None:
    settings(folder, 'python = "../gone/bin/python"')
    refused(folder, PARSE, "gone/bin/python is not there")


@pytest.mark.parametrize(
    ("text", "mode"),
    [("not a program\n", 0o644), ("#!/bin/sh\nexit 0\n", 0o755), ("#!/bin/sh\necho I am no Python; exit 3\n", 0o755)],
    ids=["not executable", "ends at once", "says something"],
)
def test_an_interpreter_that_is_none(folder: Path, text: str, mode: int) -> None:
    path = program(folder / "python", text)
    path.chmod(mode)
    settings(folder, 'python = "python"')
    refused(folder, PARSE, "python")


def test_an_environment_without_the_compiler(folder: Path) -> None:
    settings(folder, f'python = "{sys.executable}"')
    refused(folder, PARSE, "hailo_sdk_client")


@pytest.mark.parametrize("licence", [False, ["hailo8"]])
def test_no_licence(folder: Path, tmp_path: Path, licence: Any) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", licence=licence))
    refused(folder, PARSE, "icen")


def test_another_generation_of_the_compiler(folder: Path, tmp_path: Path) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", version="5.1.0"))
    refused(folder, HAR, "5.1.0", "hailo8l")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("Error: No such image: hailo:1", 1, "hailo:1"),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            1,
            "daemon",
        ),
        ("permission denied while trying to connect to the Docker daemon socket", 1, "docker"),
    ],
)
def test_containers(folder: Path, tmp_path: Path, words: str, code: int, told: str) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/docker", DOCKER.format(log=tmp_path / "log", words=words, code=code))
    settings(folder, 'image = "hailo:1"')
    refused(folder, PARSE, told, PATH=f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_no_docker_at_all(folder: Path, tmp_path: Path) -> None:
    settings(folder, 'image = "hailo:1"')
    refused(folder, PARSE, "docker", "not installed", PATH=str(tmp_path))


def test_a_command_that_asks_for_a_password(folder: Path, tmp_path: Path) -> None:
    ssh = program(tmp_path / "ssh", '#!/bin/sh\nprintf "me@gpu1\'s password: " >&2\nexec sleep 300\n')
    settings(folder, f'command = ["{ssh}", "gpu1", "python3"]')
    refused(folder, PARSE, "password")


def own_lines(folder: Path, line: str) -> None:
    single_target(folder, MODEL, "calibration_count = 8", "[alls]", f"append = ['{line}']")


@pytest.mark.parametrize("layer", ["conv999", "onnx:/model.99/Conv"])
def test_a_line_for_a_layer_that_does_not_exist(folder: Path, layer: str) -> None:
    own_lines(folder, f"quantization_param({layer}, precision_mode=a16_w16)")
    run = doit(folder)
    assert (run.code, "Traceback" in run.err) == (3, False)
    assert run.err.startswith(f"ERROR in alls:{MODEL}:hailo8l-fast-dfc: "), run.err
    assert layer.removeprefix("onnx:") in run.err
    assert f"models/{MODEL}/model.toml" in run.err
    assert not list((folder / "build").rglob("model.*"))


def test_fewer_images_than_a_line_asks_for(folder: Path) -> None:
    own_lines(folder, "model_optimization_config(calibration, calibset_size=64)")
    run = doit(folder)
    assert (run.code, "Traceback" in run.err) == (3, False)
    assert "64" in run.err
    assert "8" in run.err
    assert not list(folder.rglob("model.har"))


STAGES = [(HAR, HAR, "optimize"), (HEF, HEF, "compile")]


@pytest.mark.parametrize(("folder", "step", "stage"), STAGES, indirect=["folder"])
def test_a_full_disk_over_there(folder: Path, tmp_path: Path, step: str, stage: str) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", disk_full=stage))
    refused(folder, step, "space")


@pytest.mark.parametrize(("folder", "step", "stage"), [(PARSE, PARSE, "parse"), *STAGES], indirect=["folder"])
def test_a_worker_that_dies(folder: Path, tmp_path: Path, step: str, stage: str) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", die={"at": stage, "exit": 7}))
    refused(folder, step, "code 7", "build/.failed/")


def test_a_worker_that_prints_garbage_is_heard(folder: Path, tmp_path: Path) -> None:
    """The libraries of the vendor do, and succeed all the same."""
    choose_dfc(folder, make_environment(tmp_path / "dfc", noise={"bytes": 1 << 18, "binary": True}))
    run = doit(folder)
    assert run.code == 0, run.err
    assert "\x1b[2K" not in run.out + run.err


def test_what_prints_garbage_instead_of_working(folder: Path, tmp_path: Path) -> None:
    garbage = program(tmp_path / "python", "#!/bin/sh\nhead -c 1000000 /dev/urandom\nexit 0\n")
    settings(folder, f'python = "{garbage}"')
    refused(folder, PARSE, "Python")


@pytest.mark.parametrize("folder", [HEF], indirect=True)
def test_a_file_for_another_chip(folder: Path, tmp_path: Path) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", hef_arch="hailo8"))
    refused(folder, HEF, "hailo8", "hailo8l")


@pytest.mark.parametrize(
    ("folder", "spoilt"), [(HEF, {"missing_streams": 1}), (HAR, {"drop_activations": True})], indirect=["folder"]
)
def test_a_file_that_is_not_what_was_asked_for(folder: Path, tmp_path: Path, spoilt: dict[str, Any]) -> None:
    choose_dfc(folder, make_environment(tmp_path / "dfc", **spoilt))
    refused(folder, HEF)


@pytest.mark.parametrize("folder", [HAR], indirect=True)
def test_outputs_that_were_made_narrow(folder: Path, tmp_path: Path) -> None:
    single_target(folder, MODEL, "calibration_count = 8", '[[target]]\npreset = "accurate"')
    choose_dfc(folder, make_environment(tmp_path / "dfc", drop_wide_outputs=True))
    run = doit(folder)
    assert run.code == 3
    assert "8 bits" in run.err or "8-bit" in run.err
    assert not list(folder.rglob("*.hef"))
