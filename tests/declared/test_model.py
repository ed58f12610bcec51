"""What a repository declares: defaults, overrides, and errors that name file, key, value and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build_rules.declared.model import Model, load_models, replace_targets
from build_rules.declared.settings import Settings, Target, read_settings
from build_rules.errors import InputError


def repository(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "models"


def told(models: tuple[Model, ...]) -> str:
    """Return everything that is wrong with some models."""
    return "\n".join(fault.text for model in models for fault in model.faults)


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
    ("files", "step", "words"),
    [
        (
            {"models/a/a.onnx": "", "models/a/y.onnx": "", "models/a/calibration/1.jpg": ""},
            "split",
            ["2 ONNX files", "a.onnx, y.onnx", 'onnx = "FILE"'],
        ),
        ({"models/a/model.toml": "", "models/a/calibration/1.jpg": ""}, "split", ["there is no .onnx"]),
        ({"models/a/a.onnx": ""}, "calibration", ["nothing to calibrate from"]),
        (
            {**MINIMAL, "models/a/model.toml": 'pressets = "fast"'},
            "split",
            ["model.toml", "unknown key pressets = 'fast'"],
        ),
        (
            {**MINIMAL, "models/a/model.toml": 'preset = "fast"'},
            "split",
            ["unknown key preset = 'fast'; it belongs below [[target]]. Allowed are: onnx"],
        ),
        ({**MINIMAL, "models/a/model.toml": 'color = "bgr"'}, "split", ["it belongs below [input]. Allowed"]),
        (
            {**MINIMAL, "models/a/model.toml": '[input]\ncolor = "bgr"\ncalibration_count = 3'},
            "split",
            ["[input]: unknown key calibration_count = 3; it belongs above the first table: whatever stands below"],
        ),
        (
            {**MINIMAL, "models/a/model.toml": '[[target]]\nembed = "sealed"'},
            "split",
            ["[[target]] number 1: unknown key embed = 'sealed'; it belongs above the first table"],
        ),
        (
            {**MINIMAL, "models/a/model.toml": "[split]\nanchors = [[[1, 2]]]"},
            "split",
            ["it belongs below [[split.endpoint]] or [[split.hint]]. Allowed"],
        ),
        ({**MINIMAL, "models/a/model.toml": "zzz = 1"}, "split", ["unknown key zzz = 1. Allowed are: onnx"]),
        ({**MINIMAL, "models/a/model.toml": "[split]\noutputs = []"}, "split", ["outputs = []", "at least one"]),
        ({**MINIMAL, "models/a/model.toml": 'onxx = "a"'}, "split", ['did you mean "onnx"?']),
        ({**MINIMAL, "models/a/model.toml": "onnx = 3"}, "split", ["onnx = 3", "a string"]),
        ({**MINIMAL, "models/a/model.toml": 'onnx = "b.onnx"'}, "split", ["'b.onnx'", "a.onnx"]),
        ({**MINIMAL, "models/a/model.toml": "calibration_count = true"}, "split", ["= True", "an integer from 1"]),
        (
            {**MINIMAL, "models/a/model.toml": '[[target]]\nhw_arch = "hailo15"'},
            "split",
            ["number 1", "hailo15", '"hailo8l"'],
        ),
        ({**MINIMAL, "models/a/model.toml": '[[target]]\npreset = "slow"'}, "split", ["'slow'", '"accurate"']),
        ({**MINIMAL, "models/a/model.toml": "[[target]]\n[[target]]"}, "split", ["hailo8l-fast is there 2 times"]),
        ({**MINIMAL, "models/a/model.toml": "[target]"}, "split", ["tables, each headed [[target]]"]),
        ({**MINIMAL, "models/a/model.toml": "a = ]"}, "split", ["model.toml: not valid TOML", "line 1"]),
        ({**MINIMAL, "models/a/model.toml": 'labels = "no.txt"'}, "split", ["no.txt does not exist"]),
        ({**MINIMAL, "models/a/model.toml": 'calibration = "no"'}, "calibration", ["no does not exist"]),
        ({**MINIMAL, "models/a/model.toml": 'compiler = "gcc"'}, "split", ["'gcc'", '"emulator"']),
        (
            {**MINIMAL, "models/a/x.hef": "", "models/a/model.toml": 'hef = "x.hef"'},
            "split",
            ["hef = 'x.hef' is not possible; expected no hef, or compiler = \"prebuilt\" beside it"],
        ),
        (
            {**MINIMAL, "models/a/x.hef": "", "models/a/model.toml": '[[target]]\nhef = "x.hef"'},
            "split",
            ['expected no hef in it, or compiler = "prebuilt": this model is compiled here'],
        ),
        (
            {
                **MINIMAL,
                **{"models/a/x.hef": "", "models/a/y.hef": ""},
                "models/a/model.toml": 'compiler = "prebuilt"\nhef = "x.hef"\n[[target]]\nhef = "y.hef"',
            },
            "meta",
            ["hef = 'x.hef' is not possible; expected no hef here, since every [[target]] names its own"],
        ),
    ],
)
def test_what_is_wrong_is_a_fault_of_the_step_that_needs_it(
    tmp_path: Path, files: dict[str, str], step: str, words: list[str]
) -> None:
    (model,) = load_models(repository(tmp_path, files), Settings())
    (fault,) = model.faults
    assert (fault.step, model.name) == (step, "a")
    for text in words:
        assert text in fault.text
    assert "\n" not in fault.text


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no model"):
        load_models(repository(tmp_path, {"models/readme.txt": ""}), Settings())


def test_no_models_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        load_models(tmp_path / "models", Settings())


def test_what_is_wrong_with_one_model_is_not_wrong_with_another(tmp_path: Path) -> None:
    files = {**MINIMAL, "models/b/x.onnx": "", "models/c/model.toml": "onxx = 1", "models/d/model.toml": "["}
    models = load_models(repository(tmp_path, files), Settings())
    assert [(model.name, [fault.step for fault in model.faults]) for model in models] == [
        ("a", []),
        ("b", ["calibration"]),
        ("c", ["split"]),
        ("d", ["split"]),
    ]


def test_several_things_wrong_with_one_model_are_all_told(tmp_path: Path) -> None:
    text = 'onnx = "no.onnx"\nlabels = "no.txt"\ncalibration = "no"'
    (model,) = load_models(repository(tmp_path, {**MINIMAL, "models/a/model.toml": text}), Settings())
    assert [fault.step for fault in model.faults] == ["split", "split", "calibration"]
    assert model.fault("split") == model.faults[0].text
    assert model.fault("meta") is None


def test_of_two_hefs_the_one_that_is_missing_stops_its_own_target(tmp_path: Path) -> None:
    text = 'compiler = "prebuilt"\n[[target]]\nhef = "a.hef"\n[[target]]\nhw_arch = "hailo8"\nhef = "b.hef"'
    files = {"models/a/a.onnx": "", "models/a/a.hef": "", "models/a/model.toml": text}
    (model,) = load_models(repository(tmp_path, files), Settings())
    assert model.fault("split") is None
    assert model.fault("meta", "hailo8l-prebuilt") is None
    assert "b.hef does not exist" in (model.fault("meta", "hailo8-prebuilt") or "")


@pytest.mark.parametrize("text", ["colour = 3", "calibration_count = 0"])
def test_the_targets_of_a_broken_model_are_known_when_they_can_be_read(tmp_path: Path, text: str) -> None:
    target = '[[target]]\npreset = "balanced"'
    (model,) = load_models(repository(tmp_path, {"models/a/model.toml": f"{text}\n{target}"}), Settings())
    assert model.targets_are_known == (text == "colour = 3")
    assert model.targets == (Target("hailo8l", "balanced") if model.targets_are_known else Target(),)


def test_a_labels_file_in_the_folder_is_the_models(tmp_path: Path) -> None:
    (model,) = load_models(repository(tmp_path, {**MINIMAL, "models/a/labels.txt": "x"}), Settings())
    assert model.labels == tmp_path / "models/a/labels.txt"


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    models = repository(tmp_path, {"models/a/calibration/1.jpg": ""})
    (models / "a/x.onnx").symlink_to("x.onnx")
    assert "x.onnx" in told(load_models(models, Settings()))
    (models / "a/x.onnx").unlink()
    (models / "a/x.onnx").write_text("")
    (models / "a/model.toml").symlink_to("gone.toml")
    assert "model.toml" in told(load_models(models, Settings()))


@pytest.mark.parametrize("key", ["calibratoin", "onxx", "labesl"])
def test_a_misspelled_key_is_told_before_its_default_is_missed(tmp_path: Path, key: str) -> None:
    files = {"models/a/a.onnx": "", "models/a/model.toml": f'{key} = "x"'}
    wrong = told(load_models(repository(tmp_path, files), Settings()))
    assert re.search(f"unknown key {key}.*did you mean", wrong)


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


@pytest.mark.parametrize("name", ["build-rules", "Build_Rules"])
def test_settings_that_nobody_would_read_are_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.other]\n[tool.{name}]\ncalibration_count = 7")
    with pytest.raises(InputError, match=rf"\[tool\.{name}\] is not read by anybody; write \[tool\.build_rules\]"):
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
