"""Anchors that only the graph of an anchor head knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.endpoints import SplitChoice
from tests.graph.graphs import save, split
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
