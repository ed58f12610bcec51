"""An input that changes or goes away while a step reads it: what is told, whatever came of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from build_rules.engine.freshness import fingerprint
from build_rules.engine.freshness.index import Marks
from build_rules.engine.running import changes
from build_rules.engine.running.changes import Reader
from build_rules.engine.running.failure import InputChangedError, StepDiedError, failure_of
from build_rules.engine.running.isolate import call_isolated
from build_rules.engine.running.note_reads import note_reads
from build_rules.engine.running.publish import produce
from build_rules.errors import InputError

READER = Reader("har:m:t", "m")
Step = Callable[..., Sequence[Path] | None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "weights"):
        Path(name).write_text(f"the content of {name}")
    return tmp_path


def run(step: Step, reader: Reader = READER, out: str = "out") -> None:
    produce("har", step, {"a": Path("a"), "more": (Path("b"),)}, {"out": Path("build") / out}, {}, None, reader)


def replaced() -> None:
    Path("new").write_text("the content of x")
    Path("new").replace("b")


def to_folder() -> None:
    Path("b").unlink()
    Path("b").mkdir()


def to_pipe() -> None:
    Path("b").unlink()
    os.mkfifo("b")


CHANGES: dict[str, tuple[Callable[[], object], str]] = {
    "written": (lambda: Path("b").write_text("other"), "b changed while har:m:t read it; run doit again."),
    "cut short": (lambda: os.truncate("b", 3), "b changed while har:m:t read it; run doit again."),
    "replaced": (replaced, "b changed while har:m:t read it; run doit again."),
    "removed": (
        lambda: Path("b").unlink(),
        "b disappeared while har:m:t read it; put it back if it is needed, and run doit again.",
    ),
    "a folder": (
        to_folder,
        "b became a folder while har:m:t read it; put it back if it is needed, and run doit again.",
    ),
    "a pipe": (
        to_pipe,
        "b became no regular file while har:m:t read it; put it back if it is needed, and run doit again.",
    ),
}

ENDS: dict[str, tuple[BaseException | None, str]] = {
    "well": (None, ""),
    "wrong input": (InputError("b: ends too early."), "b: ends too early."),
    "the proof": (InputError("the cut is wrong: x; please report this model.", facts="x"), "x"),
    "unexpected": (ValueError("no such key"), "ValueError: no such key"),
    "a panic": (type("PanicException", (BaseException,), {})("boom"), "PanicException: boom"),
    "killed": (StepDiedError("the step's process ended with signal 7"), "the step's process ended with signal 7"),
    "disk full": (OSError(28, "No space left on device"), "build: no space left"),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("end", ENDS)
def test_the_change_is_told_first_and_what_the_step_said_below(folder: Path, how: str, end: str) -> None:
    change, told = CHANGES[how]
    error, said = ENDS[end]

    def step(*, out: Path, **inputs: object) -> None:
        out.write_text("half")
        change()
        if error is not None:
            raise error

    with pytest.raises(InputChangedError) as raised:
        run(step)
    failure = failure_of(raised.value)
    first, *below = failure.get_msg().splitlines()
    assert first == told
    assert below == [] if not said else below[0].strip().startswith(said)
    assert "report" not in failure.get_msg()
    assert "fault" not in failure.get_msg()
    assert not Path("build/out").exists()


def test_a_step_that_fails_by_itself_says_what_it_said(folder: Path) -> None:
    def step(**files: object) -> None:
        os.utime("b", ns=(1, 1))  # another content may have been there meanwhile: nobody knows
        raise InputError("a: is wrong.")

    with pytest.raises(InputChangedError):
        run(step)

    def wrong(**files: object) -> None:
        raise InputError("a: is wrong.")

    with pytest.raises(InputError, match=r"^a: is wrong\.$"):
        run(wrong)


@pytest.mark.parametrize("returns", [True, False], ids=["succeeds", "fails"])
@pytest.mark.parametrize("how", ["changed", "disappeared"])
def test_files_that_a_step_turns_out_to_read(folder: Path, how: str, returns: bool) -> None:
    def step(*, out: Path, **inputs: object) -> Sequence[Path]:
        note_reads(out, [Path("weights"), Path("labels")])
        if how == "changed":
            Path("weights").write_text("others")
        else:
            Path("weights").unlink()
        if not returns:
            raise InputError("the cut is wrong; please report this model.", facts="it differs")
        out.write_text("done")
        return [Path("weights")]

    with pytest.raises(InputChangedError, match=f"^weights {how} while har:m:t read it") as raised:
        run(step)
    assert raised.value.said == ("" if returns else "it differs")


def test_a_noted_file_that_was_written_after_the_step_began(folder: Path) -> None:
    def step(*, out: Path, **inputs: object) -> None:
        time.sleep(0.02)
        Path("weights").write_text("others")
        note_reads(out, [Path("weights")])
        raise InputError("weights: has too few bytes.")

    with pytest.raises(InputChangedError, match=r"^weights changed while"):
        run(step)


def test_a_noted_file_that_comes_into_being(folder: Path) -> None:
    def step(*, out: Path, **inputs: object) -> None:
        note_reads(out, [Path("labels")])
        Path("labels").write_text("cat")
        raise InputError("labels: there is no such file.")

    with pytest.raises(InputChangedError, match=r"^labels changed while"):
        run(step)


@pytest.mark.parametrize("gone", [True, False], ids=["removed", "a folder"])
def test_an_input_that_is_gone_before_its_step_begins(folder: Path, gone: bool) -> None:
    Path("b").unlink()
    if not gone:
        Path("b").mkdir()
    wanted = "b disappeared before har:m:t could read it" if gone else "b: is a folder, where har:m:t reads a file"
    with pytest.raises((InputChangedError, InputError), match=f"^{wanted}"):
        run(lambda **files: None)
    assert "fault" not in failure_of(InputChangedError("x")).get_msg()


def test_steps_of_one_model_read_the_same_files(folder: Path) -> None:
    def step(*, out: Path, **inputs: object) -> None:
        out.write_text("done")

    run(step, Reader("split:one", "one"), "one")
    Path("a").write_text("another network")
    run(step, Reader("split:two", "two"), "two")  # another model has its own view of what it shares
    with pytest.raises(
        InputChangedError, match=r"^a changed after split:one read it, before meta:one:t read it; run doit"
    ):
        run(step, Reader("meta:one:t", "one"), "one-meta")
    shutil.copy("b", "a")


def cut_short(*, path: str) -> None:
    """Map a file, let it be cut short, and read it: the system kills who does."""
    import mmap

    with Path(path).open("r+b") as stream:
        mapped = mmap.mmap(stream.fileno(), 1 << 16, access=mmap.ACCESS_READ)
        os.truncate(path, 0)
        mapped.read(10)


def test_a_process_that_dies_because_its_input_is_cut_short(folder: Path) -> None:
    Path("b").write_bytes(bytes(1 << 16))

    def step(**files: object) -> None:
        call_isolated("tests.engine.running.test_changes:cut_short", {"path": "b"})

    with pytest.raises(InputChangedError, match=r"^b changed while har:m:t read it") as raised:
        run(step)
    assert "signal 7" in raised.value.said
    Path("weights").write_bytes(bytes(1 << 16))
    with pytest.raises(StepDiedError, match="a file that it was reading was cut short"):
        call_isolated("tests.engine.running.test_changes:cut_short", {"path": "weights"})


def test_a_file_whose_marks_never_tell_is_read_again_after_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked at before the step began, too; what was seen then says nothing of what the step has read."""
    same = 1_700_000_000_000_000_000
    for module in (changes, fingerprint):
        monkeypatch.setattr(module, "marks_of", lambda found: Marks(found.st_size, same, same, found.st_ino))
    path = tmp_path / "in.onnx"
    path.write_text("one")
    assert fingerprint.is_unchanged(path, fingerprint.fingerprint(path))
    before = {path: fingerprint.fingerprint(path)}
    changes.check_unchanged(before, "step:m")
    path.write_text("two")
    with pytest.raises(InputChangedError, match="changed while step:m read it"):
        changes.check_unchanged(before, "step:m")
