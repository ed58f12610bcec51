"""`doit report` on a repository that was really built, and on ones with nothing to show."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.chain.conftest import make_small, make_workspace, single_target
from tests.doit_runs import doit, start_doit

INDEX, PAGE = "build/report/index.html", "build/report/models/shapes-det.html"


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_small(tmp_path_factory.mktemp("reported"))
    assert doit(folder).code == 0
    run = doit(folder, "report")
    assert (run.code, run.out) == (0, "build/report/index.html: 1 of 1 model\n"), run.err
    return folder


def test_what_was_really_built_is_on_its_page(reported: Path) -> None:
    page = (reported / PAGE).read_text()
    digest = hashlib.sha256((reported / "models/shapes-det/shapes-det.onnx").read_bytes()).hexdigest()
    hef = (reported / "build/shapes-det/hailo8l-fast/model+meta.hef").stat().st_size
    for text in (
        digest,
        f"{hef:,} bytes",
        "0.1.0-emulated",
        "circle",
        "nodes removed",
        "65,536",
        "onnxruntime",
    ):
        assert text in page, text
    assert page.count("<image ") == 8, "as many calibration images as there are, at most eight"
    assert page.count("data:image/jpeg;base64,") == 9, "and the contact sheet"
    assert '"found both"' in page
    assert 'href="models/shapes-det.html"' in (reported / INDEX).read_text()
    assert "Presets compared on hailo8l" in page
    assert "Which layers cost most" in page
    assert not [*reported.rglob("*.partial")]


def test_equal_bytes_again_and_in_another_folder(reported: Path, tmp_path: Path) -> None:
    shutil.copytree(reported, tmp_path / "of another name", symlinks=True)
    shutil.rmtree(tmp_path / "of another name/build/report")
    run = doit(tmp_path / "of another name", "report", "shapes-*")
    assert run.code == 0, run.err
    for name in (INDEX, PAGE):
        assert (tmp_path / "of another name" / name).read_bytes() == (reported / name).read_bytes()


def test_a_page_is_left_until_what_it_shows_changes(reported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    shutil.copytree(reported, folder, symlinks=True)
    before = (folder / PAGE).stat().st_ino
    assert doit(folder, "report").code == 0
    assert (folder / PAGE).stat().st_ino == before
    labels = "a\nb\nc\nd\nanother\n"
    (folder / "models/shapes-det/labels.txt").write_text(labels)
    assert doit(folder, "report").code == 0
    assert "stale" in (folder / PAGE).read_text()


def test_numbers_of_an_older_build_are_never_shown_as_those_of_this_one(reported: Path, tmp_path: Path) -> None:
    """Whatever times say: the model that is compared may have come from a cache, or from another machine."""
    folder = tmp_path / "w"
    shutil.copytree(reported, folder, symlinks=True)
    shutil.copytree(folder / "models/shapes-det", folder / "models/other")
    (folder / "models/other/shapes-det.onnx").rename(folder / "models/other/other.onnx")
    known = 'title="mAP50-95'
    assert doit(folder, "report", "other").code == 0
    assert (folder / INDEX).read_text().count(known) == 1, "that of the model that was not named still holds"
    assert "older than what lies there" not in (folder / INDEX).read_text()
    har = folder / "build/shapes-det/hailo8l-fast/model.har"
    times = har.stat()
    har.write_bytes(har.read_bytes() + b"\0" * 512)
    os.utime(har, ns=(times.st_atime_ns, times.st_mtime_ns - 10**12))
    assert doit(folder, "report", "other").code == 0
    assert known not in (folder / INDEX).read_text()
    assert "older than what lies there" in (folder / INDEX).read_text()


def test_ctrl_c_ends_it_at_once(reported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    shutil.copytree(reported, folder, symlinks=True)
    shutil.rmtree(folder / "build/report")
    (folder / "build/shapes-det/hailo8l/compare.json").unlink()
    process = start_doit(folder, "report")
    assert process.stderr is not None
    assert "shapes-det (1 of 1)" in process.stderr.readline()
    time.sleep(1)  # it compares, and measures layers beside that
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    assert process.wait(30) == 130
    assert time.monotonic() - began < 5
    assert "interrupted" in process.stderr.read()
    process.communicate()
    assert not (folder / PAGE).exists()


def test_a_name_that_no_model_has(reported: Path) -> None:
    before = (reported / INDEX).stat().st_mtime_ns
    run = doit(reported, "report", "shapes-dte")
    assert run.code == 3
    assert "no model is called shapes-dte; did you mean shapes-det?" in run.err
    assert (reported / INDEX).stat().st_mtime_ns == before
    assert doit(reported, "report", "--josn").code == 3


def test_without_jinja2(reported: Path, tmp_path: Path) -> None:
    (tmp_path / "jinja2.py").write_text("raise ImportError('not here')\n")
    run = doit(reported, "report", PYTHONPATH=str(tmp_path))
    assert run.code == 3
    assert run.err.count("\n") == 1
    assert "pip install 'hailo-build-rules[report]'" in run.err


def test_models_of_which_there_is_nothing_yet_and_broken_ones(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path, ("shapes-det", "shapes-seg", "shapes-attn"), images=4)
    single_target(folder, "shapes-seg", 'preset = "fats"')
    single_target(folder, "shapes-attn", 'compiler = "prebuilt"')
    run = doit(folder, "report")
    assert run.code == 0, run.err
    assert "never built" in (folder / PAGE).read_text()
    assert "has not been cut yet" in (folder / PAGE).read_text()
    assert "preset" in (folder / "build/report/models/shapes-seg.html").read_text()
    assert "elsewhere (prebuilt)" in (folder / "build/report/models/shapes-attn.html").read_text()
    assert "broken" in (folder / INDEX).read_text()
    only = doit(folder, "report", "shapes-seg")
    assert only.out == "build/report/index.html: 1 of 3 models\n"


def test_a_build_folder_that_leads_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    folder = make_small(tmp_path / "w")
    (tmp_path / "elsewhere").mkdir()
    (folder / "build").mkdir()
    (folder / "build/report").symlink_to(tmp_path / "elsewhere")
    run = doit(folder, "report")
    assert run.code == 3, run.err
    assert "build/report" in run.err
    assert list((tmp_path / "elsewhere").iterdir()) == []
