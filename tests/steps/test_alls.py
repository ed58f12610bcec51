"""Which layers a script names: those that come from the endpoints' ONNX nodes, whatever their shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from build_rules.compilers.har_file import OutputLayer
from build_rules.errors import InputError
from build_rules.presets import PRESETS
from build_rules.records.split_json import Endpoint, Front
from build_rules.steps.alls import plan_script
from tests.records.test_records import CALIBRATED, SPLIT

# 64 classes beside 64 DFL channels: only the origin tells them apart.
LAYERS = (
    OutputLayer("net/output_layer1", "net/conv5", ("n1",), (-1, 8, 8, 64)),
    OutputLayer("net/output_layer2", "net/conv7", ("other", "n0"), (-1, 8, 8, 64)),
)


def test_layers_are_found_by_origin() -> None:
    plan = plan_script(SPLIT, CALIBRATED, LAYERS, PRESETS["balanced"])
    assert [(fold.layer, fold.activation) for fold in plan.folded] == [("net/conv5", "sigmoid")]
    assert plan.wide_outputs == ("net/output_layer2",)
    assert plan.std == (255.0, 255.0, 255.0)
    assert plan.calibration_count == 8
    assert plan.matmul_correction


def test_presets() -> None:
    plans = {name: plan_script(SPLIT, CALIBRATED, LAYERS, preset) for name, preset in PRESETS.items()}
    assert [(name, plan.optimization_level) for name, plan in plans.items()] == [
        ("fast", 1),
        ("balanced", 1),
        ("accurate", 2),
    ], "by what is made fastest first"
    assert plans["fast"].wide_outputs == ()
    assert plans["accurate"].wide_outputs == ("net/output_layer2", "net/output_layer1")
    assert [plan.finetune is not None for plan in plans.values()] == [False, False, True]
    assert plans["accurate"].finetune is not None
    assert plans["accurate"].finetune.dataset_size == 8
    many = plan_script(SPLIT, replace(CALIBRATED, count=5000), LAYERS, PRESETS["accurate"])
    assert many.finetune is not None
    assert many.finetune.dataset_size == 1024


@pytest.mark.parametrize(("node", "layers_of_it"), [("nowhere", "none"), ("n1", "net/conv5, net/conv9")])
def test_an_endpoint_that_is_no_single_output(node: str, layers_of_it: str) -> None:
    lost = Endpoint("boxes_0", "boxes", 0, 8, "t0", node, (1, 64, 8, 8), "dfl", None)
    layers = (*LAYERS, OutputLayer("net/output_layer3", "net/conv9", ("n1",), (-1, 8, 8, 64)))
    with pytest.raises(InputError, match=rf"boxes_0 \(ONNX node {node}\).* come from it: {layers_of_it}\."):
        plan_script(replace(SPLIT, endpoints=(lost,)), CALIBRATED, layers, PRESETS["fast"])


@pytest.mark.parametrize("images", [1023, 1024, 1025])
def test_the_fine_tune_learns_from_a_thousand_images_at_most(images: int) -> None:
    plan = plan_script(SPLIT, replace(CALIBRATED, count=images), LAYERS, PRESETS["accurate"])
    assert plan.finetune is not None
    assert plan.finetune.dataset_size == min(images, 1024)
    assert plan.calibration_count == images


def test_what_is_folded_is_what_the_record_of_the_cut_says() -> None:
    """An endpoint without an activation has nothing to fold, and without attention nothing is corrected."""
    bare = replace(SPLIT, attention=(), endpoints=tuple(replace(e, activation=None) for e in SPLIT.endpoints))
    plan = plan_script(bare, CALIBRATED, LAYERS, PRESETS["fast"])
    assert (plan.folded, plan.matmul_correction) == ((), False)


def test_what_the_graph_does_to_its_pixels_is_done_with_what_is_done_before_it() -> None:
    """((p - 0) * 255 / 255 - M) / S of the front, and whatever comes before it, as one mean and deviation."""
    front = Front("t", (1, 3, 64, 48), (0.5, 0.25, 0.1), (2.0, 4.0, 0.229), False)
    plan = plan_script(replace(SPLIT, front=front), CALIBRATED, LAYERS, PRESETS["fast"])
    assert plan.mean == (127.5, 63.75, 25.5)
    assert plan.std == (510.0, 1020.0, 58.395)
