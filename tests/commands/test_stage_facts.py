"""What the stages of a compiler report is shown: by `inspect` of either file, by `status` and by `why`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from build_rules.commands.describe import describe
from build_rules.commands.render import render_text
from build_rules.commands.stage_facts import described_stages, read_reports, stage_facts
from build_rules.hef import embed_zip
from build_rules.records.stage_report import REPORT_BYTES, StageReport, dump_report
from tests.chain.conftest import make_small
from tests.compilers.nets import NORMAL, Build, detector
from tests.doit_runs import doit

OPTIMIZED = StageReport(
    {"optimization_level": 0, "calibration_images": 64, "algorithms": ["Equalization", "Bias Correction"]},
    ("the level was lowered from 2 to 0, because there's no available GPU. The network detects worse for it.",),
)
REMEDY = "the placement is searched for longest: performance_param(compiler_optimization_level=max)"
COMPILED = StageReport(
    {"contexts": 3, "utilization": [{"control": 10.0, "compute": 42.5}], "remedies": [REMEDY]},
    ("the network takes 3 contexts.",),
)
LOG = """[info] Model Optimization Algorithm Equalization is done (completion time is 00:00:05.50)
[info] Model Optimization Algorithm Bias Correction is done (completion time is 00:02:00.00)
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a target, with reports and the log of its optimization."""
    build = Build(tmp_path_factory.mktemp("reports"), *detector()).all(NORMAL)
    (build.folder / "har.json").write_text(dump_report(OPTIMIZED))
    (build.folder / "hef.json").write_text(dump_report(COMPILED))
    (build.folder / "har.log").write_text(LOG)
    return build.folder


def rows(facts: dict[str, Any]) -> dict[str, Any]:
    return {f"{row['stage']} {row['fact']}": row["value"] for row in facts["build"]}


def test_a_har_shows_its_optimization_and_how_long_each_part_took(target: Path) -> None:
    facts = describe(target / "model.har")
    assert rows(facts) == {f"optimize {name}": value for name, value in OPTIMIZED.facts.items()}
    assert [row["warning"] for row in facts["warnings"]] == list(OPTIMIZED.warnings)
    assert facts["times"] == [
        {"algorithm": "Equalization", "seconds": 5.5},
        {"algorithm": "Bias Correction", "seconds": 120.0},
    ]
    assert {row["bits"] for row in facts["outputs"]} == {8}
    text = render_text(facts)
    assert "optimize  optimization_level  0" in text
    assert "Bias Correction  120" in text


def test_a_hef_as_its_compiler_wrote_it_shows_both_stages(target: Path, tmp_path: Path) -> None:
    facts = describe(target / "model.hef")
    assert rows(facts)["compile contexts"] == 3
    assert rows(facts)["compile utilization 1"] == {"control": 10.0, "compute": 42.5}
    assert "compile   utilization 1       control 10, compute 42.5\n" in render_text(facts)
    assert rows(facts)["optimize optimization_level"] == 0
    assert [row["warning"] for row in facts["warnings"]] == [*OPTIMIZED.warnings, *COMPILED.warnings]
    other = Path(shutil.copy(target / "model.hef", target / "other.hef"))
    assert (describe(other)["build"], describe(other)["warnings"]) == ([], [])


def test_what_metadata_say_goes_with_the_file(target: Path, tmp_path: Path) -> None:
    build = {"optimize": dict(OPTIMIZED.facts), "compile": dict(COMPILED.facts), "warnings": ["one", 2]}
    members = {"edgefirst.json": json.dumps({"hailo": {"preset": "fast", "build": build}}).encode()}
    embed_zip(target / "model.hef", members, tmp_path / "a.hef", "append")
    facts = describe(tmp_path / "a.hef")
    assert rows(facts)["compile remedies"] == [REMEDY]
    assert facts["warnings"] == [{"warning": "one"}]
    assert facts["metadata"]["hailo"] == {"preset": "fast"}


@pytest.mark.parametrize("section", [None, [], {"build": []}, {"build": {"optimize": 3, "warnings": "x"}}])
def test_metadata_that_say_something_else(section: Any) -> None:
    assert stage_facts(*described_stages({"hailo": section})) == {"build": [], "warnings": []}


def test_files_that_are_no_reports_are_left_out(tmp_path: Path) -> None:
    assert read_reports(tmp_path) == {}
    os.mkfifo(tmp_path / "har.json")
    (tmp_path / "hef.json").write_text(dump_report(COMPILED) + " " * REPORT_BYTES)
    assert read_reports(tmp_path) == {}
    (tmp_path / "hef.json").write_text(dump_report(COMPILED))
    assert read_reports(tmp_path) == {"compile": COMPILED}


def test_status_and_why_tell_what_the_compiler_warned_of(tmp_path: Path) -> None:
    folder = make_small(tmp_path)
    assert doit(folder).code == 0
    place = folder / "build/shapes-det/hailo8l-fast"
    assert "warning" not in doit(folder, "status").out
    (place / "hef.json").write_text(dump_report(COMPILED))
    document = json.loads((place / "edgefirst.json").read_text())
    document["hailo"]["build"] = {"warnings": [*OPTIMIZED.warnings, *COMPILED.warnings]}
    (place / "edgefirst.json").write_text(json.dumps(document))
    line = "   warning: the level was lowered from 2 to 0, because there's no available GPU (and 1 more, "
    assert any(told.startswith(line) for told in doit(folder, "status").out.splitlines())
    (row,) = json.loads(doit(folder, "status", "--json").out)
    assert row["warnings"] == [*OPTIMIZED.warnings, *COMPILED.warnings]
    told = doit(folder, "why", "hef:shapes-det:hailo8l-fast").out
    assert f"made with a remedy, since it did not fit as asked: {REMEDY}\n" in told
    assert "remedy" not in doit(folder, "why", "har:shapes-det:hailo8l-fast").out
    for wrong in ("[]", "{", '{"hailo": 3}', "[" * 100_000):
        (place / "edgefirst.json").write_text(wrong)
        assert "warning" not in doit(folder, "status").out
