"""Looking at the place where the DFC runs: with the double, and before a stage without starting anything."""

from __future__ import annotations

import subprocess
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from build_rules.compilers.dfc import Dfc
from build_rules.compilers.dfc.examination import check_before, examine, look
from build_rules.compilers.protocol import TargetRequest
from build_rules.errors import InputError
from tests.dfc_double.environment import make_environment

Usage = namedtuple("Usage", "total used free")
FAST = TargetRequest("a:hailo8l-fast", "hailo8l", 1, 288)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("outside") / "dfc", gpus=2, licence=["hailo8l"])


def test_what_there_is(python: Path) -> None:
    facts = look(Dfc(python=str(python), gpus="all"), ("hailo8", "hailo8l"))
    assert (facts.way, facts.dfc, facts.failure) == ("python", "3.33.0", None)
    assert (facts.system, facts.machine) != (None, None)
    assert facts.python is not None
    assert facts.numpy is not None
    assert facts.memory_mb is not None
    assert facts.disk_mb is not None
    assert len(facts.gpus or ()) == 2
    assert facts.accepted == ("hailo8l",)
    assert [arch for arch, _ in facts.refused] == ["hailo8"]
    assert len(look(Dfc(python=str(python), gpus="device=1")).gpus or ()) == 1
    assert look(Dfc(python=str(python))).gpus == ()  # hidden from it


def test_a_compiler_that_is_nowhere() -> None:
    (found,) = examine(Dfc(), (FAST,))
    assert (found.subject, found.state) == ("DFC", "error")
    assert 'python = "../dfc/bin/python"' in found.text


def test_what_cannot_be_reached_is_told_and_this_machine_is_not_taken_for_another(tmp_path: Path) -> None:
    gone = look(Dfc(python=str(tmp_path / "gone")))
    assert gone.failure is not None
    assert gone.memory_mb is not None
    elsewhere = look(Dfc(command=("no-such-program-here", "python")))
    assert elsewhere.failure is not None
    assert (elsewhere.memory_mb, elsewhere.disk_mb, elsewhere.machine) == (None, None, None)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which nothing is wrong; no program can be started on it."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if "SIZE" in name else 64_000_000_000 // 4096)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 500_000_000_000))


FOUND = Dfc(python="../dfc/bin/python", environment=(("dfc", "3.33.0"), ("numpy", "1.26.4"), ("python", "3.10.12")))


def told(dfc: Dfc = FOUND, request: TargetRequest = FAST, need_mb: int = 0) -> list[str]:
    lines: list[str] = []
    check_before(dfc, request, need_mb, lines.append)
    return lines


@pytest.mark.usefixtures("machine")
def test_before_a_stage_nothing_is_told_when_nothing_is_wrong() -> None:
    assert told() == []


@pytest.mark.usefixtures("machine")
def test_before_a_stage_what_it_cannot_be_done_with_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"\[dfc\], version: DFC 5.2.0 does not compile for hailo8l"):
        told(replace(FOUND, environment=(("dfc", "5.2.0"),)))
    with pytest.raises(InputError, match="asks for 1024 images, and it has 288"):
        told(request=replace(FAST, finetune=1024))
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 1_000_000_000))
    with pytest.raises(InputError, match=r"1.0 GB are free .* this step writes 1.3 GB"):
        told(need_mb=1_260)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(InputError, match="the DFC runs on Linux on x86-64 alone"):
        told()


@pytest.mark.usefixtures("machine")
def test_before_a_stage_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = told(replace(FOUND, environment=(("dfc", "3.99.0"),)))
    assert line.startswith("version: DFC 3.99.0 is newer than those")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 3_000_000_000))
    (line,) = told()
    assert line.startswith("disk: 3.0 GB are free where the DFC works.")
    away = Dfc(command=("ssh", "gpu1", "python"), environment=FOUND.environment)
    assert told(away) == []  # this machine is not the one that compiles


@pytest.mark.usefixtures("machine")
def test_before_a_stage_what_others_tell_is_not_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if "SIZE" in name else 8_000_000_000 // 4096)
    assert told(request=replace(FAST, images=12)) == []
