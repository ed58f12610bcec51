"""Heads that are cut completely, and that no decoder would read rightly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from build_rules.errors import InputError
from build_rules.graph import split_model
from build_rules.records.choices import SplitChoice
from tests.graph.graphs import save, split
from tests.graph.heads import Head, head_model, hinted

DIRECT = Head(bins=1, classes=5)
WRONG_BOXES = [
    Head(bins=1, decode="exponential"),
    Head(bins=1, wrong="right and bottom first"),
    Head(bins=4, wrong="right and bottom first"),
    Head(bins=1, wrong="doubled"),
    Head(bins=1, wrong="corners of the cells"),
    Head(bins=4, wrong="corners of the cells", decode="corners"),
    Head(bins=1, wrong="other units"),
    Head(bins=8, wrong="bins of the sides in turn"),
    Head(anchors=3, decode="exponential"),
    Head(anchors=3, wrong="centres as YOLOv3"),
]


def refused(folder: Path, model: onnx.ModelProto) -> InputError:
    with pytest.raises(InputError) as caught:
        split(save(model, folder), choice=SplitChoice(prove=False))
    return caught.value


@pytest.mark.parametrize("with_hints", [True, False], ids=["hints", "structure"])
@pytest.mark.parametrize("head", WRONG_BOXES, ids=lambda head: f"{head.bins} {head.wrong or head.decode}")
def test_boxes_that_no_decoder_reads(tmp_path: Path, head: Head, with_hints: bool) -> None:
    error = refused(tmp_path, head_model(head, hinted(head) if with_hints else None))
    assert "makes other boxes of its maps (channels [0, 4) of 'output0')" in str(error)
    assert "[[split.endpoint]]" in (error.paste or "")


@pytest.mark.parametrize("with_hints", [True, False], ids=["hints", "structure"])
def test_classes_in_another_order(tmp_path: Path, with_hints: bool) -> None:
    head = Head(classes=5, wrong="classes in another order")
    error = refused(tmp_path, head_model(head, hinted(head) if with_hints else None))
    assert "makes other scores of its maps" in str(error)
    assert "the sigmoid of the channels of 'scores_8' in their order" in str(error)


def test_the_coefficients_of_masks_are_compared_too(tmp_path: Path) -> None:
    head = Head(roles=("boxes", "scores", "mask_coefs"))
    model = head_model(head, hinted(head))
    assert split(save(model, tmp_path)).decoded == ("boxes", "scores", "mask_coefs")
    last = next(n for n in model.graph.node if n.op_type == "Concat" and len(n.input) == 3 and _leads_to(model, n))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0.5], np.float32), "half"))
    model.graph.node.insert(
        list(model.graph.node).index(last),
        onnx.helper.make_node("Mul", [last.input[2], "half"], ["halved"], name="halve"),
    )
    last.input[2] = "halved"
    assert "makes other mask_coefs of its maps" in str(refused(tmp_path, model))


def _leads_to(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    users = [other for other in model.graph.node if node.output[0] in other.input]
    return any("output0" in user.output for user in users)


@pytest.mark.parametrize("head", [Head(), DIRECT, Head(picked=3), Head(roles=("boxes", "angle", "scores"), picked=2)])
def test_what_is_read_rightly_is_said(tmp_path: Path, head: Head) -> None:
    assert split(save(head_model(head), tmp_path)).decoded == ("boxes", "scores")


@pytest.mark.parametrize("with_hints", [True, False], ids=["hints", "structure"])
def test_a_softmax_is_applied_by_no_decoder(tmp_path: Path, with_hints: bool) -> None:
    head = Head(scored="Softmax")
    path = save(head_model(head, hinted(head) if with_hints else None), tmp_path)
    result = split_model(path, "m", tmp_path / "cut.onnx")
    assert result.split.decoded == ("boxes",)
    assert "made by a softmax, which EdgeFirst's decoders do not apply" in " ".join(result.warnings)


def test_a_grid_that_is_none_is_a_warning(tmp_path: Path) -> None:
    """Constants drawn at random, as in networks made for tests: nothing tells which formula was meant."""
    model = head_model(DIRECT, hinted(DIRECT))
    grid = next(t for t in model.graph.initializer if list(t.dims) == [1, 2, DIRECT.rows])
    values = np.random.default_rng(0).uniform(0, 8, (1, 2, DIRECT.rows)).astype(np.float32)
    grid.CopyFrom(onnx.numpy_helper.from_array(values, grid.name))
    result = split_model(save(model, tmp_path), "m", tmp_path / "cut.onnx")
    assert result.split.decoded == ("scores",)
    assert "is not known" in result.warnings[-1]


def test_roles_of_ones_own_are_not_compared(tmp_path: Path) -> None:
    head = Head(bins=1, wrong="doubled")
    metadata: dict[str, Any] = hinted(head)
    metadata["split_hints"][0]["boundaries"][0]["name"] = "raw_boxes"
    found = split(save(head_model(head, metadata), tmp_path))
    assert ({e.role for e in found.endpoints}, found.decoded) == ({"raw_boxes", "scores"}, ("scores",))
