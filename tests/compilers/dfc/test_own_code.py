"""What is in no key of a stage, because it only tells of it, makes nothing of what the stage leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.compilers.dfc import Dfc, compile_network, drive, work_done
from build_rules.compilers.dfc.launch import invocation
from build_rules.compilers.protocol import CompileJob, OptimizeJob, ParseJob
from build_rules.records.stage_report import dump_report
from tests.compilers.nets import NORMAL, Build, detector
from tests.dfc_double.environment import make_environment


class Babbling:
    """Tells something else of every line."""

    def feed(self, line: str) -> str:
        return f"{line!r} again"


def made(dfc: Dfc, folder: Path) -> list[bytes | str]:
    """What all stages leave: files, and reports."""
    build = Build(folder, *detector())
    build.script.write_text(f"{NORMAL}model_optimization_flavor(optimization_level=0, compression_level=0)\n")
    reports = (
        dfc.parse(ParseJob(build.onnx, "net", "hailo8l", build.ends, build.parsed)),
        dfc.optimize(OptimizeJob(build.parsed, build.script, build.snapshot, build.har)),
        dfc.compile(CompileJob(build.har, build.hef)),
    )
    return [*(path.read_bytes() for path in (build.parsed, build.har, build.hef)), *map(dump_report, reports)]


def test_another_way_to_tell_makes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dfc = Dfc(python=str(make_environment(tmp_path / "dfc")))
    dfc = dfc.informed(dfc.find_out(None).facts)
    before = made(dfc, tmp_path / "before")
    for module, name in ((work_done, "explain"), (compile_network, "explain")):
        monkeypatch.delattr(module, name)
    monkeypatch.setattr(work_done, "Follower", Babbling)
    monkeypatch.setattr(work_done, "check_same", lambda found, done: None)
    monkeypatch.setattr(drive, "check_before", lambda dfc, request, need_mb, tell: tell("all is lost"))
    monkeypatch.setattr(drive, "layer_origins", lambda hn: {})
    monkeypatch.setattr(invocation, "failure_of", lambda *arguments, **words: None)
    assert made(dfc, tmp_path / "after") == before
