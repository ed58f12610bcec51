"""Pages as text: what is on them, and that nothing that was named becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from build_rules.errors import InputError
from build_rules.report_page import render_pages
from build_rules.report_page.gather_index import gather_index
from build_rules.report_page.gather_model import _at_most, gather_model
from build_rules.report_page.render_pages import render_index, render_model
from build_rules.report_page.told import Detected, ToldModel
from tests.report_page.made_up import HOSTILE, PRESETS, comparison, model, target

KNOWN = {"script": 0, "img": 1, "image": 2}
"""How many there are on the page of the model that was made up."""


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def page(told: ToldModel) -> Page:
    return Page(render_model(gather_model(told)))


def index(*models: ToldModel) -> Page:
    return Page(render_index(gather_index(models, lambda name: True)))


def test_the_answer_comes_first_then_pictures_then_numbers(tmp_path: Path) -> None:
    words = page(model(tmp_path)).words
    order = [
        "Take accurate",
        "accurate agrees best",
        "0.9904",
        "lost: float has it",
        "tail: 32 nodes",
        "mean IoU",
        "SHA",
    ]
    places = [words.index(text) for text in order]
    assert places == sorted(places)


def test_all_that_is_known_is_told(tmp_path: Path) -> None:
    words = page(model(tmp_path)).words
    for text in ("red minimum 0", "Use at least 64.", "net/conv1", "49.00 %", "ab" * 32, "1280", "0.9712", "1 x 9"):
        assert text.replace("1280", "1,280") in words, text


def test_names_and_labels_never_become_markup(tmp_path: Path) -> None:
    told = replace(model(tmp_path, f"a/{HOSTILE}", HOSTILE), faults=(HOSTILE,), not_compared=HOSTILE)
    plain = page(model(tmp_path / "plain"))
    for made in (page(told), index(told)):
        assert made.count("script") == (0 if made.count("symbol") else 1)
        assert not any(name.startswith("on") for _, attributes in made.tags for name in attributes)
        assert "{{ 7*7 }}" in made.words
    hostile = page(told)
    assert hostile.words.count("<script>alert(1)</script>") > 5
    assert {tag: hostile.count(tag) for tag in KNOWN} == KNOWN == {tag: plain.count(tag) for tag in KNOWN}
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in plain.tags}


def test_only_the_script_of_ours_may_run_and_nothing_is_loaded(tmp_path: Path) -> None:
    html = render_index(gather_index([model(tmp_path)], lambda name: True))
    (code,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in html
    for text in (html, render_model(gather_model(model(tmp_path)))):
        made = Page(text)
        loaded = [value or "" for _, attributes in made.tags for name, value in attributes.items() if name == "src"]
        assert all(value.startswith("data:image/jpeg;base64,") for value in loaded)
        assert "default-src &#39;none&#39;" in text
        assert not re.search(r"url\((?!#)", text)


def test_the_emulator_says_so_on_every_page_and_beside_every_number(tmp_path: Path) -> None:
    told = model(tmp_path)
    for made in (page(told), index(told)):
        assert "Emulated." in made.words
        assert "No number so marked was measured on a device" in made.words
    html = render_model(gather_model(told))
    for value in PRESETS.values():
        cells = re.findall(rf"{value:.4f}(.{{5}})", html)
        assert cells
        assert all(after in ("<sup ", " E</t", ", bal", ", acc") or after.startswith('"') for after in cells), cells


def test_bytes_of_endpoints_and_the_verdict_carry_the_mark_too(tmp_path: Path) -> None:
    html = render_model(gather_model(model(tmp_path)))
    assert "4 of 120 objects<sup " in html
    assert html.count("16,384<sup ") == 3
    assert "2 lost" not in html.replace("2 lost<sup ", "")


def test_every_chip_has_its_objects_and_the_page_each_picture_once(tmp_path: Path) -> None:
    told = model(tmp_path)
    (one,) = told.detected
    made = page(replace(told, detected=(one, replace(one, hw_arch="hailo8"), Detected("hailo15h", fault="No idea."))))
    assert made.count("image") == 2
    assert made.count("use") == 2 * page(told).count("use")
    assert "No idea." in made.words
    ids = [attributes["id"] for tag, attributes in made.tags if tag == "symbol"]
    assert {attributes["href"] for tag, attributes in made.tags if tag == "use"} == {f"#{each}" for each in ids}


def test_compile_times_are_told_roughly_and_where_the_table_of_all_is(tmp_path: Path) -> None:
    told = model(tmp_path)
    timed = [
        replace(told, targets=tuple(replace(one, seconds=seconds) for one in told.targets)) for seconds in (11.0, 37.5)
    ]
    first, second = (render_index(gather_index([each], lambda name: True)) for each in timed)
    assert first == second
    assert "&lt; 1 min<sup" in first
    assert render_model(gather_model(timed[0])) == render_model(gather_model(told))
    assert [_at_most(seconds) for seconds in (None, 9.9, 10.0, 700.0, 3600.0, 9000.0)] == [
        None,
        10,
        60,
        3600,
        7200,
        10800,
    ]


def test_what_another_compiler_made_carries_no_mark_of_the_emulator(tmp_path: Path) -> None:
    told = model(tmp_path, emulated=False)
    assert not any(attributes.get("title", "") for tag, attributes in page(told).tags if tag == "sup")
    assert "Emulated." not in page(told).words


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    nothing = ToldModel(
        "new", tmp_path / "new", Path("models/new/new.onnx"), False, (target(tmp_path, "fast", "never built"),)
    )
    words = page(replace(nothing, not_compared="No target is built.")).words
    for text in ("never built", "has not been cut yet", "Nothing has been compiled yet", "No target is built."):
        assert text in words
    broken = replace(nothing, faults=("models/new/model.toml: preset = 'fats' is not possible",), targets=())
    assert "preset = 'fats' is not possible" in page(broken).words
    assert "preset = 'fats' is not possible" in index(broken).words
    assert "compiled elsewhere" not in words
    assert "elsewhere (prebuilt)" in page(replace(nothing, is_prebuilt=True)).words


def test_files_that_are_no_files_of_the_build_are_told_of(tmp_path: Path) -> None:
    told = model(tmp_path)
    (told.folder / "split.json").write_text('{"format": 99}')
    (told.folder / "calibration.png").write_bytes(b"no picture")
    (told.targets[0].folder / "model.hef").write_bytes(b"no HEF either")
    (told.targets[0].folder / "edgefirst.json").write_text("[" * 10_000)
    words = page(told).words
    assert "format 99 is not known" in words
    assert "There is no calibration here" in words
    assert "model.hef" in words


def test_a_comparison_without_objects_and_with_odd_numbers(tmp_path: Path) -> None:
    whole = comparison()
    sets = tuple(
        replace(
            one,
            agreement=None,
            truth=None,
            outputs=tuple(replace(out, snr=float("inf"), cosine=float("nan")) for out in one.outputs),
        )
        for one in whole.presets[0].sets
    )
    told = replace(whole, presets=(replace(whole.presets[0], sets=sets),), take=None, because="Nobody decodes these.")
    words = page(replace(model(tmp_path), comparisons=(told,))).words
    assert "No preset can be advised" in words
    assert "∞" in words
    assert "nan" not in words.replace("nance", "")


def test_equal_facts_give_equal_bytes_wherever_they_lie(tmp_path: Path) -> None:
    first, second = (model(tmp_path / name) for name in ("one", "another"))
    assert render_model(gather_model(first)) == render_model(gather_model(second))
    both = [render_index(gather_index(models, lambda name: True)) for models in ([first], [second])]
    assert both[0] == both[1]


def test_the_index_is_in_order_and_leads_only_to_pages_that_are_there(tmp_path: Path) -> None:
    told = [replace(model(tmp_path), name=name) for name in ("b", "a/c", "a%b")]
    view = gather_index(told, lambda name: name != "b")
    assert list(dict.fromkeys((row.model, row.page) for row in view.rows)) == [
        ("a%b", "models/a%25b.html"),
        ("a/c", "models/a/c.html"),
        ("b", ""),
    ]


def test_hundreds_of_models_are_a_small_first_page(tmp_path: Path) -> None:
    told = model(tmp_path)
    html = render_index(gather_index([replace(told, name=f"team/{i:03}") for i in range(300)], lambda name: True))
    assert html.count("<tr") == 901
    assert len(html) < 1_500_000


def test_without_jinja2_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    render_pages._environment.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'hailo-build-rules\[report\]'"):
        render_pages.check_renderer()
    monkeypatch.undo()
    render_pages._environment.cache_clear()
