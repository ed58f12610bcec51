"""`doit compare` on a real model, built once with few images, as a person would ask it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chain.conftest import MODELS
from tests.doit_runs import doit, start_doit, wait_until

MODEL = "shapes-det"
DECLARED = '\n[compare]\nimages = "../scenes/heldout"\ntruth = "../scenes/heldout/truth.json"\n'
HAR = f"build/{MODEL}/hailo8l-fast/model.har"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, _built_once: Path) -> Path:
    """The small example, built for `fast` alone, with eight held-out images."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(_built_once, folder, dirs_exist_ok=True)
    held_out = folder / "models/scenes/heldout"
    held_out.mkdir()
    shutil.copy(MODELS / "scenes/heldout/truth.json", held_out)
    for number in range(8):
        shutil.copy(MODELS / f"scenes/heldout/{number:04}.jpg", held_out)
    with (folder / "models" / MODEL / "model.toml").open("a") as file:
        file.write(DECLARED)
    return folder


@pytest.fixture(scope="module")
def told(compared: Path) -> list[dict[str, Any]]:
    run = doit(compared, "compare", MODEL, "--json")
    assert run.code == 0, run.err
    found: list[dict[str, Any]] = json.loads(run.out)
    return found


def test_float_and_all_presets_stand_side_by_side(told: list[dict[str, Any]]) -> None:
    (chip,) = told
    assert [(preset["preset"], preset["built"]) for preset in chip["presets"]] == [
        ("fast", True), ("balanced", False), ("accurate", False),
    ]  # fmt: skip
    assert chip["class_names"] == ["circle", "square", "triangle", "star", "cross"]
    assert [name for name, _ in chip["float_truth"]] == ["held-out"]
    for preset in chip["presets"]:
        assert [(each["name"], each["images"]) for each in preset["sets"]] == [("calibration", 8), ("held-out", 8)]
        assert preset["emulated"]
        for each in preset["sets"]:
            assert each["agreement"]["map50"] > 0.9
            assert [output["endpoint"] for output in each["outputs"]][:2] == ["boxes_0", "boxes_1"]
            assert sum(output["frame_bytes"] for output in each["outputs"]) == preset["frame_bytes"]
            assert all(output["snr"] > 20 for output in each["outputs"] if output["role"] == "boxes")
        assert preset["sets"][1]["truth"]["map50"] > 0.8
    answers = {check["subject"]: check["state"] for check in chip["checks"]}
    assert len(answers) == 8
    assert answers["no layers with wide ranges"] == "passed", "the statistics that were collected tell"
    assert chip["take"] in ("fast", "balanced", "accurate")
    assert chip["because"].startswith(f"Take {chip['take']}: ")


def test_it_is_kept_and_builds_nothing(compared: Path, told: list[dict[str, Any]]) -> None:
    kept = compared / f"build/{MODEL}/hailo8l/compare.json"
    before = kept.stat().st_mtime_ns
    run = doit(compared, "compare", MODEL, "--json")
    assert json.loads(run.out) == told
    assert kept.stat().st_mtime_ns == before
    assert doit(compared).executed == [], "the table [compare] makes no step run"
    content = kept.read_bytes()
    kept.write_bytes(content[:1000])
    assert doit(compared, "compare", MODEL).code == 0
    assert kept.read_bytes() == content, "the same again, to the byte"


def test_people_read_a_table_that_says_it_is_emulated(compared: Path, told: list[dict[str, Any]]) -> None:
    run = doit(compared, "compare", MODEL)
    lines = run.out.splitlines()
    assert lines[1].startswith("EMULATED")
    assert "\x1b" not in run.out + run.err
    assert max(map(len, lines[:-1])) <= 170
    assert any(line.startswith("balanced (not built)") for line in lines)
    assert any(line.split()[:2] == ["passed", "cut"] for line in lines)
    unknown = next(number for number, line in enumerate(lines) if line.split()[:2] == ["not", "known"])
    assert lines[unknown + 1].startswith("      "), "what is not known says why"
    assert lines[-1] == told[0]["because"]


def test_hars_are_compared_by_what_lies_around_the_first(compared: Path, told: list[dict[str, Any]]) -> None:
    shutil.copy(compared / HAR, compared / "other.har")
    image = "models/scenes/heldout"
    truth = ("--truth", f"{image}/truth.json")
    run = doit(compared, "compare", HAR, "other.har", image, "--json", *truth)
    assert run.code == 0, run.err
    (chip,) = json.loads(run.out)
    assert [preset["preset"] for preset in chip["presets"]] == ["hailo8l-fast", compared.name]
    first, second = chip["presets"]
    assert first["sets"] == second["sets"] == [told[0]["presets"][0]["sets"][1]]
    run = doit(compared, "compare", "other.har", image)
    assert run.code == 3
    assert "build/MODEL/TARGET/model.har" in run.err


def test_the_cut_is_worth_its_while(compared: Path) -> None:
    run = doit(compared, "compare", MODEL, "--uncut", "--json")
    assert run.code == 0, run.err
    told = json.loads(run.out)
    cut, whole, wide = told["rows"]
    assert cut["agreement"]["map50_95"] > 0.9 > 0.5 > whole["agreement"]["map50_95"]
    assert whole["step"] > 1, "one step holds pixels and scores"
    assert wide["step"] < whole["step"] / 100
    assert cut["step"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shapes-dett"], "did you mean shapes-det?"),
        ([], "needs a model, or HARs and images"),
        ([MODEL, "--bogus"], "there is no option --bogus"),
        ([MODEL, "nowhere"], "nowhere: there is no such image"),
        ([MODEL, "--truth", "nowhere"], "nowhere: there is no such truth"),
        ([MODEL, "--write"], "--write goes with --mixed"),
        ([MODEL, "--uncut", "--layers"], "one by one"),
        ([MODEL, "--layers", "models/scenes/heldout"], "--layers measures on calibration images"),
        ([HAR], "is to be compared on no image"),
        ([HAR, "--layers", "models/scenes/heldout"], "--layers is about a model"),
        ([MODEL, "models/shapes-det/model.toml"], "model.toml"),
        ([MODEL, "models/scenes/heldout", "--truth", "models/scenes/calibration"], "no labels of the images"),
    ],
)
def test_wrong_calls_end_with_one_paragraph(compared: Path, words: list[str], message: str) -> None:
    run = doit(compared, "compare", *words)
    assert run.code == 3
    assert message in run.err
    assert "Traceback" not in run.err
    assert run.out == ""


def test_what_is_not_built_is_said_to_be_built_first(small: Path) -> None:
    run = doit(small, "compare", MODEL)
    assert run.code == 3
    assert f"nothing of it is built yet; run doit 'meta:{MODEL}:*' first" in run.err


def test_without_other_images_that_is_said(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path, dirs_exist_ok=True)
    declaration = tmp_path / "models" / MODEL / "model.toml"
    declaration.write_text(declaration.read_text().replace(DECLARED, '\n[compare]\nimage = "x"\n'))
    run = doit(tmp_path, "compare", MODEL)
    assert run.code == 3
    assert 'did you mean "images"?' in run.err
    assert doit(tmp_path).code == 0, "a mistake in [compare] stops nobody who builds"


@pytest.mark.parametrize(("option", "first"), [("--uncut", "parsed.har"), ("--mixed", "model.alls")])
def test_it_ends_at_once_and_leaves_nothing(compared: Path, tmp_path: Path, option: str, first: str) -> None:
    process = start_doit(compared, "compare", MODEL, option, TMPDIR=str(tmp_path))
    wait_until(lambda: any(tmp_path.glob(f"doit-compare-*/{first}")))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=5) == 130
    assert process.stderr is not None
    assert "interrupted" in process.stderr.read()
    assert list(tmp_path.iterdir()) == []
