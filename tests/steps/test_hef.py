"""The step that compiles: what is not what was asked for ends it, whichever compiler made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.protocol import CompileJob
from build_rules.errors import InputError
from build_rules.records.stage_report import StageReport, load_report
from build_rules.steps import hef
from tests.compilers.nets import NORMAL, Build, detector

WIDE = "quantization_param(output_layer1, precision_mode=a16_w16)\n"


class Reporting(Emulator):
    """An emulator that has something to say."""

    def compile(self, job: CompileJob) -> StageReport:
        super().compile(job)
        return StageReport({"contexts": 2}, ("it took two contexts",))


class Stale(Emulator):
    """A compiler that delivers what another HAR was compiled to."""

    def compile(self, job: CompileJob) -> StageReport:
        return super().compile(CompileJob(job.har.with_name("other.har"), job.output))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`model.har` with its first output in 16 bits, as `model.alls` says, and `other.har` with it in 8."""
    built = Build(tmp_path_factory.mktemp("hef"), *detector()).parse()
    built.optimize(NORMAL)
    built.har.rename(built.folder / "other.har")
    return built.optimize(NORMAL + WIDE)


def compiled(build: Build, folder: Path, compiler: Any, hw_arch: str = "hailo8l") -> StageReport:
    placement = folder / "compile.alls"
    placement.touch()
    hef.run(build.har, placement, build.script, folder / "model.hef", folder / "hef.json", compiler, hw_arch)
    return load_report(folder / "hef.json")


def test_what_the_compiler_reports_is_written_down(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compiled(build, tmp_path, Emulator()) == StageReport()
    assert capsys.readouterr().out == ""
    assert compiled(build, tmp_path, Reporting()) == StageReport({"contexts": 2}, ("it took two contexts",))
    assert capsys.readouterr().out == "   warning: it took two contexts\n"


@pytest.mark.parametrize(
    ("compiler", "hw_arch", "message"),
    [
        (Stale(), "hailo8l", r"output net/\S+ \(ONNX node \S+\) is delivered in 8 bits instead of 16"),
        (Emulator(), "hailo8", "it is for hailo8l, and the target is hailo8"),
    ],
)
def test_what_is_not_what_was_asked_for_ends_the_step(
    build: Build, tmp_path: Path, compiler: Emulator, hw_arch: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compiled(build, tmp_path, compiler, hw_arch)
    assert not (tmp_path / "hef.json").exists()
