"""The pages in headless Chromium: nothing overflows, everything can be read, seen and reached by keyboard.

One browser for all of them. Skipped where there is no Chromium (Debian: `apt-get install chromium`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from build_rules.report_page.gather_index import gather_index
from build_rules.report_page.gather_model import gather_model
from build_rules.report_page.render_pages import render_index, render_model
from build_rules.report_page.told import ToldModel
from build_rules.report_page.write_report import write_page
from tests.report_page.chromium import Browser, browser, program
from tests.report_page.made_up import HOSTILE, model, target

pytestmark = pytest.mark.skipif(program() is None, reason="there is no Chromium here")

MEASURE = (Path(__file__).parent / "measure.js").read_text(encoding="utf-8")
LONG = "an_exceedingly_long_name_of_a_model_without_any_place_to_break_it_that_goes_on_and_on_and_on"
STATES = ("fresh", "stale", "never built", "failed", "broken", "ignored", "cached")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first page, one with all that there can be and hostile names, one of a model of which there is nothing."""
    folder = tmp_path_factory.mktemp("pages")
    full = model(folder, f"team/{LONG}", f"{LONG} {HOSTILE}")
    states = tuple(
        replace(target(full.folder, "fast", state, because=f"{LONG} is a new output"), name=state) for state in STATES
    )
    nothing = ToldModel("new", folder / "new", Path("n.onnx"), False, states, faults=(HOSTILE,), not_compared=LONG)
    other = replace(model(folder / "other", emulated=False), is_prebuilt=True)
    written = {"index": folder / "index.html", "full": folder / "f.html", "nothing": folder / "models/new.html"}
    write_page(written["index"], render_index(gather_index([full, nothing, other], lambda name: name == "new")))
    write_page(written["full"], render_model(gather_model(full)))
    write_page(written["nothing"], render_model(gather_model(nothing)))
    return written


@pytest.mark.parametrize("name", ["index", "full", "nothing"])
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (360, False), (360, True)])
def test_nothing_overflows_and_everything_can_be_seen(
    chromium: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    chromium.said.clear()
    chromium.asked_for.clear()
    chromium.open(pages[name], width, dark=dark)
    chromium.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = chromium.evaluate(MEASURE)
    assert chromium.said == []
    assert [url for url in chromium.asked_for if not url.startswith(("data:", pages[name].as_uri()))] == []
    assert {key: found[key] for key in ("overflow", "contrast", "missing", "unnamed")} == {
        "overflow": [],
        "contrast": [],
        "missing": [],
        "unnamed": [],
    }
    assert found["texts"] > 20
    assert found["pictures"] == (3 if name == "full" else 0)


def test_what_the_measurements_would_tell(chromium: Browser, tmp_path: Path) -> None:
    """A page on which everything is wrong, so that the others pass because they are right."""
    wrong = tmp_path / "wrong.html"
    wrong.write_text(
        "<!DOCTYPE html><title>x</title><body style='background:#fff;margin:0'><p style='color:#999'>grey</p>"
        "<div style='width:2000px'>wide</div><img src='data:image/jpeg;base64,AAAA'>"
        "<a href='#nowhere'>x</a><script>console.error('said')</script>"
    )
    chromium.said.clear()
    chromium.open(wrong, 360)
    found = chromium.evaluate(MEASURE)
    assert len(found["overflow"]) > 1
    assert len(found["contrast"]) == 1
    assert len(found["missing"]) == 2
    assert len(found["unnamed"]) == 1
    assert chromium.said


def test_the_keyboard_reaches_everything(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["full"], 1440)
    chromium.press("Tab")
    skip = "document.activeElement.className + ' ' + (document.activeElement.getBoundingClientRect().top >= 0)"
    assert chromium.evaluate(skip) == "skip true"
    chromium.press("Enter")
    assert chromium.evaluate("document.activeElement.id") == "main"
    chromium.evaluate("document.querySelector('main details summary').focus()")
    before = chromium.evaluate("document.activeElement.parentElement.open")
    chromium.press("Enter")
    assert chromium.evaluate("document.activeElement.parentElement.open") is not before
    chromium.press("Tab")
    chromium.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle + ' ' + document.activeElement.tagName"
    assert chromium.evaluate(outline).startswith("solid ")


def test_the_table_is_sorted_by_a_key_and_back(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["index"], 1440)
    targets = "[...document.querySelectorAll('tbody tr')].map((row) => row.children[1].textContent)"
    as_written = chromium.evaluate(targets)
    chromium.evaluate("document.querySelectorAll('thead button')[1].focus()")
    chromium.press("Enter")
    assert chromium.evaluate(targets) == sorted(as_written)
    assert chromium.evaluate("document.activeElement.parentElement.ariaSort") == "ascending"
    chromium.press("Enter")
    assert chromium.evaluate(targets) == sorted(as_written, reverse=True)
    chromium.evaluate("document.querySelectorAll('thead button')[4].click()")
    agreement = "[...document.querySelectorAll('tbody tr')].map((row) => row.children[4].dataset.value)"
    told = chromium.evaluate(agreement)
    numbers = [float(value) for value in told if value]
    assert numbers == sorted(numbers)
    assert told[len(numbers) :] == [""] * len(STATES), "what is not known comes last"


def test_in_print_everything_is_open_and_on_paper(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["full"], 794, dark=True, medium="print")
    closed = "[...document.querySelectorAll('details:not([open]) > :not(summary)')].map((one) => one.offsetHeight)"
    heights = chromium.evaluate(closed)
    assert heights
    assert min(heights) > 0
    assert chromium.evaluate("getComputedStyle(document.body).color") == "rgb(28, 31, 35)"
    assert chromium.evaluate("document.querySelector('nav.toc').offsetHeight") == 0
    assert chromium.evaluate("[...document.images].map((one) => one.complete && one.loading !== 'lazy')") == [True]


def test_labels_of_objects_stay_inside_of_their_pictures(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["full"], 1440)
    beyond = """[...document.querySelectorAll('.sides svg')].flatMap((picture) => {
      const [around, texts] = [picture.getBoundingClientRect(), [...picture.querySelectorAll('text')]];
      return texts.map((text) => text.getBoundingClientRect().right - around.right);
    })"""
    found = chromium.evaluate(beyond)
    assert found
    assert max(found) <= 0
