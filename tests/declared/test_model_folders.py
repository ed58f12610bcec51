"""Which folders are models, what they are called, and where links lead: nothing is left out without a word."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from build_rules.declared import model_folders
from build_rules.declared.model_folders import MAX_NETWORK_NAME, ModelFolder, find_models
from build_rules.errors import InputError

KI = "\N{DEVANAGARI LETTER KA}\N{DEVANAGARI VOWEL SIGN I}"
ACUTE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


def make(root: Path, *models: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in models:
        (root / name).mkdir(parents=True)
        (root / name / "x.onnx").touch()
    return root


def found(root: Path) -> dict[str, str | None]:
    return {model.name: model.fault for model in find_models(root)}


@pytest.mark.parametrize("name", ["x.onnx", "X.ONNX", "x.Onnx"])
def test_an_export_is_one_in_capitals_too(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "models") / "a"
    folder.mkdir()
    (folder / name).touch()
    assert list(find_models(tmp_path / "models")) == [ModelFolder(folder, "a", (name,))]


@pytest.mark.parametrize("target", ["../exports/det", "team/det", "{absolute}/exports/det"])
def test_a_link_to_a_model_is_that_model(tmp_path: Path, target: str) -> None:
    root = make(tmp_path / "models", "team/det")
    make(tmp_path / "exports", "det")
    (root / "linked").symlink_to(target.format(absolute=tmp_path))
    assert found(root) == {"linked": None, "team/det": None}


def test_a_link_to_a_folder_of_models_is_searched(tmp_path: Path) -> None:
    root = make(tmp_path / "models", "a")
    make(tmp_path / "exports", "old/one", "two")
    (root / "team").symlink_to("../exports")
    assert found(root) == {"a": None, "team/old/one": None, "team/two": None}


def test_links_that_lead_round_in_a_circle_are_passed_over(tmp_path: Path) -> None:
    root = make(tmp_path / "models", "team/a")
    make(tmp_path / "one", "b")
    make(tmp_path / "two", "c")
    (root / "team/up").symlink_to("..")
    (root / "self").symlink_to(".")
    (root / "one").symlink_to("../one")
    (tmp_path / "one/two").symlink_to("../two")
    (tmp_path / "two/one").symlink_to("../one")
    (root / "notes").symlink_to("../one/b/x.onnx")
    assert found(root) == {"one/b": None, "one/two/c": None, "team/a": None}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("../gone", "models/link: a link to ../gone, which cannot be reached (No such file"),
        ("link", "which cannot be reached (Too many levels of symbolic links)"),
        ("..", "in which it lies itself; link the folders of the models themselves"),
        ("/", "in which it lies itself"),
    ],
)
def test_a_link_that_is_not_followed_is_told(tmp_path: Path, target: str, words: str) -> None:
    root = make(tmp_path / "models", "a")
    (root / "link").symlink_to(target)
    told = found(root)
    assert told["a"] is None
    assert words in (told["link"] or "")


def test_two_links_to_the_same_folder_of_models_are_told(tmp_path: Path) -> None:
    root = make(tmp_path / "models")
    make(tmp_path / "exports", "a")
    for name in ("one", "two"):
        (root / name).symlink_to("../exports")
    told = found(root)
    assert told["one/a"] is None
    assert "leads to the same folder as" in (told["two"] or "")


def test_links_that_multiply_end(tmp_path: Path) -> None:
    """Each folder holds two links to the next: 2^20 ways, and 20 folders."""
    root = make(tmp_path / "models")
    for number in range(20):
        folder = tmp_path / f"far/{number}"
        folder.mkdir(parents=True)
        for name in "ab":
            (folder / name).symlink_to(f"../{number + 1}")
    make(tmp_path / "far", "20")
    (root / "begin").symlink_to("../far/0")
    assert len(found(root)) < 50


def test_a_link_to_far_too_much_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folders, "MAX_LINKED", 10)
    root = make(tmp_path / "models", "a")
    for number in range(30):
        (tmp_path / f"home/{number}").mkdir(parents=True)
    (root / "home").symlink_to("../home")
    told = found(root)
    assert set(told) == {"a", "home"}
    assert "models/home: a link that leads to more than 10 folders" in (told["home"] or "")


def test_models_that_are_a_link_to_far_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folders, "MAX_LINKED", 10)
    for number in range(10):
        (tmp_path / f"far/{number}").mkdir(parents=True)
    make(tmp_path / "far", "0/sound")
    (tmp_path / "models").symlink_to("far")
    with pytest.raises(InputError, match="models: a link that leads to more than 10 folders"):
        found(tmp_path / "models")
    (tmp_path / "far/9").rmdir()
    assert found(tmp_path / "models") == {"0/sound": None}


def test_a_link_of_which_nothing_may_be_asked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below /proc, not even where a link leads may be asked of another user's."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a").symlink_to("nowhere")
    monkeypatch.setattr(Path, "readlink", lambda _: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    (found,) = find_models(tmp_path / "models")
    assert found.fault is not None
    assert "a link that cannot be read" in found.fault


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    root = make(tmp_path / "models", "a", "b")
    (root / "b").chmod(0)
    told = found(root)
    (root / "b").chmod(0o755)
    assert told["a"] is None
    assert "cannot be read (Permission denied)" in (told["b"] or "")


@pytest.mark.parametrize(
    ("name", "shown", "words"),
    [
        ("a:b", "a%3Ab", "may hold letters, digits"),
        ("a*", "a%2A", "may hold letters, digits"),
        ("a=b", "a%3Db", "may hold letters, digits"),
        ("-yolo", "%2Dyolo", "not begin with -"),
        ("team/-yolo", "team/%2Dyolo", "not begin with -"),
        ("m" * (MAX_NETWORK_NAME + 1), "m" * (MAX_NETWORK_NAME + 1), "has 115 characters"),
        (unicodedata.normalize("NFD", ACUTE), unicodedata.normalize("NFD", ACUTE), f"rename the folder to {ACUTE}"),
        ("a\nb", "a%0Ab", "may hold letters, digits"),
    ],
)
def test_a_name_that_a_later_step_refuses_is_refused_here(tmp_path: Path, name: str, shown: str, words: str) -> None:
    told = found(make(tmp_path / "models", name, "good"))
    assert told.pop("good") is None
    assert words in told.pop(shown, "").__str__()
    assert not told


@pytest.mark.parametrize(
    "name",
    [
        "m" * MAX_NETWORK_NAME,
        ACUTE,
        f"{'t' * 200}/a",
        "a.b_c-d+e@f g",
        "\N{DEVANAGARI LETTER KA}\N{DEVANAGARI VOWEL SIGN I}",
    ],
)
def test_a_name_that_every_step_takes(tmp_path: Path, name: str) -> None:
    assert found(make(tmp_path / "models", name)) == {name: None}
