"""What a repository declares: defaults, overrides, and errors that name file, key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.errors import InputError
from build_rules.model import load_models, replace_targets
from build_rules.settings import Settings, Target, read_settings


def repository(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "models"


MINIMAL = {"models/a/a.onnx": "", "models/a/calibration/1.jpg": ""}


def test_an_onnx_beside_images_is_enough(tmp_path: Path) -> None:
    (model,) = load_models(repository(tmp_path, MINIMAL), Settings())
    assert model.name == "a"
    assert model.onnx == tmp_path / "models/a/a.onnx"
    assert model.labels is None
    assert model.calibration == tmp_path / "models/a/calibration"
    assert model.targets == (Target("hailo8l", "fast"),)


def test_everything_said(tmp_path: Path) -> None:
    text = """
    onnx = "b.onnx"
    labels = "labels.txt"
    calibration = "../shared/pool"
    calibration_count = 64
    skip_broken_images = true
    [[target]]
    [[target]]
    hw_arch = "hailo8"
    preset = "accurate"
    """
    files = {
        "models/team/m/model.toml": text,
        "models/team/m/a.onnx": "",
        "models/team/m/b.onnx": "",
        "models/team/m/labels.txt": "",
        "models/team/shared/pool/1.jpg": "",
    }
    (model,) = load_models(repository(tmp_path, files), Settings())
    assert model.name == "team/m"
    assert model.network_name == "m"
    assert model.onnx.name == "b.onnx"
    assert model.calibration == tmp_path / "models/team/shared/pool"
    assert model.targets == (Target("hailo8l", "fast"), Target("hailo8", "accurate"))
    assert (model.settings.calibration_count, model.settings.skip_broken_images) == (64, True)


def test_folders_inside_a_model_and_hidden_ones_are_not_models(tmp_path: Path) -> None:
    files = {**MINIMAL, "models/a/old/b.onnx": "", "models/.cache/c.onnx": ""}
    assert [m.name for m in load_models(repository(tmp_path, files), Settings())] == ["a"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"models/readme.txt": ""}, ["holds no model"]),
        ({"models/a/x.onnx": "", "models/a/y.onnx": ""}, ["2 ONNX files", "x.onnx, y.onnx", 'onnx = "FILE"']),
        ({"models/a/model.toml": ""}, ["there is no .onnx"]),
        ({"models/a/a.onnx": ""}, ["nothing to calibrate from"]),
        ({**MINIMAL, "models/a/model.toml": 'pressets = "fast"'}, ["model.toml", "unknown key pressets = 'fast'"]),
        ({**MINIMAL, "models/a/model.toml": 'onxx = "a"'}, ['did you mean "onnx"?']),
        ({**MINIMAL, "models/a/model.toml": "onnx = 3"}, ["onnx = 3", "a string"]),
        ({**MINIMAL, "models/a/model.toml": 'onnx = "b.onnx"'}, ["'b.onnx'", "a.onnx"]),
        ({**MINIMAL, "models/a/model.toml": "calibration_count = true"}, ["= True", "an integer from 1"]),
        ({**MINIMAL, "models/a/model.toml": '[[target]]\nhw_arch = "hailo15"'}, ["number 1", "hailo15", '"hailo8l"']),
        ({**MINIMAL, "models/a/model.toml": '[[target]]\npreset = "slow"'}, ["'slow'", '"accurate"']),
        ({**MINIMAL, "models/a/model.toml": "[[target]]\n[[target]]"}, ["hailo8l-fast is there 2 times"]),
        ({**MINIMAL, "models/a/model.toml": "[target]"}, ["tables, each headed [[target]]"]),
        ({**MINIMAL, "models/a/model.toml": "a = ]"}, ["model.toml: not valid TOML", "line 1"]),
        ({**MINIMAL, "models/a/model.toml": 'labels = "no.txt"'}, ["no.txt does not exist"]),
        ({**MINIMAL, "models/a/model.toml": 'calibration = "no"'}, ["no does not exist"]),
        ({**MINIMAL, "models/a/model.toml": 'compiler = "gcc"'}, ["'gcc'", '"emulator"']),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, files: dict[str, str], told: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load_models(repository(tmp_path, files), Settings())
    for text in told:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_models_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load_models(tmp_path / "models", Settings())


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    files = {**MINIMAL, "models/b/x.onnx": "", "models/c/model.toml": "onxx = 1", "models/d/model.toml": "["}
    with pytest.raises(InputError) as caught:
        load_models(repository(tmp_path, files), Settings())
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 models are declared wrongly."
    assert [line.split("/models/")[1][0] for line in lines[1:]] == ["b", "c", "d"]


def test_a_labels_file_in_the_folder_is_the_models(tmp_path: Path) -> None:
    (model,) = load_models(repository(tmp_path, {**MINIMAL, "models/a/labels.txt": "x"}), Settings())
    assert model.labels == tmp_path / "models/a/labels.txt"


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    models = repository(tmp_path, {"models/a/calibration/1.jpg": ""})
    (models / "a/x.onnx").symlink_to("x.onnx")
    with pytest.raises(InputError, match=r"x\.onnx"):
        load_models(models, Settings())
    (models / "a/x.onnx").unlink()
    (models / "a/x.onnx").write_text("")
    (models / "a/model.toml").symlink_to("gone.toml")
    with pytest.raises(InputError, match=r"model\.toml"):
        load_models(models, Settings())


@pytest.mark.parametrize("key", ["calibratoin", "onxx", "labesl"])
def test_a_misspelled_key_is_told_before_its_default_is_missed(tmp_path: Path, key: str) -> None:
    files = {"models/a/a.onnx": "", "models/a/model.toml": f'{key} = "x"'}
    with pytest.raises(InputError, match=f"unknown key {key}.*did you mean"):
        load_models(repository(tmp_path, files), Settings())


@pytest.mark.parametrize("name", ["-yolo", "x/-y"])
def test_names_that_look_like_options(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not begin with -"):
        load_models(
            repository(tmp_path, {f"models/{name}/x.onnx": "", f"models/{name}/calibration/1.jpg": ""}), Settings()
        )


def test_a_folder_name_that_tasks_cannot_carry(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a:b"):
        load_models(repository(tmp_path, {"models/a:b/x.onnx": "", "models/a:b/calibration/1.jpg": ""}), Settings())


def test_settings_are_defaults_that_a_model_overrides(tmp_path: Path) -> None:
    text = '[tool.build_rules]\ncalibration_count = 7\n[[tool.build_rules.target]]\nhw_arch = "hailo8"'
    models = repository(tmp_path, {**MINIMAL, "pyproject.toml": text})
    settings = read_settings(tmp_path / "pyproject.toml")
    (model,) = load_models(models, settings)
    assert model.settings.calibration_count == 7
    assert model.targets == (Target("hailo8", "fast"),)
    assert read_settings(tmp_path / "none.toml") == Settings()
    (tmp_path / "pyproject.toml").write_text("[tool.build_rules]\ncalibration_cuont = 7")
    with pytest.raises(InputError, match=r"calibration_cuont.*did you mean \"calibration_count\""):
        read_settings(tmp_path / "pyproject.toml")


def test_command_line_replaces_the_targets(tmp_path: Path) -> None:
    models = load_models(repository(tmp_path, MINIMAL), Settings())
    assert replace_targets(models, None, None) == models
    assert replace_targets(models, "hailo8", None)[0].targets == (Target("hailo8", "fast"),)
    several = Settings(targets=(Target("hailo8l", "fast"), Target("hailo8", "fast"), Target("hailo8", "accurate")))
    (model,) = replace_targets(load_models(tmp_path / "models", several), "hailo8l", None)
    assert model.targets == (Target("hailo8l", "fast"), Target("hailo8l", "accurate"))
    assert replace_targets(models, None, "balanced")[0].targets == (Target("hailo8l", "balanced"),)
    with pytest.raises(InputError, match=r"preset=quick.*fast, balanced, accurate"):
        replace_targets(models, None, "quick")
