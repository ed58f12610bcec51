"""Anchors that only the graph of an anchor head knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.graph.prove import run_limits
from build_rules.records.choices import EndpointGroup, SplitChoice
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import Anchors
from build_rules.steps.split import run
from tests.graph.graphs import Builder, save, split
from tests.graph.heads import Head, anchors_of, head_model
from tests.shared import corpus_model, corpus_truth, needs_shared

QUICK = SplitChoice(prove=False)


@pytest.mark.parametrize("strides", [(8, 16, 32), (32, 16, 8), (16, 8), (8,)])
@pytest.mark.parametrize("anchors", [2, 3])
def test_are_read_whatever_the_order_of_the_levels(tmp_path: Path, strides: tuple[int, ...], anchors: int) -> None:
    head = Head(image=(64, 96), strides=strides, anchors=anchors)
    found = split(save(head_model(head), tmp_path)).anchors
    assert found is not None
    for level, stride in zip(found, sorted(strides), strict=True):
        np.testing.assert_allclose(level, anchors_of(head, stride), atol=1e-3)


def test_a_batch_has_those_of_its_first_image(tmp_path: Path) -> None:
    head = Head(anchors=3, batch=2)
    found = split(save(head_model(head), tmp_path)).anchors
    assert found is not None
    np.testing.assert_allclose(found[0], anchors_of(head, 8), atol=1e-3)


@pytest.mark.parametrize("head", [Head(), Head(bins=1)])
def test_other_heads_have_none(tmp_path: Path, head: Head) -> None:
    assert split(save(head_model(head), tmp_path), choice=QUICK).anchors is None


@needs_shared
def test_those_of_a_real_export(tmp_path: Path) -> None:
    model = onnx.load(corpus_model("yolov5n_anchor"))
    del model.metadata_props[:]
    found = split(save(model, tmp_path), choice=QUICK).anchors
    np.testing.assert_allclose(np.array(found), np.array(corpus_truth()["yolov5n_anchor"]["anchors"]), atol=1e-3)


# By hand.

HEAD = Head(anchors=3)
BY_HAND = EndpointGroup("anchor", ("anchor_32", "anchor_8", "anchor_16"), None, "sigmoid")
TRUE: Anchors = tuple(tuple((float(w), float(h)) for w, h in anchors_of(HEAD, stride)) for stride in (8, 16, 32))
PARTS = (SplitBoundary("boxes", (0, 4)), SplitBoundary("objectness", (4, 5)), SplitBoundary("scores", (5, 8)))


def raw_grids() -> onnx.ModelProto:
    """A head without its decode: on each scale [1, anchors, H, W, 5 + classes]."""
    b = Builder(image=(1, 3, 64, 64))
    for stride in (8, 16, 32):
        five = b.reshape(b.conv("image", 3, 24, stride, f"anchor_{stride}"), 1, 3, 8, 64 // stride, 64 // stride)
        b.op("Transpose", five, perm=[0, 1, 3, 4, 2], name=f"raw_{stride}")
    return b.model("raw_8", "raw_16", "raw_32")


def chosen(anchors: Anchors = ()) -> SplitChoice:
    return SplitChoice(groups=(BY_HAND,), anchors=anchors)


def refusal(folder: Path, model: onnx.ModelProto, choice: SplitChoice) -> str:
    with pytest.raises(InputError) as caught:
        split(save(model, folder), choice=choice)
    return str(caught.value)


def test_grids_by_hand_take_the_anchors_written_beside_them(tmp_path: Path) -> None:
    found = split(save(raw_grids(), tmp_path), choice=chosen(TRUE))
    assert (found.anchors, [e.stride for e in found.endpoints]) == (TRUE, [8, 16, 32])


@pytest.mark.parametrize("anchors", [(), TRUE], ids=["read", "written"])
def test_hints_by_hand_for_each_grid(tmp_path: Path, anchors: Anchors) -> None:
    hints = tuple(SplitHint(f"raw_{stride}", PARTS, (stride,), 3) for stride in (8, 16, 32))
    found = split(save(raw_grids(), tmp_path), choice=SplitChoice(hints=hints, anchors=anchors))
    assert [(e.role, e.tensor) for e in found.endpoints] == [("anchor", f"anchor_{s}") for s in (8, 16, 32)]
    assert found.anchors == (anchors or None)


def test_hints_by_hand_for_grids_that_are_maps(tmp_path: Path) -> None:
    b = Builder(image=(1, 3, 64, 64))
    names = [b.conv("image", 3, 24, stride, f"anchor_{stride}") for stride in (8, 16, 32)]
    hints = tuple(SplitHint(name, (SplitBoundary("detection_grid", (0, 24)),)) for name in names)
    found = split(save(b.model(*names), tmp_path), choice=SplitChoice(hints=hints, anchors=TRUE))
    assert found.anchor_head
    assert found.anchors == TRUE


def test_anchors_are_read_for_grids_by_hand(tmp_path: Path) -> None:
    found = split(save(head_model(HEAD), tmp_path), choice=chosen()).anchors
    np.testing.assert_allclose(np.array(found), np.array(TRUE), atol=1e-3)


def test_anchors_are_read_whatever_the_metadata_say(tmp_path: Path) -> None:
    wrong = {"schema_version": 2, "split_hints": [{"type": "quantization_split", "target": "nothing"}]}
    found = split(save(head_model(HEAD, wrong), tmp_path), choice=chosen()).anchors
    np.testing.assert_allclose(np.array(found), np.array(TRUE), atol=1e-3)


def test_rounded_anchors_give_way_to_those_of_the_graph(tmp_path: Path) -> None:
    rounded = tuple(tuple((w + 0.4, h - 0.4) for w, h in level) for level in TRUE)
    found = split(save(head_model(HEAD), tmp_path), choice=chosen(rounded)).anchors
    np.testing.assert_allclose(np.array(found), np.array(TRUE), atol=1e-3)


def test_other_anchors_than_the_graphs_are_told(tmp_path: Path) -> None:
    other = tuple(tuple((w * 1.5, h * 1.5) for w, h in level) for level in TRUE)
    told = refusal(tmp_path, head_model(HEAD), chosen(other))
    assert "anchors says [[[12, 18], [24, 30], [36, 42]], " in told
    assert "but the graph decodes with [[[8, 12], [16, 20], [24, 28]], " in told


@pytest.mark.parametrize(
    ("anchors", "told"),
    [
        (TRUE[:2], "anchors has 2 levels, but the head has 3 maps (strides 8, 16, 32)"),
        ((*TRUE, TRUE[2]), "anchors has 4 levels"),
        (TRUE[::-1], "larger ones before smaller ones ([[[32, 48], "),
        ((TRUE[0], TRUE[2], TRUE[1]), "the levels are those of the strides 8, 16, 32, finest first"),
        (tuple((*level, (90.0, 90.0), (99.0, 99.0)) for level in TRUE), "has 5 for the map 'anchor_8' (stride 8)"),
    ],
)
def test_wrong_anchors_are_told(tmp_path: Path, anchors: Anchors, told: str) -> None:
    assert told in refusal(tmp_path, raw_grids(), chosen(anchors))


def test_anchors_by_hand_stand_where_the_tail_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_limits, "MAX_ELEMENTS", 1)
    choice = SplitChoice(prove=False, groups=(BY_HAND,), anchors=TRUE)
    assert split(save(head_model(HEAD), tmp_path), choice=choice).anchors == TRUE


def test_anchors_beside_a_head_that_has_none(tmp_path: Path) -> None:
    told = refusal(tmp_path, head_model(Head()), SplitChoice(anchors=TRUE))
    assert "anchors has 3 levels, but the head has no map with the role anchor" in told


@pytest.mark.parametrize(
    ("anchors", "told"),
    [
        ((), "an anchor head with 3 levels needs the anchors of 3 levels"),
        (tuple((*level, *level) for level in TRUE), "24 channels, which are not 6 anchors of 4 coordinates"),
        (tuple(level[: 3 - (level == TRUE[1])] for level in TRUE), "'anchor_16' 24 channels for 2 anchors"),
        (TRUE, "its metadata holds no labels"),  # what is checked after the anchors
    ],
)
def test_a_lack_of_anchors_is_told_before_anything_is_compiled(tmp_path: Path, anchors: Anchors, told: str) -> None:
    outputs = (tmp_path / "split.onnx", tmp_path / "split.json")
    with pytest.raises(InputError) as caught:
        run(save(raw_grids(), tmp_path), *outputs, "m", chosen(anchors), None, None)
    assert told in str(caught.value)


@pytest.mark.parametrize(("count", "classes"), [(2, 7), (4, 1)])
def test_anchors_that_leave_another_number_of_classes_are_told_with_the_labels(
    tmp_path: Path, count: int, classes: int
) -> None:
    """24 channels are whole boxes of 2, 3 and 4 anchors; only one of these leaves a class for each name."""
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    outputs, labels = (tmp_path / "split.onnx", tmp_path / "split.json"), str(tmp_path / "labels.txt")
    model = save(raw_grids(), tmp_path)
    wrong = tuple((*level, (99.0, 99.0))[:count] for level in TRUE)
    with pytest.raises(
        InputError, match=rf"name 3 classes, but with {count} anchors to a cell the grids hold {classes};"
    ):
        run(model, *outputs, "m", chosen(wrong), labels, None)
    run(model, *outputs, "m", chosen(TRUE), labels, None)


def test_anchors_in_cells_are_doubted(tmp_path: Path) -> None:
    """YOLOv5's checkpoints hold anchors divided by the stride of their level."""
    path = save(raw_grids(), tmp_path)
    cells = tuple(
        tuple((w / stride, h / stride) for w, h in level) for level, stride in zip(TRUE, (8, 16, 32), strict=True)
    )
    results = [split_model(path, "m", tmp_path / "cut.onnx", chosen(anchors)) for anchors in (cells, TRUE)]
    assert ["divided by the stride" in " ".join(result.warnings) for result in results] == [True, False]
