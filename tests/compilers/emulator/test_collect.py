"""What was observed once serves every preset, gives the bytes that observing again would, and is taken for no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import onnx
import pytest

from build_rules.compilers import in_order
from build_rules.compilers.emulator import Emulator, observe
from build_rules.compilers.protocol import OptimizeJob, StatisticsJob, Surroundings
from tests.compilers.nets import NORMAL, Build, attention, detector

STD = (255.0, 255.0, 255.0)
CONCATENATION = "quantization_param({concat*}, precision_mode=a16_w16)\n"
LEVELS = [f"model_optimization_flavor(optimization_level={level}, compression_level=0)\n" for level in (0, 1, 2)]
ALL = "model_optimization_config(calibration, batch_size=8, calibset_size=24)\n"


def collected(build: Build, name: str = "statistics.npz", std: tuple[float, ...] = STD) -> Path:
    Emulator().collect(StatisticsJob(build.parsed, build.snapshot, (0.0, 0.0, 0.0), std, build.folder / name))
    return build.folder / name


def quantized(build: Build, script: str, statistics: Path | None = None) -> bytes:
    build.script.write_text(NORMAL + script)
    Emulator().optimize(OptimizeJob(build.parsed, build.script, build.snapshot, build.har, statistics=statistics))
    return build.har.read_bytes()


def refuse_to_run(*arguments: object) -> NoReturn:
    raise AssertionError("the network is observed again")


@pytest.mark.parametrize("net", [detector, attention])
def test_presets_share_it_and_are_what_they_are_without(
    net: Callable[[], tuple[onnx.ModelProto, list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(tmp_path, *net()).parse()
    alone = [quantized(build, ALL + level) for level in LEVELS]
    statistics = collected(build)
    monkeypatch.setattr(observe, "_Observer", refuse_to_run)
    assert [quantized(build, ALL + level, statistics) for level in LEVELS] == alone


def test_layers_that_only_move_values_are_observed_when_a_line_rounds_them(tmp_path: Path) -> None:
    build = Build(tmp_path, *detector()).parse()
    alone = quantized(build, ALL + CONCATENATION)
    assert alone != quantized(build, ALL)
    assert quantized(build, ALL + CONCATENATION, collected(build)) == alone


def test_equal_bytes_with_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Build(tmp_path, *attention()).parse()
    files = []
    for count in (1, 3):
        monkeypatch.setattr(in_order, "worker_count", lambda count=count: count)
        files.append(collected(build).read_bytes())
    assert files[0] == files[1]


def test_what_was_made_from_something_else_is_observed_anew(tmp_path: Path) -> None:
    build, other = Build(tmp_path / "a", *detector()).parse(), Build(tmp_path / "b", *detector(scores=6)).parse()
    fewer = "model_optimization_config(calibration, batch_size=8, calibset_size=8)\n"
    alone, of_fewer = quantized(build, ALL), quantized(build, fewer)
    assert alone != of_fewer
    assert quantized(build, fewer, collected(build)) == of_fewer
    assert quantized(build, ALL, collected(other)) == alone
    assert quantized(build, ALL, collected(build, "darker.npz", (300.0, 255.0, 255.0))) == alone


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_observed_anew(tmp_path: Path, content: bytes) -> None:
    build = Build(tmp_path, *detector()).parse()
    alone, statistics = quantized(build, ALL), tmp_path / "statistics.npz"
    statistics.write_bytes(content)
    assert quantized(build, ALL, statistics) == alone


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    build, told = Build(tmp_path, *detector()).parse(), list[str]()
    job = StatisticsJob(build.parsed, build.snapshot, (0.0,) * 3, STD, tmp_path / "s", Surroundings(told.append))
    Emulator().collect(job)
    assert len(told) == 24
    assert told[-1] == "observing 24 of 24 samples, 0 s left"
