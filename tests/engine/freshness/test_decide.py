"""Why a step runs: every kind of cause, told with what was and what is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.freshness.decide import find_causes, find_statuses
from build_rules.engine.freshness.fingerprint import fingerprint
from build_rules.engine.freshness.key import Step
from build_rules.engine.freshness.records import record_of
from build_rules.engine.memory.failures import note_failures, read_failures
from build_rules.engine.memory.texts import first_difference, keep_texts, read_text_of
from build_rules.engine.places import RECORDS
from build_rules.engine.running.rule import Rule
from tests.engine.memory.sql import change

RULE = Rule("copy", "steps:copy", ("errors.py",))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("build").mkdir()
    for name in ("a.txt", "b.txt", "out"):
        Path(name).write_text(f"{name} one\n{name} two\n")


def step(**changes: Any) -> Step:
    known: dict[str, Any] = {
        "rule": RULE,
        "inputs": {"first": Path("a.txt"), "others": (Path("b.txt"),)},
        "outputs": {"out": Path("out")},
        "settings": {"count": 3, "preset": {"name": "fast", "wide": ["boxes"]}},
        "tools": {"onnx": "1.16"},
        "name": "copy:x",
    }
    return Step(**(known | changes))


def record(of: Step, *discovered: Path) -> dict[str, Any]:
    """What a run of the step would have recorded."""
    keep_texts({str(path): fingerprint(path).sha256 for path in of.input_files()})
    read = {path: fingerprint(path) for path in (*of.input_files(), *discovered)}
    return record_of(of, read, {path: fingerprint(path) for path in of.outputs.values()}, "it was asked for")


def causes(now: Step, recorded: dict[str, Any]) -> list[str]:
    return [str(cause) for cause in find_causes(now, recorded)]


def test_nothing_has_changed() -> None:
    assert causes(step(), record(step())) == []


def test_never_built() -> None:
    assert causes(step(), {}) == ["it has never been built"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"count": 4, "preset": {"name": "fast", "wide": ["boxes"]}}, ["setting count changed: 3 -> 4"]),
        (
            {"count": 3, "preset": {"name": "balanced", "wide": ["boxes", "scores"]}},
            ["setting preset.name changed: fast -> balanced", "setting preset.wide changed: boxes -> boxes, scores"],
        ),
        ({"count": 3, "preset": {"name": "fast", "wide": []}}, ["setting preset.wide changed: boxes -> nothing"]),
        ({"preset": {"name": "fast", "wide": ["boxes"]}}, ["setting count changed: 3 -> nothing"]),
        (
            {"count": 3, "preset": {"name": "fast", "wide": ["boxes"]}, "new": None},
            ["setting new changed: nothing -> nothing"],
        ),
    ],
)
def test_settings(settings: dict[str, Any], told: list[str]) -> None:
    assert causes(step(settings=settings), record(step())) == told


def test_tools_and_code() -> None:
    recorded = record(step())
    assert causes(step(tools={"onnx": "1.17"}), recorded) == ["onnx changed: 1.16 -> 1.17"]
    assert causes(step(rule=Rule("copy", "steps:copy", ("errors.py",), version=2)), recorded) == [
        "the rule's own code changed"
    ]


def test_inputs() -> None:
    recorded = record(step())
    Path("a.txt").write_text("a.txt one\na.txt 2\n")
    Path("c.txt").write_text("new")
    now = step(inputs={"first": Path("a.txt"), "others": (Path("c.txt"),)})
    Path("b.txt").unlink()
    assert causes(now, recorded) == [
        "a.txt changed: line 2: 'a.txt two' -> 'a.txt 2'",
        "c.txt is a new input",
        "b.txt is no longer there",
    ]
    Path("a.txt").unlink()
    assert "a.txt is missing" in causes(now, recorded)


READ: dict[str, dict[str, Any]] = {
    "a.txt is no longer read": {"first": Path("b.txt"), "others": ()},
    "b.txt is no longer read": {"first": Path("a.txt"), "others": ()},
    "b.txt is read as first now, not as others": {"first": Path("b.txt"), "others": (Path("a.txt"),)},
    "b.txt is no longer read as others": {"first": Path("a.txt"), "others": (), "further": (Path("b.txt"),)},
    "a.txt is read as others now, not as first": {"first": Path("a.txt"), "others": (Path("a.txt"), Path("b.txt"))},
}


@pytest.mark.parametrize("cause", READ)
def test_what_is_read_otherwise(cause: str) -> None:
    """All of it is what it was, and lies where it lay."""
    told = causes(step(inputs=READ[cause]), record(step()))
    assert cause in told
    assert all("changed" not in other for other in told)


def test_another_order() -> None:
    Path("c.txt").write_text("c")
    names = [Path(name) for name in ("a.txt", "b.txt", "c.txt")]
    recorded = record(step(inputs={"images": names}))
    assert causes(step(inputs={"images": names[::-1]}), recorded) == ["c.txt is read at another place among images"]
    assert causes(step(inputs={"images": [*names, names[0]]}), recorded) == []


def test_what_a_step_found_itself() -> None:
    recorded = record(step(), Path("out"))
    assert causes(step(), recorded) == []
    own = record(step(inputs={"first": Path("a.txt")}, outputs={"out": Path("out")}), Path("b.txt"))
    now = step(inputs={"first": Path("a.txt")})
    assert causes(now, own) == []
    assert causes(step(), own) == ["b.txt is read as others now, not found by the step"]
    Path("b.txt").write_text("changed")
    assert causes(now, own) == ["b.txt changed: line 1: 'b.txt one' -> 'changed'"]
    Path("b.txt").unlink()
    assert causes(now, own) == ["b.txt is no longer there"]


@pytest.mark.parametrize(
    "former",
    [
        {"key": {"rule": "copy"}, "inputs": {"a.txt": [1, 2, 3, 4, "5", True]}, "outputs": {}},
        {"key": {"rule": "copy"}, "outputs": {}},
        {"answer": 42},
    ],
)
def test_a_record_of_another_form_counts_as_none(former: dict[str, Any]) -> None:
    assert causes(step(), former) == ["it has never been built"]


def test_the_reason_is_found_without_looking_at_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = record(step())
    Path("out").unlink()

    def never(*arguments: object) -> None:
        raise AssertionError("inputs are looked at")

    monkeypatch.setattr("build_rules.engine.freshness.decide._input_causes", never)
    assert str(next(find_causes(step(), recorded))) == "out is missing"


def test_outputs() -> None:
    recorded = record(step())
    Path("out").write_text("edited")
    assert causes(step(), recorded) == ["out is not what the step wrote"]
    Path("out").unlink()
    assert causes(step(), recorded) == ["out is missing"]
    assert causes(step(outputs={"out": Path("out"), "more": Path("more")}), recorded)[-1] == "more is a new output"


def test_a_step_waits_for_what_comes_before_it() -> None:
    first = step()
    second = step(inputs={"first": Path("out")}, outputs={"out": Path("end")}, name="copy:y")
    Path("end").write_text("end")
    records = {"copy:x": record(first), "copy:y": record(second)}
    steps, writers = {"copy:y": second, "copy:x": first}, {"out": "copy:x", "end": "copy:y"}
    assert {
        name: status.state for name, status in find_statuses(steps, steps, records.__getitem__, writers).items()
    } == {
        "copy:x": "fresh",
        "copy:y": "fresh",
    }
    Path("a.txt").write_text("changed")
    statuses = find_statuses(steps, steps, records.__getitem__, writers)
    assert (statuses["copy:x"].state, statuses["copy:y"].state, statuses["copy:y"].after) == (
        "stale",
        "waits",
        ("copy:x",),
    )
    assert find_statuses(steps, steps, lambda name: {}, writers)["copy:y"].state == "never"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("a\nb\n", "a\nc\n", "line 2: 'b' -> 'c'"),
        ("a\n", "a\nb\n", "line 2: new: 'b'"),
        ("a\nb\n", "a\n", "line 2: gone: 'b'"),
        ("a\n", "a\n", ""),
        (f"{'x' * 90}1{'y' * 90}\n", f"{'x' * 90}2{'y' * 90}\n", f"'...{'x' * 20}2{'y' * 39}...'"),
    ],
)
def test_the_first_line_that_differs(old: str, new: str, told: str) -> None:
    assert told in first_difference(old, new.splitlines())


def test_texts_are_kept_when_they_are_small_texts() -> None:
    Path("large.txt").write_text("x" * 100_000)
    Path("binary.bin").write_bytes(b"\0")
    digests = {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("a.txt", "large.txt", "binary.bin")
    }
    keep_texts({**digests, "gone.txt": "4"})
    found = [read_text_of(digest) for digest in (*digests.values(), "4")]
    assert found == ["a.txt one\na.txt two\n", None, None, None]
    Path(RECORDS).write_bytes(b"garbage" * 100)
    assert read_text_of(digests["a.txt"]) is None
    keep_texts(digests)


def test_a_text_that_has_changed_since_is_not_kept_as_what_it_was() -> None:
    before = hashlib.sha256(Path("a.txt").read_bytes()).hexdigest()
    Path("a.txt").write_text("edited since\n")
    keep_texts({"a.txt": before})
    assert read_text_of(before) is None


def test_failures_are_noted_until_they_are_mended() -> None:
    note_failures({"copy:x": "boom", "copy:y": "bang"}, [])
    note_failures({"copy:z": "crash"}, ["copy:x"])
    assert {task: failure.text for task, failure in read_failures().items()} == {"copy:y": "bang", "copy:z": "crash"}
    change("update failures set moment = 'yesterday' where task = 'copy:y'")
    assert list(read_failures()) == ["copy:z"]
    change("drop table failures")
    assert read_failures() == {}
    note_failures({"copy:x": "boom"}, [])
    assert list(read_failures()) == ["copy:x"]
    assert sorted(path.name for path in Path("build").iterdir()) == [".records.db"]
