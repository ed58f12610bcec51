"""What the manual shows works as it stands: links lead somewhere, snippets run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from build_rules.engine import places
from tests.chain.conftest import MODELS, REPOSITORY, make_workspace, single_target
from tests.doit_runs import doit
from tests.hef.samples import container_of
from tests.shared import SHARED, corpus_model, needs_shared

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md")), MODELS / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []
    places = re.findall(r"`((?:build_rules|tests|docs|training|benchmarks|models)/[\w./+-]*)`", text)
    assert [place for place in places if "NAME" not in place and not (REPOSITORY / place).exists()] == []


def headings(page: Path) -> set[str]:
    """The places in a page that links can lead to, as GitHub names them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_a_page_lead_to_one_of_its_headings(page: Path) -> None:
    links = re.findall(r"\]\(([\w./-]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if link[1] not in headings(page.parent / link[0] if link[0] else page)] == []


def test_every_file_that_is_kept_in_build_is_listed() -> None:
    """And named in one module alone."""
    names = (value for value in vars(places).values() if isinstance(value, str))
    kept = {name for name in names if name.startswith("build/.")}
    page = (REPOSITORY / "docs/files.md").read_text(encoding="utf-8")
    listed = {name.removesuffix("/STEP/").rstrip("/") for name in re.findall(r"^(build/\.\S+)", page, re.MULTILINE)}
    assert listed - kept == {f"{places.RECORDS}.damaged"}
    assert kept - listed == set()
    for name in places.FORMER:
        assert f"`{PurePath(name).name.removesuffix('-journal')}`" in page
    elsewhere = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "build_rules").rglob("*.py")
        if path != Path(places.__file__)
        if re.search(
            r"""["'](build)?/?\.(records|fresh|images|running|failed|clock|lock)\b""", path.read_text(encoding="utf-8")
        )
    }
    assert elsewhere == set()


def snippet(page: str) -> str:
    """The Python code of a page."""
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


def test_decoding_as_the_manual_shows(tmp_path: Path) -> None:
    make_workspace(tmp_path, ("shapes-det",), images=8)
    single_target(tmp_path, "shapes-det")
    assert doit(tmp_path).code == 0
    hef = "build/shapes-det/hailo8l-fast/model+meta.hef"
    scene = str(MODELS / "scenes/heldout/0001.jpg")
    shown: set[str] = set()
    for file in (hef, hef.replace("+meta.hef", ".har")):
        assert doit(tmp_path, "infer", file, scene, "--output", "OUT.npz").code == 0
        code = snippet("looking-inside.md")
        run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
        shown.add(run.stdout)
    assert len(shown) == 1  # what a HAR gives is what the integers of its HEF stand for
    assert {"star", "cross", "triangle"} & set(re.findall(r"'(\w+)'", shown.pop()))


def test_the_library_as_the_manual_shows(built: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", snippet("hef.md")], cwd=built, check=True, capture_output=True, text=True
    ).stdout
    assert len(shown.splitlines()) == 6
    assert container_of(built / "sealed.hef").embedding == "sealed"
    original = (built / "build/shapes-det/hailo8l-fast/model.hef").read_bytes()
    assert (built / "bare.hef").read_bytes() == original


@needs_shared
def test_an_export_without_metadata_given_some_as_the_manual_shows(tmp_path: Path) -> None:
    folder = tmp_path / "models/yolov8n"
    (folder / "calibration").mkdir(parents=True)
    (tmp_path / "dodo.py").write_text("from build_rules.dodo import *\n")
    shutil.copy(corpus_model("yolov8n_bare"), tmp_path / "yolov8n.onnx")
    for image in sorted((SHARED / "images").glob("*.jpg"))[:2]:
        shutil.copyfile(image, folder / "calibration" / image.name)
    code = snippet("model-toml.md").replace("[...]", "[f'class {i}' for i in range(80)]")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    run = doit(tmp_path)
    assert run.code == 0, run.err
