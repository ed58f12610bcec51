"""The engine under the real doit: what re-runs, and what kills, failures and meddling leave behind.

The workspace is a chain of two small steps, so that only the engine is tested: `copy` upper-cases a text, `join` adds
a settings word. `slow` in the text makes `copy` write half of its output and wait.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.doit_runs import doit, start_doit, wait_until

STEPS = """
import time
from pathlib import Path
from build_rules.errors import InputError

def copy(*, source, upper, word):
    text = source.read_text()
    upper.write_text(text[:2])
    if "slow" in text:
        Path("copying").touch()
        time.sleep(30)
    if "wrong" in text:
        raise InputError(f"{source}: says wrong; write something else.")
    if "broken" in text:
        raise RuntimeError("boom")
    if "edit" in text:
        time.sleep(0.02)
        source.write_text("other")
    if "refers" in text:
        other = Path(text.split()[1])
        upper.write_text(other.read_text())
        return [other]
    if "late" in text:
        import threading
        upper.write_bytes(b"x" * 200_000_000)
        threading.Timer(0.1, source.write_text, ["other"]).start()
        return None
    if "beside" in text:
        upper.with_name(upper.name + ".data").write_text(text)
    if "large" in text:
        upper.write_text("x" * 10_000_000)
    if "nothing" in text:
        upper.unlink()
        return
    upper.write_text(text.upper() + word)

def join(*, upper, joined, count):
    joined.write_text(upper.read_text()[:5] * count)
"""

DODO = """
import os
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.rule import Rule

DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["join"]}
COPY = Rule("copy", "steps:copy", ("errors.py",))
JOIN = Rule("join", "steps:join", ("errors.py",))
BUILD = Path("build")

def task_copy():
    for name in sorted(p.stem for p in Path("in").iterdir()):
        yield COPY.task(name, inputs={"source": Path(f"in/{name}.txt")}, outputs={"upper": BUILD / name / "upper"},
                        settings={"word": os.environ.get("WORD", "")})

def task_join():
    for name in sorted(p.stem for p in Path("in").iterdir()):
        yield JOIN.task(name, inputs={"upper": BUILD / name / "upper"}, outputs={"joined": BUILD / name / "joined"},
                        settings={"count": 2}, tools={"tool": os.environ.get("TOOL", "1")})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("hello world")
    return tmp_path


def leftovers(folder: Path) -> list[str]:
    return [str(p) for p in folder.rglob("*.partial")]


def test_first_run_then_nothing(folder: Path) -> None:
    first = doit(folder)
    assert (first.code, first.executed) == (0, ["copy:a", "join:a"])
    assert (folder / "build/a/joined").read_text() == "HELLOHELLO"
    second = doit(folder)
    assert (second.code, second.executed) == (0, [])
    assert "2 up to date" in second.out


def test_touch_runs_nothing(folder: Path) -> None:
    doit(folder)
    for path in ("in/a.txt", "build/a/upper", "build/a/joined"):
        (folder / path).touch()
    assert doit(folder).executed == []


def test_a_change_that_does_not_reach_the_end_is_cut_off(folder: Path) -> None:
    doit(folder)
    (folder / "in/a.txt").write_text("HELLO WORLD")
    assert doit(folder).executed == ["copy:a"]
    (folder / "in/a.txt").write_text("HELLO THERE")
    assert doit(folder).executed == ["copy:a", "join:a"]


def test_files_beside_an_output_are_cleaned_with_it(folder: Path) -> None:
    (folder / "in/a.txt").write_text("beside")
    assert doit(folder).code == 0
    assert (folder / "build/a/upper.data").exists()
    assert doit(folder, "clean").code == 0
    assert not list((folder / "build").rglob("upper*"))


def test_files_beside_an_output_come_and_go_with_it(folder: Path) -> None:
    (folder / "in/a.txt").write_text("beside")
    beside = folder / "build/a/upper.data"
    doit(folder)
    assert beside.read_text() == "beside"
    assert doit(folder).executed == []
    beside.unlink()
    assert doit(folder).executed == ["copy:a"]
    assert beside.read_text() == "beside"
    (folder / "in/a.txt").write_text("alone")
    doit(folder)
    assert not beside.exists()


def test_settings_and_tools_are_part_of_the_key(folder: Path) -> None:
    doit(folder)
    assert doit(folder, TOOL="2").executed == ["join:a"]
    assert doit(folder, TOOL="2").executed == []
    assert doit(folder, TOOL="2", WORD="!").executed == ["copy:a", "join:a"]


@pytest.mark.parametrize("output", ["upper", "joined"])
def test_a_deleted_or_damaged_output_runs_its_step_alone(folder: Path, output: str) -> None:
    doit(folder)
    step = {"upper": ["copy:a"], "joined": ["join:a"]}[output]
    path = folder / "build/a" / output
    good = path.read_bytes()
    path.unlink()
    assert doit(folder).executed == step
    mark = path.stat()
    path.write_bytes(good[::-1])
    os.utime(path, ns=(mark.st_atime_ns, mark.st_mtime_ns))
    assert doit(folder).executed == step
    assert path.read_bytes() == good


def test_an_input_changed_behind_a_restored_time_is_noticed(folder: Path) -> None:
    doit(folder)
    path = folder / "in/a.txt"
    mark = path.stat()
    path.write_text("jello world")
    os.utime(path, ns=(mark.st_atime_ns, mark.st_mtime_ns))
    assert doit(folder).executed == ["copy:a", "join:a"]


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_in_a_step_loses_only_that_step(folder: Path, kind: signal.Signals) -> None:
    (folder / "in/b.txt").write_text("slow")
    process = start_doit(folder)
    wait_until((folder / "copying").exists)
    process.send_signal(kind)
    _, err = process.communicate(timeout=20)
    assert process.returncode == (-9 if kind == signal.SIGKILL else 130)
    assert not (folder / "build/b/upper").exists()
    assert (leftovers(folder) == []) == (kind != signal.SIGKILL)
    assert "Traceback" not in err
    (folder / "in/b.txt").write_text("quick")
    again = doit(folder)
    assert again.executed == ["copy:b", "join:b"]  # what is for `a` was finished before
    assert (folder / "build/b/joined").read_text() == "QUICKQUICK"
    assert leftovers(folder) == []


def test_killed_while_rebuilding_then_restored_keeps_the_old_output(folder: Path) -> None:
    doit(folder)
    (folder / "in/a.txt").write_text("slow")
    process = start_doit(folder)
    wait_until((folder / "copying").exists)
    process.kill()
    process.communicate()
    (folder / "in/a.txt").write_text("hello world")
    assert doit(folder).executed == []
    assert (folder / "build/a/joined").read_text() == "HELLOHELLO"
    (folder / "in/a.txt").write_text("slow")
    (folder / "build/a/upper").unlink()
    (folder / "copying").unlink()
    process = start_doit(folder)
    wait_until((folder / "copying").exists)
    process.kill()
    process.communicate()
    (folder / "in/a.txt").write_text("hello world")
    assert doit(folder).executed == ["copy:a"]


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_a_parallel_run_at_once(folder: Path, kind: signal.Signals) -> None:
    (folder / "in/b.txt").write_text("slow")
    process = start_doit(folder, "-n", "2")
    wait_until((folder / "copying").exists)
    wait_until((folder / "build/a/joined").exists)
    start = time.monotonic()
    process.send_signal(kind)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - start < 5
    assert err.count("\n") == 1, err
    assert leftovers(folder) == []
    (folder / "in/b.txt").write_text("quick")
    # `join:a` stood there when the signal came; whether it was recorded, too, is a matter of milliseconds.
    assert [name for name in doit(folder).executed if name != "join:a"] == ["copy:b", "join:b"]


def test_a_name_that_matches_nothing_is_an_error(folder: Path) -> None:
    run = doit(folder, "jion:*")
    assert (run.code, run.out) == (3, "")
    assert "no task has a name like that" in run.err


@pytest.mark.parametrize(("text", "code", "told"), [("wrong", 3, "says wrong"), ("broken", 2, "RuntimeError: boom")])
def test_a_failure_leaves_nothing_and_has_its_exit_code(folder: Path, text: str, code: int, told: str) -> None:
    (folder / "in/a.txt").write_text(text)
    (folder / "in/b.txt").write_text("fine")
    run = doit(folder, "--continue")
    assert run.code == code
    assert told in run.err
    assert "Traceback" not in run.err
    assert "1 failed, 1 not reached" in run.out
    assert run.executed == ["copy:a", "copy:b", "join:b"]
    assert not (folder / "build/a/upper").exists()
    assert leftovers(folder) == []
    assert "Traceback" in doit(folder, BUILD_RULES_DEBUG="1").err


def test_a_step_that_writes_nothing_fails(folder: Path) -> None:
    (folder / "in/a.txt").write_text("nothing")
    run = doit(folder)
    assert run.code == 2
    assert "without writing build/a/upper" in run.err


def test_an_input_edited_meanwhile_is_not_recorded(folder: Path) -> None:
    (folder / "in/a.txt").write_text("edit")
    run = doit(folder)
    assert run.code == 1
    assert "in/a.txt changed while" in run.err
    assert not (folder / "build/a/upper").exists()
    assert doit(folder).executed == ["copy:a", "join:a"]
    assert (folder / "build/a/upper").read_text() == "OTHER"


def test_an_input_edited_after_the_step_is_noticed_next_time(folder: Path) -> None:
    # The edit comes while the large output is flushed and hashed, after the inputs were checked.
    (folder / "in/a.txt").write_text("late")
    doit(folder)
    wait_until(lambda: (folder / "in/a.txt").read_text() == "other")
    assert doit(folder).executed[0] == "copy:a"
    assert (folder / "build/a/upper").read_text() == "OTHER"


def test_a_file_that_a_step_turned_out_to_read_is_an_input(folder: Path) -> None:
    (folder / "more.txt").write_text("one")
    (folder / "in/a.txt").write_text("refers more.txt")
    assert doit(folder).executed == ["copy:a", "join:a"]
    assert doit(folder).executed == []
    (folder / "more.txt").touch()
    assert doit(folder).executed == []
    (folder / "more.txt").write_text("two")
    assert doit(folder).executed == ["copy:a", "join:a"]
    (folder / "more.txt").unlink()
    run = doit(folder)
    assert (run.executed, run.code) == (["copy:a"], 2)


def test_a_full_disk_is_told(folder: Path) -> None:
    (folder / "in/a.txt").write_text("large")
    # A limit on the size of files stands for the full disk: the same errno family, without root.
    (folder / "dodo.py").write_text(
        DODO + "\nimport resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    )
    run = doit(folder)
    assert run.code == 3
    assert "no space left" in run.err
    assert leftovers(folder) == []
    assert not (folder / "build/a/upper").exists()


def test_damaged_records_are_set_aside(folder: Path) -> None:
    doit(folder)
    records = folder / "build/.records.db"
    for damage in (b"", records.read_bytes()[:1000], b"not a database at all" * 100):
        records.write_bytes(damage)
        run = doit(folder)
        assert run.code == 0
        assert ("is damaged" in run.err) == bool(damage)
        assert doit(folder).executed == []


def test_sound_records_out_of_reach_are_not_thrown_away(folder: Path) -> None:
    doit(folder)
    with sqlite3.connect(folder / "build/.records.db", isolation_level=None) as other:
        other.execute("pragma locking_mode=exclusive")
        other.execute("begin exclusive")
        run = doit(folder)
        assert run.code != 0
        assert "locked" in run.err
        assert "nothing to do" not in run.out
        assert "Traceback" not in run.err
    other.close()
    assert doit(folder).executed == []


def test_a_second_doit_waits_for_the_first(folder: Path) -> None:
    (folder / "steps.py").write_text(STEPS.replace("sleep(30)", "sleep(2)"))
    (folder / "in/a.txt").write_text("slow")
    first = start_doit(folder)
    wait_until((folder / "copying").exists)
    second = doit(folder)
    assert f"waiting for the doit that is building here (process {first.pid})" in second.err
    assert second.executed == []
    assert first.wait() == 0
    first.communicate()


def test_parallel_runs_build_the_same(folder: Path) -> None:
    for name in "bcdef":
        (folder / f"in/{name}.txt").write_text(f"text {name}")
    run = doit(folder, "-n", "3")
    assert (run.code, len(run.executed)) == (0, 12)
    assert doit(folder).executed == []


def test_clean_forget_and_list_work_as_everywhere(folder: Path) -> None:
    doit(folder)
    assert "join:a" in doit(folder, "list", "--all").out
    assert doit(folder, "clean", "join").code == 0
    assert not (folder / "build/a/joined").exists()
    assert doit(folder).executed == ["join:a"]
    assert doit(folder, "forget", "join:a").code == 0
    assert doit(folder).executed == ["join:a"]
    assert doit(folder, "forget", "--all").code == 0
    assert doit(folder).executed == ["copy:a", "join:a"]


def test_listing_makes_no_build_folder(folder: Path) -> None:
    assert doit(folder, "list").code == 0
    assert not (folder / "build").exists()


def test_time_in_the_file_system_is_not_trusted_for_order(folder: Path) -> None:
    doit(folder)
    future = time.time() + 10_000
    os.utime(folder / "in/a.txt", (future, future))
    assert doit(folder).executed == []
