"""The repository that doit was started in: the order of its models and targets, and what the environment says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from doit.exceptions import InvalidDodoFile

from build_rules import workspace
from build_rules.declared.model import Model, load_models
from build_rules.declared.settings import Settings, Target
from build_rules.engine.memory.durations import History
from build_rules.presets import PRESETS


def models(folder: Path, *names: str, targets: tuple[Target, ...] = (Target(),)) -> tuple[Model, ...]:
    """Models of a repository as they are declared."""
    for name in names:
        (folder / name / "calibration").mkdir(parents=True)
        (folder / name / "m.onnx").write_bytes(b"")
    return load_models(folder, Settings(targets=targets))


def test_what_is_made_fastest_comes_first(tmp_path: Path) -> None:
    declared = tuple(
        Target(arch, preset) for preset in ("accurate", "balanced", "fast") for arch in ("hailo8l", "hailo8")
    )
    (model,) = models(tmp_path, "a", targets=declared)
    expected = [(preset, arch) for preset in PRESETS for arch in ("hailo8l", "hailo8")]
    assert [(target.preset, target.hw_arch) for _, target in workspace.targets((model,))] == expected
    assert [owner for owner, _ in workspace.targets((model,))] == [model] * 6
    assert workspace.targets(()) == ()


@pytest.mark.parametrize(("processes", "expected"), [(0, "abcd"), (1, "abcd"), (2, "bdca")])
def test_what_took_longest_is_started_first_where_steps_run_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, expected: str
) -> None:
    """A model of which nobody knows may take longest of all."""
    monkeypatch.setattr(workspace, "command_line", lambda: SimpleNamespace(processes=processes))
    monkeypatch.setattr(History, "by_owner", lambda _: {"a": 1.0, "c": 2.0, "d": 3.0})
    ordered = workspace._longest_first(models(tmp_path, *"abcd"))
    assert "".join(model.name for model in ordered) == expected


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("0", 0), ("007", 7), ("99999999999", 99_999_999_999)])
def test_the_time_that_outputs_are_to_have(monkeypatch: pytest.MonkeyPatch, text: str, seconds: int | None) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    assert workspace.source_date_epoch() == seconds


@pytest.mark.parametrize("text", ["-1", "1.5", "now", " 1", "\u00b2", "\u0663", "100000000000"])
def test_a_time_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(InvalidDodoFile, match=rf"SOURCE_DATE_EPOCH={text} is not possible; expected whole seconds"):
        workspace.source_date_epoch()


def test_no_time_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert workspace.source_date_epoch() is None
