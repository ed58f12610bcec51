"""Which layers the scripts name: those that come from the ONNX nodes of endpoints and attention, whatever their shapes;
and what becomes of the user's own lines.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from build_rules.alls.compose import Adaround, Attention, Finetune
from build_rules.alls.script import Statement, parse_script
from build_rules.compilers.har_file import Har, HnLayer, OutputLayer, write_har
from build_rules.errors import InputError
from build_rules.presets import PRESETS
from build_rules.records.calibration_json import dump_calibrated
from build_rules.records.split_json import Endpoint, Front, ModelInput, dump_split
from build_rules.steps.alls import plan_script, run
from tests.records.test_records import CALIBRATED, SPLIT

# 64 classes beside 64 DFL channels: only the origin tells them apart.
LAYERS = (
    OutputLayer("net/output_layer1", "net/conv5", ("n1",), (-1, 8, 8, 64)),
    OutputLayer("net/output_layer2", "net/conv7", ("other", "n0"), (-1, 8, 8, 64)),
)
ALL_LAYERS = (
    HnLayer("net/input_layer1", "input_layer", ("images",)),
    HnLayer("net/conv4", "conv", ("qkv",)),
    HnLayer("net/normalization1", "normalization", ("scale",)),
    HnLayer("net/matmul1", "matmul", ("m1",)),
    HnLayer("net/softmax1", "softmax", ("s",)),
    HnLayer("net/matmul2", "matmul", ("x", "m2")),
    HnLayer("net/matmul3", "matmul", ("elsewhere",)),
    HnLayer("net/dw1", "dw", ("stem",)),
    HnLayer("net/dw2", "dw", ("pe", "act")),
    HnLayer("net/conv5", "conv", ("n1",)),
    HnLayer("net/conv7", "conv", ("other", "n0")),
    HnLayer("net/output_layer1", "output_layer", ("out",)),
    HnLayer("net/output_layer2", "output_layer", ("out",)),
)


def test_layers_are_found_by_origin() -> None:
    plan = plan_script(SPLIT, CALIBRATED, LAYERS, PRESETS["balanced"])
    assert [(fold.layer, fold.activation) for fold in plan.folded] == [("net/conv5", "sigmoid")]
    assert plan.wide_outputs == ("net/output_layer2",)
    assert plan.std == (255.0, 255.0, 255.0)
    assert plan.calibration_count == 8
    assert plan.attention is not None


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
    assert (plan.folded, plan.attention) == ((), None)


def test_what_the_graph_does_to_its_pixels_is_done_with_what_is_done_before_it() -> None:
    """((p - 0) * 255 / 255 - M) / S of the front, and whatever comes before it, as one mean and deviation."""
    front = Front("t", (1, 3, 64, 48), (0.5, 0.25, 0.1), (2.0, 4.0, 0.229), False)
    plan = plan_script(replace(SPLIT, front=front), CALIBRATED, LAYERS, PRESETS["fast"])
    assert plan.mean == (127.5, 63.75, 25.5)
    assert plan.std == (510.0, 1020.0, 58.395)


def own(*lines: str) -> tuple[Statement, ...]:
    return parse_script("\n".join(lines)).statements


@pytest.mark.parametrize(
    ("preset", "hw_arch", "expected"),
    [
        ("fast", "hailo8", Attention(("matmul1", "matmul2"))),
        ("balanced", "hailo8l", Attention(("matmul1", "matmul2"), longest_search=True)),
        (
            "accurate",
            "hailo8l",
            Attention(("matmul1", "matmul2"), ("net/dw2",), ("net/conv5", "net/conv7"), longest_search=True),
        ),
        ("accurate", "hailo8", Attention(("matmul1", "matmul2"), ("net/dw2",), ("net/conv5", "net/conv7"))),
    ],
)
def test_the_attention_is_found_by_structure(preset: str, hw_arch: str, expected: Attention) -> None:
    """The products of the blocks alone, the depth-wise convolutions beside them alone; never the softmax."""
    plan = plan_script(SPLIT, CALIBRATED, LAYERS, PRESETS[preset], ALL_LAYERS, hw_arch)
    assert plan.attention == expected


def test_a_compiler_that_names_the_products_otherwise() -> None:
    fused = tuple(layer for layer in ALL_LAYERS if layer.kind not in ("matmul", "dw"))
    plan = plan_script(SPLIT, CALIBRATED, LAYERS, PRESETS["accurate"], fused)
    assert plan.attention == Attention((), ends=("net/conv5", "net/conv7"), longest_search=True)


def test_the_layer_that_is_added_gets_a_name_of_its_own() -> None:
    """Compilers call a scale in the middle of the network `normalization1`, too."""
    assert plan_script(SPLIT, CALIBRATED, LAYERS, PRESETS["fast"], ALL_LAYERS).normalization == "normalization2"
    assert plan_script(SPLIT, CALIBRATED, LAYERS, PRESETS["fast"]).normalization == "normalization1"


@pytest.mark.parametrize(
    ("shape", "count", "batch"),
    [((640, 640), 64, 8), ((64, 48), 64, 8), ((64, 48), 3, 3), ((1280, 1280), 64, 2), ((4096, 4096), 64, 1)],
)
def test_no_more_images_at_once_than_there_are_and_than_fit(shape: tuple[int, int], count: int, batch: int) -> None:
    split = replace(SPLIT, input=ModelInput("images", (1, 3, *shape)))
    plan = plan_script(split, replace(CALIBRATED, count=count), LAYERS, PRESETS["accurate"])
    assert (plan.calibration_batch, plan.finetune and plan.finetune.batch_size) == (batch, batch)


@pytest.mark.parametrize(
    ("preset", "level", "count", "finetune", "adaround"),
    [
        ("fast", 2, 100, Finetune(100), None),
        ("accurate", 1, 100, None, None),
        ("accurate", 3, 2000, None, Adaround(256)),
        ("accurate", 4, 2000, None, Adaround(1024)),
        ("balanced", 4, 20, None, Adaround(20)),
    ],
)
def test_a_level_of_the_user_s_decides_what_is_told_how_much_data_there_is(
    preset: str, level: int, count: int, finetune: Finetune | None, adaround: Adaround | None
) -> None:
    lines = own(f"model_optimization_flavor(optimization_level={level})")
    facts = replace(CALIBRATED, count=count)
    plan = plan_script(SPLIT, facts, LAYERS, PRESETS[preset], own=lines)
    assert (plan.finetune, plan.adaround) == (finetune, adaround)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The inputs of the step, of a network with attention."""
    folder = tmp_path / "net"
    folder.mkdir()
    links = {"net/output_layer1": "net/conv5", "net/output_layer2": "net/conv7"}
    layers = {
        layer.name: {
            "type": layer.kind,
            "original_names": list(layer.original_names),
            "input": [links[layer.name]] if layer.name in links else [],
            "output_shapes": [[-1, 8, 8, 64]],
        }
        for layer in ALL_LAYERS
    }
    hn = {"name": "net", "net_params": {"output_layers_order": list(links.values())}, "layers": layers}
    write_har(folder / "parsed.har", Har("net", hn, "hailo_model", "1-emulated", "hailo8l", {}))
    (folder / "split.json").write_text(dump_split(SPLIT), encoding="utf-8")
    (folder / "calibration.json").write_text(dump_calibrated(CALIBRATED), encoding="utf-8")
    return folder


def write(folder: Path, *append: str, file: str | bytes | None = None) -> tuple[list[str], list[str]]:
    """Run the step; return the lines of both scripts."""
    if file is not None:
        (folder / "extra.alls").write_bytes(file if isinstance(file, bytes) else file.encode())
    run(
        *(folder / "split.json", folder / "calibration.json", folder / "parsed.har"),
        *(folder / "model.alls", folder / "compile.alls", folder / "feed.json"),
        preset=PRESETS["accurate"],
        hw_arch="hailo8l",
        append=append,
        declared_in="models/net/model.toml",
        own_file=() if file is None else (folder / "extra.alls",),
    )
    scripts = (folder / "model.alls", folder / "compile.alls")
    first, second = (path.read_text(encoding="utf-8").splitlines() for path in scripts)
    return first, second


def test_lines_of_the_user_s_come_last_in_the_script_of_their_stage(folder: Path) -> None:
    ours = write(folder)
    optimize, compile_lines = write(
        folder,
        "quantization_param(onnx:qkv, precision_mode=a16_w16)",
        "resources_param(max_utilization=0.8)  # it is full",
        file="\ufeff# for all of them\r\nquantization_param([conv4, onnx:m1], precision_mode=a8_w8)\r\n",
    )
    assert optimize[: len(ours[0])] == ours[0]
    assert optimize[len(ours[0]) :] == [
        "# from the file that [alls] names",
        "quantization_param([conv4, net/matmul1], precision_mode=a8_w8)",
        "# from [alls] append",
        "quantization_param(net/conv4, precision_mode=a16_w16)",
    ]
    assert compile_lines == [*ours[1], "resources_param(max_utilization=0.8)"]


def test_the_layer_that_our_lines_add_may_be_named(folder: Path) -> None:
    assert write(folder, "quantization_param(normalization2, precision_mode=a8_w8)")
    assert write(
        folder, "quantization_param(x1, precision_mode=a8_w8)", file="x1 = pre_quantization_optimization(defuse)"
    )


def test_errors_name_the_place(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"models/net/model\.toml, \[alls\] append, line 2: layer 'conv9' doesn't exist"
    ):
        write(folder, "# fine", "quantization_param(conv9, precision_mode=a8_w8)")
    with pytest.raises(InputError, match=r"net/extra\.alls, line 7: nms_postprocess is not for a line of your own"):
        write(folder, file="\n" * 6 + "nms_postprocess()")
    with pytest.raises(InputError, match=r"net/extra\.alls: not UTF-8 text"):
        write(folder, file=b"\xff")


def test_the_same_inputs_give_the_same_scripts(folder: Path) -> None:
    assert write(folder, "resources_param(max_utilization=0.8)") == write(
        folder, "resources_param(max_utilization=0.8)"
    )
