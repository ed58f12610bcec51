"""The double keeps the documented contract of the DFC: calls, states, names, refusals, logs, archives."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from build_rules.compilers.har_file import output_layers
from build_rules.hef import read_hef
from tests.compilers.dfc.doubles import Caller
from tests.compilers.nets import attention
from tests.dfc_double.environment import make_environment
from tests.shared import SHARED


def real_hn(name: str) -> dict[str, Any]:
    """An HN that a real compiler has written."""
    path = SHARED / "hars" / f"{name}.hn"
    if not path.exists():
        pytest.skip(f"test material is missing: no file {path}")
    hn: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return hn


WHOLE = """
runner = ClientRunner(hw_arch="hailo8l")
runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
runner.save_har("parsed.har")
runner.load_model_script(SCRIPT)
runner.optimize(DATA)
runner.save_har("quantized.har")
hef = runner.compile()
with open("model.hef", "wb") as stream:
    stream.write(hef)
runner.save_har("compiled.har")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """Somebody who has gone the whole way once."""
    caller = Caller.settle(tmp_path_factory.mktemp("built"))
    caller.told(WHOLE)
    return caller


def test_an_environment_of_its_own(tmp_path: Path) -> None:
    began = time.monotonic()
    make_environment(tmp_path / "another")
    assert time.monotonic() - began < 1
    caller = Caller.settle(tmp_path)
    told = caller.told("""
        import importlib.util
        import importlib.metadata
        tell(version=hailo_sdk_client.__version__, installed=importlib.metadata.version("hailo_dataflow_compiler"),
             others=[name for name in ("build_rules", "onnx", "doit", "pip") if importlib.util.find_spec(name)],
             names=sorted(each.metadata["Name"] for each in importlib.metadata.distributions()))
    """)
    assert told == {
        "version": "3.33.0",
        "installed": "3.33.0",
        "others": [],
        "names": ["hailo-dataflow-compiler", "numpy"],
    }


def test_what_it_makes_says_that_it_is_none(built: Caller) -> None:
    hef = read_hef(built.folder / "model.hef")
    assert hef.sdk_version == "3.33.0-double-emulated"
    assert built.har("compiled.har").sdk_version == "3.33.0-double-emulated"
    assert built.har("compiled.har").is_emulated


def test_archives_have_the_members_of_real_ones(built: Caller) -> None:
    parsed = {
        "net.hn",
        "net.npz",
        "net.metadata.json",
        "net.original_model_meta.json",
        "net.modifications_meta_data.json",
    }
    quantized = parsed | {"net.q.npz", "net.alls"}
    assert parsed <= set(built.har("parsed.har").members)
    assert not {"net.q.npz", "net.alls", "net.hef"} & set(built.har("parsed.har").members)
    assert quantized <= set(built.har("quantized.har").members)
    assert quantized | {"net.hef", "net.auto.alls"} <= set(built.har("compiled.har").members)
    states = [built.har(f"{name}.har").state for name in ("parsed", "quantized", "compiled")]
    assert states == ["hailo_model", "quantized_model", "compiled_model"]
    assert built.har("compiled.har").members["net.hef"] == (built.folder / "model.hef").read_bytes()


def test_outputs_are_the_producing_layers_in_the_order_of_the_end_nodes(built: Caller) -> None:
    outputs = output_layers(built.har("parsed.har").hn)
    assert [output.original_names[0] for output in outputs] == ["/n22/Conv", "/n29/Conv", "/n30/Conv"]
    streams = read_hef(built.folder / "model.hef").network_groups[0].outputs
    assert [stream.name for stream in streams] == [output.producer for output in outputs]
    assert [stream.data_bytes for stream in streams] == [2, 2, 1]


def test_the_logs_lie_in_the_working_directory_and_say_what_real_ones_say(built: Caller) -> None:
    client = built.log("hailo_sdk.client.log")
    assert "End nodes mapped from original model: '/n22/Conv', '/n29/Conv', '/n32/Mul'." in client
    assert "Using dataset with 16 entries for calibration" in built.log("acceleras.log")
    assert "Adaround skipped" in built.log("acceleras.log")
    assert "Successful Mapping" in built.log("allocator.log")
    assert "Compilation complete" in built.log("hailo_sdk.core.log")


@pytest.mark.parametrize(
    ("variables", "files"),
    [({"HAILO_CLIENT_LOGS_ENABLED": "false"}, []), ({"HAILO_SDK_LOG_DIR": "logs"}, ["hailo_sdk.client.log"])],
)
def test_where_logs_are_written_can_be_said(tmp_path: Path, variables: dict[str, str], files: list[str]) -> None:
    caller = Caller.settle(tmp_path)
    (caller.folder / "logs").mkdir()
    caller.told('ClientRunner().translate_onnx_model("model.onnx", "net", end_node_names=ENDS)', **variables)
    assert [path.name for path in (caller.folder / "logs").iterdir()] == files
    assert not list(caller.folder.glob("*.log"))


STATES = [
    (
        "runner.get_hn()",
        "InvalidStateException: The execution of get_hn is not available under the state: uninitialized",
    ),
    ("runner.optimize(DATA)", "InvalidStateException"),
    ("runner.save_har('x.har')", "InvalidStateException"),
    ("runner.load_model_script('x = normalization([0], [1])')", "InvalidStateException"),
    ("runner.load_har('parsed.har'); runner.compile()", "Did you forget to quantize?"),
    ("runner.load_har('quantized.har'); runner.optimize(DATA)", "InvalidStateException"),
    ("runner.load_har('quantized.har'); runner.optimize_full_precision(DATA)", "InvalidStateException"),
    (
        "runner.load_har('quantized.har'); "
        "runner.load_model_script('model_optimization_flavor(optimization_level=1)', append=True)",
        "InvalidStateException",
    ),
    (
        "runner.load_har('parsed.har')\nwith runner.infer_context(InferenceContext.SDK_QUANTIZED) as c: pass",
        "InvalidStateException",
    ),
    (
        "runner.load_har('parsed.har')\nwith runner.infer_context(InferenceContext.SDK_FP_OPTIMIZED) as c: pass",
        "InvalidStateException",
    ),
    (
        "runner.load_har('parsed.har')\nwith runner.infer_context(InferenceContext.SDK_NATIVE) as c: pass\n"
        "runner.infer(c, DATA)",
        "InvalidArgumentsException",
    ),
    (
        "runner.load_har('quantized.har')\nwith runner.infer_context(InferenceContext.SDK_HAILO_HW) as c: pass",
        "no Hailo device was found",
    ),
]


@pytest.mark.parametrize(("steps", "message"), STATES)
def test_the_order_of_states_is_enforced(built: Caller, steps: str, message: str) -> None:
    assert message in built.refused(f"runner = ClientRunner(hw_arch='hailo8')\n{steps}")


ARGUMENTS = [
    ("ClientRunner(hw_arch='hailo9')", "InvalidArgumentsException: Unsupported hw_arch 'hailo9'"),
    ("ClientRunner(chip='hailo8')", "TypeError"),
    ("ClientRunner(har='nowhere.har')", "FileNotFoundError"),
    ("ClientRunner().translate_onnx_model('nowhere.onnx', 'net')", "FileNotFoundError"),
    ("ClientRunner().translate_onnx_model('program.py', 'net')", "Failed to load the ONNX model"),
    ("ClientRunner().translate_onnx_model('model.onnx', 'net', end_nodes=ENDS)", "TypeError"),
    (
        "ClientRunner().translate_onnx_model('model.onnx', 'net', end_node_names=['Conv_253'])",
        "MisspellNodeError: Unable to find end node names: ['Conv_253'], please verify and try again.",
    ),
    (
        "ClientRunner().translate_onnx_model('model.onnx', 'net', start_node_names=['image'])",
        "MisspellNodeError: Unable to find start node names: ['image'], please verify and try again.",
    ),
    (
        "ClientRunner().translate_onnx_model('model.onnx', 'net', net_input_shapes={'images': [1, 3, 64, 64]})",
        "cannot become [1, 3, 64, 64]",
    ),
    ("ClientRunner().translate_onnx_model('model.onnx', 'net', end_node_names='one')", "must be a list of names"),
    ("ClientRunner(har='parsed.har').optimize(None)", "optimize needs calibration data"),
]


@pytest.mark.parametrize(("call", "message"), ARGUMENTS)
def test_arguments_are_checked(built: Caller, call: str, message: str) -> None:
    assert message in built.refused(call)


SCRIPTS = [
    (
        "quantization_param(conv70, precision_mode=a16_w16)",
        "HailoNNException: The layer named conv70 doesn't exist in the HN",
    ),
    ("quantization_param({dwx*}, precision_mode=a16_w16)", "AllocatorScriptParserException"),
    ("model_optimization_config(calibration, calib_size=8)", "No argument named 'calib_size'"),
    ("quantization_param(conv1, precision_mode=a32_w32)", "precision_mode a32_w32 is not supported"),
    ("change_output_activation(output_layer1, sigmoid)", "is an output layer"),
    ("change_output_activation(conv9, sigmoidal)", "unknown activation"),
    (
        "change_output_activation(conv9, sigmoid)\nquantization_param(net/conv9, force_range_out=[0.0, 1.0])",
        "cannot have another activation and a forced range",
    ),
    ("model_optimization_flavor(optimization_level=7)", "optimization_level must be"),
    ("performance_param(compiler_optimization_level=most)", "must be 0, 1, 2 or max"),
    ("post_quantization_optimization(finetune, policy=yes)", "policy must be one of"),
    ("post_quantization_optimization(fine_tune)", "has no feature named 'fine_tune'"),
    ("do_what_i_mean()", "no command named 'do_what_i_mean'"),
    ("normalization1 = normalization([0.0, 0.0, 0.0]", "AllocatorScriptParserException"),
    ("a = b = normalization([0], [1])", "AllocatorScriptParserException"),
    ("quantization_param(precision_mode=a8_w8, conv1)", "a positional argument follows a named one"),
    ("'quoted'", "unexpected character"),
]


@pytest.mark.parametrize(("line", "message"), SCRIPTS)
def test_scripts_are_refused_as_the_real_one_does(built: Caller, line: str, message: str) -> None:
    told = built.refused(f"ClientRunner(har='parsed.har').load_model_script({line + chr(10)!r})")
    assert message in told
    assert told.splitlines()[-1].startswith(("hailo_sdk_client.", "hailo_sdk_common."))


def test_scripts_of_the_public_kind_are_taken(built: Caller) -> None:
    script = """
        # a comment of its own, and one behind a line
        norm_layer1 = normalization([127.5, 127.5, 127.5], [127.5, 127.5, 127.5], net/input_layer1)  # here
        bgr_to_rgb_images = input_conversion(net/input_layer1, bgr_to_rgb)
        change_output_activation(sigmoid)
        model_optimization_config(calibration, batch_size=8, calibset_size=24)
        pre_quantization_optimization(equalization, policy=enabled)
        pre_quantization_optimization(matmul_correction, layers={conv*}, correction_type=zp_comp_block)
        pre_quantization_optimization(activation_clipping, layers=[conv1,
            conv2], mode=percentile, clipping_values=[0.01, 99.99])
        model_optimization_config(negative_exponent, layers={*}, rank=0)
        quantization_param({net/ew_add*}, precision_mode=a16_w16)
        post_quantization_optimization(adaround, policy=disabled, batch_size=8)
        resources_param(strategy=greedy, max_compute_utilization=0.8)
        {} = defuse_block(conv1, conv2)
        context_switch_param(mode=allowed)
        allocator_param(timeout=10h, width_splitter_defuse=disabled)
    """
    told = built.told(f"""
        runner = ClientRunner(har="parsed.har")
        runner.load_model_script({script!r})
        runner.load_model_script("performance_param(compiler_optimization_level=max)", append=True)
        tell(script=runner.model_script)
    """)
    assert told["script"].startswith(script)
    assert told["script"].endswith("\nperformance_param(compiler_optimization_level=max)")


def test_what_is_appended_knows_the_layers_that_the_script_before_it_makes(built: Caller) -> None:
    told = built.told("""
        runner = ClientRunner(har="parsed.har")
        runner.load_model_script(SCRIPT)
        runner.load_model_script("quantization_param(normalization1, precision_mode=a8_w8)", append=True)
        runner.optimize(DATA)
        runner.load_model_script("performance_param(compiler_optimization_level=max)\\n", append=True)
        runner.compile()
        tell(lines=len(runner.model_script.splitlines()), state=runner.state.value)
    """)
    assert told == {"lines": 7, "state": "compiled_model"}


SHAPES = [
    ("DATA.transpose(0, 3, 1, 2)", "Data shape (3, 32, 32) for layer net/input_layer1 doesn't match network's input"),
    ("DATA[0]", "Data shape (32, 3) for layer net/input_layer1 doesn't match network's input shape (32, 32, 3)"),
    ("DATA[:, :16]", "acceleras_exceptions.BadInputsShape"),
    ("{'net/input_layer2': DATA}", "don't match the input layers of the model"),
    ("DATA[:8]", "calibset_size=16 is larger than the dataset: it has only 8 entries"),
    ("DATA * 2.0", "the double takes data from 0 to 255"),
    ("np.full(DATA.shape, np.nan, np.float32)", "NaN"),
    ("'nowhere'", "FileNotFoundError"),
    ("[1, 2]", "Unexpected data type list"),
]


@pytest.mark.parametrize(("data", "message"), SHAPES)
def test_calibration_data_are_checked(built: Caller, data: str, message: str) -> None:
    steps = f"runner = ClientRunner(har='parsed.har')\nrunner.load_model_script(SCRIPT)\nrunner.optimize({data})"
    assert message in built.refused(steps)


LEVELS = [
    (0, 24, "", "0 (the accuracy won't be optimized and compression won't be used) because there's less data than the "
     "recommended amount (1024), and there's no available GPU"),
    (1, 24, "", "1 (the accuracy might be suboptimal) because there's less data than the recommended amount (1024)"),
    (1, 24, "optimization_level=1", None),
    (0, 24, "optimization_level=1", "0 ("),
]  # fmt: skip


@pytest.mark.parametrize(("gpus", "count", "flavor", "reason"), LEVELS)
def test_the_level_is_lowered_and_the_log_says_so(
    tmp_path: Path, gpus: int, count: int, flavor: str, reason: str | None
) -> None:
    caller = Caller.settle(tmp_path, gpus=gpus)
    caller.told(f"""
        runner = ClientRunner()
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        runner.load_model_script("model_optimization_flavor({flavor})")
        runner.optimize(DATA[:{count}])
    """)
    log = caller.log("acceleras.log")
    if reason is None:
        assert "Reducing optimization level" not in log
    else:
        assert f"Reducing optimization level to {reason}" in log


def test_hidden_gpus_are_none(tmp_path: Path) -> None:
    caller = Caller.settle(tmp_path, gpus=1)
    steps = """
        runner = ClientRunner()
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        runner.optimize(DATA)
    """
    caller.told(steps, CUDA_VISIBLE_DEVICES="-1")
    assert "there's no available GPU" in caller.log("acceleras.log")


def test_lines_of_their_own_override_the_level(tmp_path: Path) -> None:
    caller = Caller.settle(tmp_path, gpus=1, written_level="kept")
    caller.told("""
        runner = ClientRunner()
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        runner.load_model_script('''
            model_optimization_flavor(optimization_level=2, compression_level=2)
            post_quantization_optimization(finetune, policy=enabled, dataset_size=20, epochs=1, batch_size=4)
        ''')
        runner.optimize(DATA)
        runner.save_har("tuned.har")
    """)
    log = caller.log("acceleras.log")
    assert "Using dataset with 20 entries for finetune" in log
    assert "Model Optimization Algorithm Quantization-Aware Fine-Tuning is done" in log
    assert "Assigning 4bit weights to" in log
    assert "Reducing optimization level" not in log


def test_a_layer_of_an_hn_has_the_keys_of_a_real_one(built: Caller) -> None:
    real = real_hn("mobilenet_v2")
    ours = built.har("parsed.har").hn
    assert ours["net_params"].keys() == real["net_params"].keys()
    for kind in ("input_layer", "output_layer", "conv", "dw"):
        own, other = (next(layer for layer in hn["layers"].values() if layer["type"] == kind) for hn in (ours, real))
        assert own.keys() >= other.keys() - {"quantization_params", "compilation_params"}
    own, other = (next(layer for layer in hn["layers"].values() if layer["type"] == "conv") for hn in (ours, real))
    assert {"kernel_shape", "strides", "dilations", "groups", "batch_norm", "activation"} <= own["params"].keys()
    assert all(
        isinstance(own["params"][key], type(other["params"][key])) for key in own["params"].keys() & other["params"]
    )


def test_real_and_double_number_their_layers_alike(built: Caller) -> None:
    for hn in (real_hn("mobilenet_v2"), real_hn("yolov4"), built.har("parsed.har").hn):
        name = hn["name"]
        assert all(layer.startswith(f"{name}/") for layer in hn["layers"])
        outputs = [layer for layer in hn["layers"] if hn["layers"][layer]["type"] == "output_layer"]
        assert sorted(outputs) == sorted(f"{name}/output_layer{n + 1}" for n in range(len(outputs)))
        by_number = [hn["layers"][f"{name}/output_layer{n + 1}"]["input"][0] for n in range(len(outputs))]
        assert by_number == hn["net_params"]["output_layers_order"]


WIDE = [("softmax1", "has 2 APUs but max allowed is 1"), ("{matmul*}", "unexpected crash"), ("conv1", None)]


@pytest.mark.parametrize(("layers", "message"), WIDE)
def test_the_allocator_takes_no_wide_softmax_and_no_wide_matmul(
    tmp_path: Path, layers: str, message: str | None
) -> None:
    caller = Caller.settle(tmp_path)
    model, ends = attention()
    onnx.save(model, str(caller.folder / "model.onnx"))
    program = f"""
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", "net", end_node_names={ends!r})
        runner.load_model_script("quantization_param({layers}, precision_mode=a16_w16)")
        runner.optimize(DATA)
        runner.compile()
    """
    if message is None:
        caller.told(program)
    else:
        assert message in caller.refused(program)
