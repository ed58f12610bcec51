"""The text of `doit doctor`: what is said once, what to do below it, and nothing of the person who sends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.commands.doctor_report import anonymous, checklist_lines, diagnosis_lines, summary_line
from build_rules.compilers.protocol import Diagnosis

WARNING = Diagnosis("a:hailo8l-fast", "warning", "asks for too much.", "Ask for less.")


def test_targets_of_which_the_same_is_said_share_a_line() -> None:
    others = [Diagnosis(f"m{number}:x", "warning", WARNING.text, WARNING.advice) for number in range(500)]
    lines = diagnosis_lines([Diagnosis("GPU", "ok", "one."), WARNING, *others])
    assert len(lines) == 3
    assert "a:hailo8l-fast  and 500 more: asks for too much." in lines[1]
    assert lines[2].strip() == "-> Ask for less."
    assert lines[1].index("and") == lines[2].index("->")
    apart = [WARNING, Diagnosis("b:x", "ok", "enough."), others[0]]
    assert [line.strip()[:7] for line in diagnosis_lines(apart)] == ["warning", "-> Ask f"[:7], "ok     "]
    assert summary_line(apart) == "1 warning"


def test_what_was_found_cannot_steer_a_terminal() -> None:
    (line,) = diagnosis_lines([Diagnosis("DFC", "error", "\x1b[2Jgone\nnext")])
    assert line.isprintable()


@pytest.mark.parametrize(
    ("states", "summary"),
    [
        ((), "nothing is wrong"),
        (("ok", "unknown"), "nothing is wrong"),
        (("warning",), "1 warning"),
        (("error", "error", "warning"), "2 errors, 1 warning"),
        (("error",), "1 error"),
    ],
)
def test_the_summary(states: tuple[str, ...], summary: str) -> None:
    assert summary_line([Diagnosis("x", state, str(i)) for i, state in enumerate(states)]) == summary  # type: ignore[arg-type]


def test_the_checklist_has_empty_boxes() -> None:
    assert checklist_lines(()) == []
    assert checklist_lines(("one", "two"))[-2:] == ["  [ ] one", "  [ ] two"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("python = /opt/dfc/bin/python", "python = /opt/dfc/bin/python"),
        ("/home/anna/dfc/bin/python: gone", "~/dfc/bin/python: gone"),
        ("/Users/anna/x and /root/y", "~/x and ~/y"),
        ("../dfc/bin/python", "../dfc/bin/python"),
        ("ssh anna@gpu1 said no", "ssh ...@gpu1 said no"),
        ("https://anna:hunter2@cache:80/x", "https://...@cache:80/x"),
        ("hailo_ai_sw_suite@sha256:abcd", "hailo_ai_sw_suite@sha256:abcd"),
        ("AWS_SECRET_ACCESS_KEY=abc/def --token xyz", "AWS_SECRET_ACCESS_KEY=... --token ..."),
        ("it asks for a password: let it log in by itself", "it asks for a password: let it log in by itself"),
        ("hailo8l-fast: level 2 with 288 images", "hailo8l-fast: level 2 with 288 images"),
        ("/srv/roots/x", "/srv/roots/x"),
    ],
)
def test_nothing_of_the_person_is_sent(text: str, shown: str) -> None:
    assert anonymous(text) == shown


def test_the_folders_of_this_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "people/anna"
    (home / "w").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "anna")
    monkeypatch.chdir(home / "w")
    assert anonymous(f"{Path.cwd()}/models and {home}/dfc and {home}x") == f"./models and ~/dfc and {home}x"
    assert anonymous("/scratch/anna/dfc and /scratch/annabel") == "/scratch/.../dfc and /scratch/annabel"
