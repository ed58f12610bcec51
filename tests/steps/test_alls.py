"""Which layers a script names: those that come from the endpoints' ONNX nodes, whatever their shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from build_rules.compilers.har_file import OutputLayer
from build_rules.errors import InputError
from build_rules.presets import PRESETS
from build_rules.records.split_json import Endpoint
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
    assert plans["fast"].wide_outputs == ()
    assert plans["accurate"].wide_outputs == ("net/output_layer2", "net/output_layer1")
    assert [plan.finetune is not None for plan in plans.values()] == [False, False, True]
    assert plans["accurate"].finetune is not None
    assert plans["accurate"].finetune.dataset_size == 8
    many = plan_script(SPLIT, replace(CALIBRATED, count=5000), LAYERS, PRESETS["accurate"])
    assert many.finetune is not None
    assert many.finetune.dataset_size == 1024


@pytest.mark.parametrize("node", ["nowhere", "n1"])
def test_an_endpoint_that_is_no_single_output(node: str) -> None:
    lost = Endpoint("boxes_0", "boxes", 0, 8, "t0", node, (1, 64, 8, 8), "dfl", None)
    layers = (*LAYERS, OutputLayer("net/output_layer3", "net/conv9", ("n1",), (-1, 8, 8, 64)))
    with pytest.raises(InputError, match=f"boxes_0.*{node}"):
        plan_script(replace(SPLIT, endpoints=(lost,)), CALIBRATED, layers, PRESETS["fast"])
