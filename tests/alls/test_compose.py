"""A plan becomes two scripts, each line with its reason; level, compression and calibration size are always there."""

from __future__ import annotations

from dataclasses import replace

from build_rules.alls.compose import (
    Adaround,
    Attention,
    Finetune,
    FoldedActivation,
    ScriptPlan,
    compose_scripts,
)
from build_rules.alls.script import Script, format_script, parse_script

PLAN = ScriptPlan(
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    folded=(FoldedActivation("net/conv9", "sigmoid"),),
    wide_outputs=("net/output_layer1",),
    optimization_level=2,
    calibration_count=64,
    finetune=Finetune(dataset_size=64),
    attention=Attention(("matmul1", "matmul2"), ("net/dw1",), longest_search=True),
)
PLAIN = ScriptPlan((0.0,), (255.0,), (), (), optimization_level=1, calibration_count=8)


def lines(script: Script) -> list[str]:
    return [line for line in format_script(script).splitlines() if not line.startswith("#")]


def test_the_whole_script() -> None:
    scripts = compose_scripts(PLAN)
    assert lines(scripts.optimize) == [
        "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])",
        "change_output_activation(net/conv9, sigmoid)",
        "model_optimization_flavor(optimization_level=2, compression_level=0)",
        "model_optimization_config(calibration, batch_size=8, calibset_size=64)",
        "pre_quantization_optimization(matmul_correction, layers=[matmul1, matmul2], correction_type=zp_comp_block)",
        "quantization_param(net/dw1, precision_mode=a16_w16)",
        "quantization_param(net/output_layer1, precision_mode=a16_w16)",
        "post_quantization_optimization(finetune, policy=enabled, dataset_size=64, batch_size=8, epochs=4, "
        "learning_rate=0.0001)",
    ]
    assert lines(scripts.compile) == [
        "context_switch_param(mode=allowed)",
        "performance_param(compiler_optimization_level=max)",
    ]


def test_each_override_says_why() -> None:
    scripts = compose_scripts(PLAN)
    for script in (scripts.optimize, scripts.compile):
        assert [s.command for s in script.statements if not s.comments] == []
        assert parse_script(format_script(script)).statements[-1].comments == script.statements[-1].comments
    told = {s.command: s.comments[0] for s in (*scripts.optimize.statements, *scripts.compile.statements)}
    for command in ("pre_quantization_optimization", "context_switch_param", "performance_param"):
        assert told[command].startswith("attention: ")


def test_without_finetune_the_script_says_so() -> None:
    scripts = compose_scripts(PLAIN)
    assert lines(scripts.optimize)[-1] == "post_quantization_optimization(finetune, policy=disabled)"
    assert len(parse_script(format_script(scripts.optimize)).statements) == 4


def test_without_attention_the_compiler_decides_how_the_device_is_filled() -> None:
    assert format_script(compose_scripts(PLAIN).compile).startswith("# nothing: ")
    assert lines(compose_scripts(PLAIN).compile) == []


def test_the_attention_of_another_chip_and_without_known_products() -> None:
    scripts = compose_scripts(replace(PLAN, attention=Attention(())))
    assert lines(scripts.compile) == ["context_switch_param(mode=allowed)"]
    assert not [line for line in lines(scripts.optimize) if "matmul" in line or "dw1" in line]


def test_adaround_is_told_how_much_data_there_is() -> None:
    scripts = compose_scripts(replace(PLAIN, adaround=Adaround(20, batch_size=8)))
    assert lines(scripts.optimize)[-2:] == [
        "post_quantization_optimization(finetune, policy=disabled)",
        "post_quantization_optimization(adaround, policy=enabled, dataset_size=20, batch_size=8)",
    ]


OWN = """
resources_param(max_utilization=0.8)  # the user's
model_optimization_flavor(optimization_level=1)
model_optimization_config(calibration, batch_size=2)
post_quantization_optimization(finetune, policy=enabled, epochs=8)
post_quantization_optimization(adaround, batch_size=1)
post_quantization_optimization(bias_correction, policy=enabled)
model_optimization_config(globals, multiproc_policy=disabled)
"""


def test_the_user_s_lines_come_last_by_stage_and_lose_nothing_that_ours_say() -> None:
    """A command given again may set back what it does not say: compression, and sizes that the data has to bear."""
    own = parse_script(OWN).statements
    scripts = compose_scripts(replace(PLAN, own=own))
    assert lines(scripts.optimize)[-6:] == [
        "model_optimization_flavor(optimization_level=1, compression_level=0)",
        "model_optimization_config(calibration, batch_size=2, calibset_size=64)",
        "post_quantization_optimization(finetune, policy=enabled, epochs=8, dataset_size=64, batch_size=8)",
        "post_quantization_optimization(adaround, batch_size=1, dataset_size=64)",
        "post_quantization_optimization(bias_correction, policy=enabled)",
        "model_optimization_config(globals, multiproc_policy=disabled)",
    ]
    many = compose_scripts(replace(PLAIN, own=own, calibration_count=1500))
    assert [line for line in lines(many.optimize) if "dataset_size" in line] == [
        "post_quantization_optimization(finetune, policy=enabled, epochs=8, dataset_size=1024, batch_size=8)",
        "post_quantization_optimization(adaround, batch_size=1, dataset_size=1024)",
    ]
    assert lines(scripts.compile)[-1] == "resources_param(max_utilization=0.8)  # the user's"
    off = parse_script("post_quantization_optimization(finetune, policy=disabled)").statements
    assert lines(compose_scripts(replace(PLAN, own=off)).optimize)[-1].endswith("(finetune, policy=disabled)")
