"""`doit why`, `status` and `plan` on a repository that was really built."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from build_rules.engine.memory.failures import note_failures
from tests.chain.conftest import make_small, make_workspace, single_target
from tests.doit_runs import doit
from tests.engine.memory.sql import change

HAR, META = "har:shapes-det:hailo8l-fast", "meta:shapes-det:hailo8l-fast"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_small(tmp_path_factory.mktemp("explained"))
    assert doit(folder).code == 0
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "w"
    shutil.copytree(built, copy)
    return copy


def declare(folder: Path, *lines: str) -> None:
    single_target(folder, "shapes-det", *lines)


def test_what_is_fresh(folder: Path) -> None:
    for _ in range(2):  # loaded, and not loaded
        run = doit(folder, "status")
        assert (run.code, run.out.splitlines()) == (0, ["shapes-det:hailo8l-fast  fresh", "1 fresh"])
        assert doit(folder).code == 0
    assert doit(folder, "why", META).out.startswith(f"{META} is up to date; it ran last because it has never been")
    assert doit(folder, "plan").out == "0 would run, 0 more if these change what they read, 8 up to date\n"


def test_a_setting_is_told_with_its_line_and_what_it_leads_to(folder: Path) -> None:
    declare(folder, "", "calibration_count = 6")
    declared = f"models/shapes-det/model.toml:{3}"
    told = doit(folder, "why", HAR).out.splitlines()
    assert told[0] == f"{HAR} runs if this changes what it reads:"
    assert told[1] == f"   calibration:shapes-det: setting count changed: 8 -> 6 ({declared})"
    assert told[2] == "   by way of alls:shapes-det:hailo8l-fast, statistics:shapes-det:hailo8l"
    status = doit(folder, "status")
    assert (status.code, "stale        calibration:shapes-det: setting count changed: 8 -> 6" in status.out) == (
        1,
        True,
    )
    plan = doit(folder, "plan").out.splitlines()
    assert plan[0].split()[:2] == ["run", "calibration:shapes-det"]
    assert "because setting count changed: 8 -> 6" in plan[0]
    assert plan[6] == "1 would run, 5 more if these change what they read, 2 up to date"
    assert plan[7].startswith("about ")
    assert doit(folder, "calibration:shapes-det").code == 0
    again = doit(folder, "why", HAR).out
    assert "calibration.safetensors changed, because calibration:shapes-det ran: setting count changed: 8 -> 6" in again


def test_a_line_of_a_text_is_told(folder: Path) -> None:
    labels = folder / "models/shapes-det/labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    assert doit(folder).code == 0
    labels.write_text("a\nb\nC\nd\ne\n")
    assert "models/shapes-det/labels.txt changed: line 3: 'c' -> 'C'" in doit(folder, "why", META).out
    run = doit(folder, "-v", "2")
    assert f".  {META}\n   because models/shapes-det/labels.txt changed: line 3: 'c' -> 'C'\n" in run.out
    assert "because" not in doit(folder).out


def test_a_file_that_is_no_longer_read_is_told_as_that(folder: Path) -> None:
    """It is there, and what it was; `why`, `status`, `plan`, the run and its record have one reason."""
    (folder / "models/shapes-det/names.txt").write_text("a\nb\nc\nd\ne\n")
    declare(folder, "calibration_count = 8", 'labels = "names.txt"')
    assert doit(folder).code == 0
    declare(folder, "calibration_count = 8")
    cause = "models/shapes-det/names.txt is no longer read"
    split = "setting labels_file changed: models/shapes-det/names.txt -> nothing"
    assert doit(folder, "why", META).out.splitlines()[:2] == [f"{META} runs because", f"   {cause}"]
    plan = {row["task"]: row["because"] for row in json.loads(doit(folder, "plan", "--json").out)}
    assert (plan["split:shapes-det"], plan[META]) == (split, cause)
    assert split in doit(folder, "status").out
    run = doit(folder, "-v", "2")
    assert f"because {cause}" in run.out
    assert doit(folder, "why", META).out == f"{META} is up to date; it ran last because {cause}\n"


def test_the_log_of_a_failure_stands_below_it_line_by_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    declare(folder, "calibration_count = 5")
    note_failures({HAR: "it does not fit.\n   | one\n   | two"}, ())
    lines = doit(folder, "why", HAR).out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("   it failed on "))
    assert lines[at].endswith(": it does not fit.")
    assert lines[at + 1 : at + 3] == ["   | one", "   | two"]


def test_a_failure_is_told_until_it_is_mended(folder: Path) -> None:
    labels = folder / "models/shapes-det/labels.txt"
    labels.write_text("only one\n")
    assert doit(folder).code == 3
    (row,) = json.loads(doit(folder, "status", "--json").out)
    assert (row["state"], row["task"]) == ("failed", "split:shapes-det")
    assert "The labels name 1 classes" in row["because"]
    assert row["when"] > 1_700_000_000
    assert "it failed on 20" in doit(folder, "why", "split:shapes-det").out
    labels.unlink()
    assert doit(folder).code == 0
    assert doit(folder, "status").code == 0


def test_what_comes_after_an_output_that_is_gone_may_stay_as_it_is(folder: Path) -> None:
    (folder / "build/shapes-det/split.onnx").unlink()
    plan = json.loads(doit(folder, "plan", "--json").out)
    assert [row["task"] for row in plan if row["runs"] == "yes"] == ["split:shapes-det"]
    assert doit(folder).executed == ["split:shapes-det"]


def test_a_failure_forgets_nothing(folder: Path) -> None:
    labels = folder / "models/shapes-det/labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    assert doit(folder).code == 0
    labels.write_text("a\n")
    assert doit(folder).code == 3
    assert "labels.txt changed" in doit(folder, "why", META).out
    labels.write_text("a\nb\nc\nd\ne\n")
    run = doit(folder)
    assert (run.code, run.executed) == (0, [])
    assert doit(folder, "status").code == 0


@pytest.mark.parametrize("columns", ["task, moment, words", "other"])
def test_failures_that_are_damaged_are_none(folder: Path, columns: str) -> None:
    change("drop table if exists failures", workspace=folder)
    change(f"create table failures ({columns})", workspace=folder)
    row = ("split:x", "no moment", 7)[: columns.count(",") + 1]
    change(f"insert into failures values ({', '.join('?' * len(row))})", *row, workspace=folder)
    for command in (("status",), ("why", META)):
        run = doit(folder, *command)
        assert (run.code, "Traceback" in run.err) == (0, False)


def test_what_was_never_built(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path, ("shapes-det",), images=2)
    single_target(folder, "shapes-det")
    assert "never built  split:shapes-det: it has never been built" in doit(folder, "status").out
    assert doit(folder, "plan", "--json").code == 0
    assert len(json.loads(doit(folder, "plan", "--json").out)) == 8
    assert sorted(path.name for path in folder.iterdir() if path.name != "build") == ["dodo.py", "models"]


def test_what_is_ignored_is_left_out(folder: Path) -> None:
    (folder / "models/shapes-det/labels.txt").write_text("a\nb\nc\nd\ne\n")
    declare(folder, "", "calibration_count = 6")
    assert doit(folder, "ignore", HAR).code == 0
    status = doit(folder, "status")
    assert f"ignored      {HAR}: `doit ignore` leaves it out" in status.out
    plan = doit(folder, "plan").out
    assert HAR not in plan
    assert META not in plan
    assert "3 left out because of `doit ignore`; `doit forget TASK` ends that" in plan
    assert doit(folder, "why", HAR).out.splitlines()[0] == f"{HAR} is left out because of `doit ignore`; otherwise"
    run = doit(folder)
    assert META not in run.executed
    doit(folder, "forget", HAR)
    assert META in doit(folder, "plan").out


def test_status_of_some(folder: Path) -> None:
    assert doit(folder, "status", "shapes-*").out.splitlines()[-1] == "1 fresh"
    run = doit(folder, "status", "other*")
    assert (run.code, "no model is called other*" in run.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("why",), "needs the name of a task"), (("why", "meta:none:x"), "meta:none:x"), (("plan", "none"), "none")],
)
def test_wrong_calls(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    run = doit(folder, *arguments)
    assert (run.code, told in run.err, "Traceback" in run.err) == (3, True, False)


def test_info_gives_the_causes_that_why_gives(folder: Path) -> None:
    declare(folder, "", "calibration_count = 6")
    run = doit(folder, "info", "calibration:shapes-det")
    assert run.code == 1
    assert "status     : run\n * setting count changed: 8 -> 6\n\n" in run.out
    assert doit(folder, "info", META).code == 0
    group = doit(folder, "info", "meta")
    assert (group.code, "status" in group.out, META in group.out) == (0, False, True)
    for arguments, told in (
        (["nope"], "ERROR: there is no task called nope. `doit list --all` shows the tasks.\n"),
        ([], "ERROR: doit info: needs the name of one task"),
        ([META, HAR], "ERROR: doit info: needs the name of one task"),
    ):
        run = doit(folder, "info", *arguments)
        assert (run.code, run.out, run.err.startswith(told)) == (3, "", True), run.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["har:shapes-det:hailo8l-fats"], f"there is no command or task called .*fats; did you mean {HAR} or "),
        (["why", "har:shapes-det:hailo8l-fats"], f"there is no task called .*fats; did you mean {HAR} or "),
        (["inspec", "x.hef"], r"there is no command or task called inspec; did you mean inspect\? `doit list --all` "),
        (["split", "zzz"], "there is no task called zzz. `doit list --all` shows the tasks.\n"),
    ],
)
def test_misspelled_names(built: Path, arguments: list[str], told: str) -> None:
    run = doit(built, *arguments)
    assert (run.code, run.out) == (3, "")
    assert re.match(f"ERROR: {told}", run.err), run.err


def test_what_clean_says(folder: Path) -> None:
    run = doit(folder, "clean", META)
    assert (run.code, run.out) == (
        0,
        "".join(
            f"{META} - removing file 'build/shapes-det/hailo8l-fast/{name}'\n"
            for name in ("model+meta.hef", "edgefirst.json")
        ),
    )


def test_a_table_that_says_one_thing_is_told_as_that(folder: Path) -> None:
    declare(folder, "", "calibration_count = 8", '[split]\noutputs = ["output0"]')
    told = doit(folder, "why", "split:shapes-det").out
    assert "setting choice.outputs changed: nothing -> output0 (models/shapes-det/model.toml:" in told
    assert "nothing -> nothing" not in told


def test_a_failure_is_over_when_what_it_was_about_is_as_before(folder: Path) -> None:
    onnx = folder / "models/shapes-det/shapes-det.onnx"
    good = onnx.read_bytes()
    assert doit(folder).code == 0
    onnx.write_bytes(good[:1000])
    assert doit(folder).code == 3
    assert "failed" in doit(folder, "status").out
    onnx.write_bytes(good)
    for _ in range(2):  # looked at, and known to be fresh
        assert doit(folder).executed == []
    (folder / "build/shapes-det/split.onnx").unlink()
    assert "failed" not in doit(folder, "status").out
