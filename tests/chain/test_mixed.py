"""`mixed_precision = "auto"` in real builds: a step of its own, that runs again when what it is about changes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from build_rules.commands.compare_layers import layers_text, search_inputs
from build_rules.commands.compare_mixed import mixed_text
from build_rules.compilers.describe_har import describe
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.protocol import Surroundings
from build_rules.declared.model import load_models
from build_rules.declared.settings import Settings
from build_rules.errors import InputError
from build_rules.mixed.find_set import SetInputs
from tests.chain.dfc_workspaces import choose_dfc
from tests.compilers.nets import images
from tests.dfc_double.environment import make_environment
from tests.doit_runs import doit
from tests.mixed.nets import FAST, LOUD, loud_detector

DECLARED = """{first}
calibration_count = 12
[[target]]
preset = "accurate"
[input]
normalization = "unsigned"
[[split.endpoint]]
role = "boxes"
tensors = ["{boxes}"]
encoding = "direct"
[[split.endpoint]]
role = "scores"
tensors = ["{scores}"]
activation = "sigmoid"
{last}
"""
STEPS = ["alls", "calibration", "har", "hef", "meta", "parse", "split", "statistics"]
AUTO = 'mixed_precision = "auto"'


def declare(folder: Path, first: str = AUTO, last: str = "") -> None:
    boxes, scores = (folder / "ends").read_text().split()
    (folder / "models/loud/model.toml").write_text(DECLARED.format(first=first, boxes=boxes, scores=scores, last=last))


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loud")
    made = loud_detector(tmp_path_factory.mktemp("net"))
    pool = folder / "models/loud/calibration"
    pool.mkdir(parents=True)
    shutil.copy(made.onnx, folder / "models/loud/loud.onnx")
    (folder / "models/loud/labels.txt").write_text("a\nb\nc\n")
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    (folder / "ends").write_text(" ".join(output.name for output in made.model.graph.output))
    for number, pixels in enumerate(images(12)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(pool / f"{number:02}.png")
    declare(folder)
    run = doit(folder)
    assert run.code == 0, run.err
    assert run.steps == sorted(
        ["alls", "alls", "calibration", "har", "hef", "meta", "mixed", "parse", "split", "statistics"]
    )
    return folder


@pytest.fixture
def folder(built_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(built_once, tmp_path / "copy")
    return tmp_path / "copy"


def steps_after(folder: Path) -> list[str]:
    run = doit(folder)
    assert run.code == 0, run.err
    return run.steps


def test_the_layer_is_found_proven_and_told(folder: Path) -> None:
    record = json.loads((folder / "build/loud/hailo8l/mixed.json").read_text())
    assert [(layer["node"], layer["mode"]) for layer in record["layers"]] == [(LOUD, "a8_w8_a16")]
    assert record["after"]["map50_95"] > record["before"]["map50_95"] + 0.3
    script = (folder / "build/loud/hailo8l-accurate/model.alls").read_text()
    assert f"# mixed precision: {LOUD} makes" in script
    assert "quantization_param(loud/conv2, precision_mode=a8_w8_a16)" in script
    for task in ("mixed:loud:hailo8l", "alls:loud:hailo8l-accurate", "har:loud:hailo8l-accurate"):
        told = doit(folder, "why", task).out
        assert "mixed precision: 1 of 5 layers in 16 bits bring the agreement" in told
        assert LOUD in told
    status = doit(folder, "status")
    assert "mixed precision: 1 of 5 layers" in status.out
    row = json.loads(doit(folder, "status", "--json").out)[0]
    assert LOUD in row["mixed_precision"][1]


def test_the_search_runs_again_when_what_it_is_about_changes_and_for_nothing_else(folder: Path) -> None:
    assert steps_after(folder) == []
    declare(folder, last='[alls]\nappend = ["quantization_param(conv1, precision_mode=a8_w8_a16)"]')
    assert steps_after(folder) == ["alls", "har", "hef", "meta"]
    (folder / "models/loud/labels.txt").write_text("a\nb\nd\n")
    assert steps_after(folder) == ["meta"]
    next((folder / "models/loud/calibration").glob("*.png")).unlink()
    assert "mixed" in steps_after(folder)


def test_switched_off_there_is_no_such_step(folder: Path) -> None:
    declare(folder, first="")
    assert steps_after(folder) == ["alls", "har", "hef", "meta"]
    assert "mixed precision" not in (folder / "build/loud/hailo8l-accurate/model.alls").read_text()
    assert "mixed precision" not in doit(folder, "status", "loud").out
    assert "mixed:" not in doit(folder, "list", "--all").out


Asked = tuple[str, SetInputs]


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What a command reads of the model, as if nothing had been found yet."""
    monkeypatch.chdir(folder)
    declare(folder, first="")
    (folder / "build/loud/hailo8l-accurate/model.alls").write_text(FAST)
    return search_inputs(load_models(Path("models"), Settings())[0], Emulator(), lambda text: None)


def test_layers_are_shown_worst_first_with_a_line_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, inputs = asked(folder, monkeypatch)
    assert target == "loud:hailo8l-accurate"
    told = layers_text(target, inputs, False)
    first = next(line for line in told.splitlines() if "%" in line)
    assert "loud/conv2" in first
    assert "a8_w8_a16" in first
    assert f"   quantization_param(onnx:{LOUD}, precision_mode=a8_w8_a16)" in told
    rows = json.loads(layers_text(target, inputs, True))["layers"]
    assert len(rows) == 5
    assert rows[0]["nodes"][0] == LOUD
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_lines_are_written_into_the_declaration_and_a_build_obeys_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, inputs = asked(folder, monkeypatch)
    line = f'"quantization_param(onnx:{LOUD}, precision_mode=a8_w8_a16)"'
    declaration = folder / "models/loud/model.toml"
    before = declaration.read_text()
    assert "1 of 5 layers in 16 bits" in mixed_text(target, inputs, declaration, write=False, as_json=False)
    assert declaration.read_text() == before
    told = mixed_text(target, inputs, declaration, write=True, as_json=False)
    assert f"+    {line}" in told
    assert all(each in declaration.read_text().splitlines() for each in before.splitlines() if each)
    assert line in declaration.read_text()
    (folder / "build/loud/hailo8l-accurate/model.alls").write_text("")  # so that it is written anew
    assert steps_after(folder)[:2] == ["alls", "har"]
    script = (folder / "build/loud/hailo8l-accurate/model.alls").read_text()
    assert "quantization_param(loud/conv2, precision_mode=a8_w8_a16)" in script


def test_a_declaration_that_cannot_be_read_is_told_before_anything_is_searched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, inputs = asked(folder, monkeypatch)
    declaration = folder / "models/loud/model.toml"
    declaration.write_text("[alls\n")
    searched = replace(inputs, around=Surroundings(pytest.fail))
    with pytest.raises(InputError, match="not TOML"):
        mixed_text(target, searched, declaration, write=True, as_json=False)
    declare(folder)
    shutil.rmtree(folder / "build/loud/hailo8l-accurate")
    (model,) = load_models(Path("models"), Settings())
    with pytest.raises(InputError, match="no target of it is built"):
        search_inputs(model, Emulator(), lambda text: None)


def test_another_compiler_is_handed_what_the_emulator_chose(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "build")
    choose_dfc(folder, make_environment(tmp_path / "dfc"))
    run = doit(folder)
    assert run.code == 0, run.err
    assert run.steps == sorted([*(step for step in STEPS if step != "statistics"), "alls", "mixed", "parse"])
    assert "parse:loud:hailo8l" in run.executed
    assert "mixed:loud:hailo8l" in run.executed
    script = (folder / "build/loud/hailo8l-accurate-dfc/model.alls").read_text()
    layers = describe(folder / "build/loud/hailo8l-dfc/parsed.har").layers
    (name,) = (layer.name for layer in layers if LOUD in layer.original_names)
    assert f"quantization_param({name}, precision_mode=a8_w8_a16)" in script
    assert doit(folder).executed == []


def test_what_is_not_possible_is_an_error_of_the_model(folder: Path) -> None:
    declare(folder, first='mixed_precision = "on"')
    run = doit(folder)
    assert run.code == 3
    assert 'mixed_precision = \'on\' is not possible; expected one of: "off", "auto"' in run.err
