"""What files tell for the checklist: samples that repeat, first layers that differ, kernels without a norm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from build_rules.calibration.chosen import Chosen, dump_chosen
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.snapshot.parameters import parameters_for
from build_rules.comparison.check_facts import (
    best_scores,
    compare_first_layer,
    look_at_kernels,
    look_at_samples,
    read_facts,
)
from build_rules.comparison.checklist import run_checklist
from build_rules.objects.found import Objects
from build_rules.records.calibration_json import Calibrated, Geometry, dump_calibrated
from build_rules.records.normalization import UNIT
from build_rules.records.split_json import ModelInput, Preprocessing, Proof, Split, dump_split
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
    _, snapshot, _ = made(tmp_path, [first, near, np.full((64, 48, 3), 114), *rest])
    facts = look_at_samples(snapshot, "images")
    assert (facts.looked_at, facts.repeated, facts.flat, facts.alike) == (14, 0, 1, 2)


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


def test_the_files_of_a_build_are_read(tmp_path: Path) -> None:
    split = replace(PLAIN, proof=Proof(0.0, 2))
    pool, _, chosen = made(tmp_path, noise(9), split)
    graph_of(tmp_path, conv("bare", "x", "w"), helper.make_node("Relu", ["bare"], ["y"]), w=np.ones((4, 3, 1, 1)))
    (tmp_path / "split.json").write_text(dump_split(split))
    geometry = Geometry("letterbox", (SIZE, SIZE))
    (tmp_path / "calibration.json").write_text(dump_calibrated(Calibrated(chosen.snapshot, 9, geometry, UNIT)))
    (tmp_path / "calibration-images.json").write_text(dump_chosen(chosen))
    facts = read_facts(tmp_path, pool, built=True)
    states = {one.subject: one.state for one in run_checklist(facts)}
    assert states["cut and normalization equal the original"] == "passed"
    assert states["first layer fed with the same bytes"] == "passed"
    assert states["calibration: enough images"] == "failed"
    assert states["calibration: diverse"] == "passed"
    assert states["convolutions have batch normalization"] == "failed"
    (tmp_path / "calibration.safetensors").unlink()
    unmade = {one.subject: one.state for one in run_checklist(read_facts(tmp_path, pool, built=False))}
    assert unmade["calibration: diverse"] == unmade["cut and normalization equal the original"] == "not known"


def test_an_image_without_objects_scores_nothing() -> None:
    some = Objects(np.zeros((2, 4)), np.array([0.5, 0.75]), np.zeros(2, np.int64))
    none = Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    assert best_scores([some, none]) == (0.75, 0)
