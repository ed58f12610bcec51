"""Pools of photographs as people have them, built by the real doit: lists, patterns, odd names, closed files."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tests.chain.conftest import single_target
from tests.doit_runs import doit

MODEL = "models/shapes-det"
POOL = "models/scenes/calibration"
SNAPSHOT = "build/shapes-det/calibration.safetensors"
STRICT = {"PYTHONIOENCODING": "utf-8:strict"}
"""As in most locales, but not in those that machines run tests in: what is not UTF-8 cannot be printed."""


def calibrate_from(folder: Path, calibration: str, *lines: str) -> None:
    text = [f'calibration = "{calibration}"', "calibration_count = 8", *lines]
    (folder / MODEL / "model.toml").write_text("\n".join(text))


def build(folder: Path, *arguments: str) -> list[str]:
    """Make the snapshot; return the kinds of step that ran."""
    run = doit(folder, *arguments, "calibration", **STRICT)
    assert run.code == 0, run.err
    return run.steps


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / SNAPSHOT).read_bytes()).hexdigest()


def test_folder_list_and_pattern_of_the_same_images_give_the_same_snapshot(small: Path) -> None:
    images = sorted(path.name for path in (small / POOL).iterdir())
    build(small)
    digests = {digest(small)}
    (small / POOL / "photos.txt").write_text("\n".join(["# all of them", *images]))
    for calibration in ("../scenes/calibration/photos.txt", "../scenes/calibration/*.jpg"):
        calibrate_from(small, calibration)
        assert build(small) == ["calibration"]
        assert build(small) == []
        digests.add(digest(small))
    assert len(digests) == 1


def test_the_order_of_a_list_changes_nothing_and_its_lines_count(small: Path) -> None:
    images = sorted(path.name for path in (small / POOL).iterdir())
    listed = small / MODEL / "photos.txt"
    calibrate_from(small, "photos.txt")
    listed.write_text("".join(f"../scenes/calibration/{name}\n" for name in images))
    build(small)
    before = digest(small)
    listed.write_text("".join(f"../scenes/calibration/{name}\n" for name in reversed(images)))
    assert build(small) == ["calibration"]
    assert digest(small) == before
    listed.write_text("".join(f"../scenes/calibration/{name}\n" for name in images[:3]))
    assert build(small) == ["calibration"]
    assert digest(small) != before
    (small / POOL / images[0]).unlink()
    run = doit(small)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert f"{MODEL}/photos.txt, line 1: {POOL}/{images[0]} cannot be found" in run.err


def test_a_new_file_that_matches_a_pattern_is_noticed_in_any_folder(small: Path) -> None:
    calibrate_from(small, "../scenes/*/**/*.jpg")
    assert "calibration" in build(small)
    first = sorted((small / POOL).iterdir())[0]
    for name in (f"{POOL}/inner/x.jpg", "models/scenes/other/y.jpg"):
        (small / name).parent.mkdir()
        assert build(small) == []
        shutil.copy(first, small / name)
        assert build(small) == ["calibration"]
        shutil.copy(first, (small / name).with_suffix(".png"))
        assert build(small) == []


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        ("../scenes/*/*.png", "models/scenes/*/*.png: no image matches"),
        ("../scenes/**.png", "** stands for folders"),
        ("../scenery/*.jpg", "there is no folder models/scenery"),
        ("shapes-det.onnx", "shapes-det.onnx is none of these"),
    ],
)
def test_what_names_no_images_is_told_with_file_key_and_value(small: Path, calibration: str, told: str) -> None:
    calibrate_from(small, calibration)
    run = doit(small)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert told in run.err
    if "no image" not in told:
        assert f"{MODEL}/model.toml: calibration = '{calibration}' is not possible; expected a folder of" in run.err


@pytest.mark.parametrize("parallel", [(), ("-n", "2")])
def test_a_name_that_is_not_utf_8_goes_through_everything(small: Path, parallel: tuple[str, ...]) -> None:
    odd = small / POOL / os.fsdecode(b"\xff\xe9 x.jpg")
    first, second = sorted((small / POOL).iterdir())[:2]
    first.rename(odd)
    (small / "pyproject.toml").write_text(f'[tool.build_rules]\ncache = "{small}/cache"\n')
    assert "calibration" in build(small, *parallel)
    assert build(small, *parallel) == []
    os.utime(odd)
    assert build(small, *parallel) == []
    shutil.rmtree(small / "build")
    assert "2 restored" in doit(small, *parallel, "calibration", **STRICT).out
    odd.write_bytes(second.read_bytes())
    for command in (["why", "calibration:shapes-det"], ["status"], ["plan"]):
        assert f"{POOL}/\ufffd\ufffd x.jpg changed" in doit(small, *command, **STRICT).out
    for command in (["info", "calibration:shapes-det"], ["list", "--all", "--deps"]):
        run = doit(small, *command, **STRICT)
        assert "Traceback" not in run.err
        assert str(odd.relative_to(small)) in run.out
    assert build(small, *parallel) == ["calibration"]
    odd.write_bytes(b"no image")
    run = doit(small, *parallel, "calibration", **STRICT)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert "\ufffd\ufffd x.jpg (not an image that can be decoded)" in run.err
    assert '"exit": 3' in doit(small, "-r", "events", "calibration", **STRICT).out


def test_an_image_that_may_not_be_read_is_named(small: Path) -> None:
    single_target(small, "shapes-det", "skip_broken_images = true")
    image = sorted((small / POOL).iterdir())[3]
    image.chmod(0)
    if os.access(image, os.R_OK):
        pytest.skip("root reads everything")
    run = doit(small)
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert f"{image.relative_to(small)}: cannot be read (Permission denied); check its permissions." in run.err
