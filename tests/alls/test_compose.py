"""A plan becomes a script that always says level, compression and calibration size."""

from __future__ import annotations

from build_rules.alls.compose import Finetune, FoldedActivation, ScriptPlan, compose_script
from build_rules.alls.script import format_script, parse_script

PLAN = ScriptPlan(
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    folded=(FoldedActivation("net/conv9", "sigmoid"),),
    wide_outputs=("net/output_layer1",),
    optimization_level=2,
    calibration_count=64,
    finetune=Finetune(dataset_size=64),
    matmul_correction=True,
)


def test_the_whole_script() -> None:
    assert format_script(compose_script(PLAN)) == (
        "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])\n"
        "change_output_activation(net/conv9, sigmoid)\n"
        "model_optimization_flavor(optimization_level=2, compression_level=0)\n"
        "model_optimization_config(calibration, batch_size=8, calibset_size=64)\n"
        "pre_quantization_optimization(matmul_correction, layers={matmul*}, correction_type=zp_comp_block)\n"
        "quantization_param(net/output_layer1, precision_mode=a16_w16)\n"
        "post_quantization_optimization(finetune, policy=enabled, dataset_size=64, batch_size=8, epochs=4, "
        "learning_rate=0.0001)\n"
    )


def test_without_finetune_the_script_says_so() -> None:
    plan = ScriptPlan((0.0,), (255.0,), (), (), optimization_level=1, calibration_count=8)
    text = format_script(compose_script(plan))
    assert "finetune, policy=disabled" in text
    assert len(parse_script(text).statements) == 4
