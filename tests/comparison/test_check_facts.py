"""What files tell for the checklist: samples that repeat, first layers that differ, kernels without a norm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from build_rules.calibration.chosen import Chosen
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.snapshot.parameters import parameters_for
from build_rules.comparison.check_facts import (
    compare_first_layer,
    look_at_kernels,
    look_at_samples,
    name_ranges,
    read_ranges,
)
from build_rules.comparison.checklist import LayerRange
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.collect import FORMAT
from build_rules.compilers.protocol import StatisticsJob
from build_rules.records.split_json import ModelInput, Preprocessing, Split
from tests.compilers.nets import Build, detector
from tests.metadata.synthetic import Array

SIZE = 48
PLAIN = Split("net", ModelInput("images", (1, 3, SIZE, SIZE)), (), (), None)


def pictures(folder: Path, arrays: list[Array]) -> Path:
    folder.mkdir()
    for index, array in enumerate(arrays):
        Image.fromarray(array.astype(np.uint8)).save(folder / f"{index:02}.png")
    return folder


def noise(count: int, seed: int = 1) -> list[Array]:
    """Pictures that differ in the large, too."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 8, 8, 3))
    return [np.kron(one, np.ones((8, 6, 1))) for one in coarse]


def made(folder: Path, arrays: list[Array], split: Split = PLAIN) -> tuple[Path, Path, Chosen]:
    """A pool, its snapshot, and what is told of it."""
    pool, snapshot = pictures(folder / "pool", arrays), folder / "calibration.safetensors"
    parameters = parameters_for(split.preprocessing, split.input, count=64)
    summary = produce_snapshot(pool, parameters, snapshot, split.input.name, workers=1)
    return pool, snapshot, summary.chosen


def test_samples_that_differ_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    first, *rest = noise(12)
    near = first.copy()
    near[:6, :6] = np.clip(near[:6, :6] + 40, 0, 255)
    black, red = np.zeros((64, 48, 3)), np.full((48, 64, 3), [250, 10, 10])  # each with a border of another grey
    _, snapshot, _ = made(tmp_path, [first, near, black, red, *rest])
    facts = look_at_samples(snapshot, "images")
    assert (facts.looked_at, facts.repeated, facts.flat, facts.alike) == (15, 0, 2, 2)


def test_samples_that_are_the_same_are_counted(tmp_path: Path) -> None:
    pool, snapshot, _ = made(tmp_path, noise(3))
    with Image.open(pool / "00.png") as picture:
        picture.save(pool / "03.bmp")  # another file, so that a pool keeps it
    produce_snapshot(pool, parameters_for(PLAIN.preprocessing, PLAIN.input, count=64), snapshot, "images", workers=1)
    facts = look_at_samples(snapshot, "images")
    assert (facts.looked_at, facts.repeated, facts.alike) == (4, 1, 2)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_the_first_layer_is_fed_with_the_same_bytes(tmp_path: Path, resize: str) -> None:
    split = replace(PLAIN, preprocessing=Preprocessing(resize=resize))
    pool, snapshot, chosen = made(tmp_path, noise(9), split)
    assert compare_first_layer(snapshot, split, chosen, pool).compared == 4
    assert compare_first_layer(snapshot, split, chosen, pool).differing == ()
    other = replace(split, preprocessing=Preprocessing(resize=resize, color="bgr"))
    assert len(compare_first_layer(snapshot, other, chosen, pool).differing) == 4


def test_where_nothing_can_be_compared_the_reason_is_said(tmp_path: Path) -> None:
    pool, snapshot, chosen = made(tmp_path, noise(3))
    assert "was given" in compare_first_layer(snapshot, PLAIN, Chosen("x"), pool).unknown
    assert "was given" in compare_first_layer(snapshot, PLAIN, chosen, None).unknown
    tiled = replace(PLAIN, preprocessing=Preprocessing(resize="tiled"))
    assert "tiles" in compare_first_layer(snapshot, tiled, chosen, pool).unknown
    fewer = replace(chosen, images=chosen.images[:2])
    assert "not the one" in compare_first_layer(snapshot, PLAIN, fewer, pool).unknown
    for file in pool.iterdir():
        Image.fromarray(noise(1, 5)[0].astype(np.uint8)).save(file)
    assert "have changed" in compare_first_layer(snapshot, PLAIN, chosen, pool).unknown
    assert "have gone" in compare_first_layer(snapshot, PLAIN, chosen, tmp_path / "gone").unknown


def graph_of(tmp_path: Path, *nodes: onnx.NodeProto, **weights: Array) -> Path:
    values = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    file = tmp_path / "split.onnx"
    onnx.save(helper.make_model(helper.make_graph([*nodes], "g", ends[:1], ends[1:], values)), str(file))
    return file


def conv(name: str, source: str, *weights: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, *weights], [name], name=name)


def test_kernels_tell_what_norm_they_have(tmp_path: Path) -> None:
    weight = np.ones((4, 3, 1, 1))
    uneven = weight * np.array([1, 1, 1, 20]).reshape(4, 1, 1, 1)
    file = graph_of(
        tmp_path,
        conv("bare", "x", "w"),
        helper.make_node("Sigmoid", ["bare"], ["gate"]),
        helper.make_node("Mul", ["bare", "gate"], ["silu"]),  # no norm
        conv("biased", "silu", "u", "b"),
        conv("normed", "biased", "w"),
        helper.make_node("BatchNormalization", ["normed", "b", "b", "b", "b"], ["n"]),
        conv("scaled", "n", "w"),
        helper.make_node("Mul", ["scaled", "b"], ["m"]),
        conv("computed", "m", "n"),  # a kernel that is no weight
        helper.make_node("Identity", ["computed"], ["y"]),
        w=weight, u=uneven, b=np.ones(4),
    )  # fmt: skip
    facts = look_at_kernels(file)
    assert (facts.convolutions, facts.normalized, facts.without) == (4, 2, ("bare",))
    assert (facts.uneven, facts.spread) == ("biased", 20)


def test_a_graph_without_convolutions_has_none(tmp_path: Path) -> None:
    facts = look_at_kernels(graph_of(tmp_path, helper.make_node("Relu", ["x"], ["y"])))
    assert (facts.convolutions, facts.without, facts.uneven) == (0, (), "")


def test_the_statistics_of_the_emulator_tell_ranges(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0, 1, 20_000).astype(np.float32)
    tensors = [
        {"name": "/only_read", "samples": 0, "values": 0, "means": 3, "masked": False},
        {"name": "/wide", "samples": 2, "values": 20_000, "means": 0, "masked": False},
        {"name": "/constant", "samples": 2, "values": 1, "means": 0, "masked": False},
    ]
    file = tmp_path / "statistics.npz"

    def save(number: int) -> None:
        about = json.dumps({"format": number, "tensors": tensors}).encode()
        lows, highs = np.array([-4, -3.5, 2, 2], np.float32), np.array([3, 60, 2, 2], np.float32)
        arrays = {"lows": lows, "highs": highs, "values": np.append(values, np.float32(2))}
        np.savez(file, about=np.frombuffer(about, np.uint8), **arrays)  # type: ignore[arg-type]

    save(FORMAT)  # as the emulator writes it today
    wide, constant = read_ranges(file) or ()
    assert (wide.layer, wide.low, wide.high) == ("/wide", -4, 60)
    assert wide.used == pytest.approx(2 * 3.09 / 64, rel=0.1)
    assert constant == LayerRange("/constant", 2, 2, 0)
    save(FORMAT + 1)
    assert read_ranges(file) is None
    file.write_bytes(b"PK")
    assert read_ranges(file) is None
    assert read_ranges(tmp_path / "absent.npz") is None


def test_what_the_emulator_collects_now_is_of_the_format_that_is_read(tmp_path: Path) -> None:
    build = Build(tmp_path, *detector()).parse()
    means, deviations = (0.0,) * 3, (255.0,) * 3
    Emulator().collect(StatisticsJob(build.parsed, build.snapshot, means, deviations, tmp_path / "statistics.npz"))
    ranges = read_ranges(tmp_path / "statistics.npz")
    assert ranges
    assert all(each.low < each.high for each in ranges)


def test_ranges_are_named_by_nodes_and_softmaxes_have_none_of_their_own(tmp_path: Path) -> None:
    file = graph_of(
        tmp_path, helper.make_node("Relu", ["x"], ["r"], name="/relu"), helper.make_node("Softmax", ["r"], ["y"])
    )
    ranges = [LayerRange(name, 0, 1, 0.1) for name in ("r", "y", "elsewhere")]
    assert [each.layer for each in name_ranges(ranges, file)] == ["/relu", "elsewhere"]
