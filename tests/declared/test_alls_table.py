"""The table `[alls]` of `model.toml`: lines of the user's own, and a file of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from build_rules.declared.alls_table import OwnScript, read_alls
from build_rules.declared.model import Model, load_models
from build_rules.declared.settings import Settings
from build_rules.errors import InputError
from build_rules.toml_table import Table
from tests.declared.test_model import MINIMAL, repository


def read(text: str) -> OwnScript:
    return read_alls(Table({"alls": tomli.loads(text)}, "m/model.toml"))


def load(root: Path, text: str, **files: str) -> Model:
    further = {f"models/a/{name}": content for name, content in files.items()}
    (model,) = load_models(repository(root, {**MINIMAL, "models/a/model.toml": text, **further}), Settings())
    return model


def test_every_key() -> None:
    assert read("") == OwnScript()
    assert read('append = ["a(1)", "b(2)"]\nfile = "extra.alls"') == OwnScript(("a(1)", "b(2)"), Path("extra.alls"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('append = "a(1)"', "an array of strings"),
        ('append = [""]', "not empty"),
        ("append = [1]", "an array of strings"),
        ("file = 1", "a string"),
        ('lines = ["a(1)"]', r"unknown key lines .*Allowed are: append, file"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"m/model\.toml, \[alls\].*{message}"):
        read(text)


def test_a_file_lies_beside_the_model(tmp_path: Path) -> None:
    model = load(tmp_path, '[alls]\nfile = "extra.alls"', **{"extra.alls": "a(1)"})
    assert (model.faults, model.alls) == ((), OwnScript((), tmp_path / "models/a/extra.alls"))
    assert load(tmp_path / "none", "").alls is None


def test_a_file_that_is_not_there_stops_the_script_and_nothing_before_it(tmp_path: Path) -> None:
    model = load(tmp_path, '[alls]\nfile = "extra.alls"')
    (fault,) = model.faults
    assert (fault.step, model.fault("split")) == ("alls", None)
    assert 'model.toml, [alls]: file = "extra.alls" is not possible' in fault.text
    assert "models/a/extra.alls does not exist" in fault.text


def test_where_the_keys_belong(tmp_path: Path) -> None:
    (fault,) = load(tmp_path, 'append = ["a(1)"]').faults
    assert "it belongs below [alls]" in fault.text


def test_nothing_is_compiled_of_a_prebuilt_model(tmp_path: Path) -> None:
    text = 'compiler = "prebuilt"\nhef = "a.hef"\n[alls]\nappend = ["a(1)"]'
    (fault,) = load(tmp_path, text, **{"a.hef": ""}).faults
    assert (fault.step, "there is nothing to compile" in fault.text) == ("meta", True)
