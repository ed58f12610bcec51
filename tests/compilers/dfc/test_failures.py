"""What people are told when the compiler fails; the wordings are those of public threads."""

from __future__ import annotations

import pickle
import re
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from build_rules.alls.layers import Layers
from build_rules.alls.own_lines import OwnLines, read_own_lines
from build_rules.compilers.dfc.dfc_failures import CompilerError, Hints, explain, known_failure
from build_rules.compilers.dfc.failure_table import FAILURES, GENERAL, KINDS, KnownFailure
from build_rules.compilers.dfc.layer_origins import layer_origins, named_layers
from build_rules.compilers.dfc.remedies import LADDER
from tests.compilers.dfc.logs import COMPILED, OPTIMIZED, joined

HN: dict[str, Any] = {
    "layers": {
        "yolov8n/conv41": {"type": "conv", "original_names": ["/model.22/cv2.0/cv2.0.2/Conv"]},
        "yolov8n/concat18": {"type": "concat", "original_names": ["/model.22/Concat_3"]},
        "yolov8n/softmax1": {"type": "softmax", "original_names": ["/model.10/attn/Softmax"]},
        "yolov8n/output_layer1": {"type": "output_layer", "input": ["yolov8n/conv41"], "original_names": ["out"]},
        "yolov8n/broken": {"type": "output_layer", "input": 7},
        "yolov8n/worse": 3,
    }
}
SCRIPT = """\
# what the preset asks for
normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])

change_output_activation(conv70, sigmoid)
quantization_param(yolov8n/conv41, precision_mode=a16_w16)
model_optimization_flavor(optimization_levle=2)
"""
HINTS = Hints(
    model="yolov8n",
    target="hailo8l",
    preset="accurate",
    script="build/yolov8n/hailo8l-accurate/model.alls",
    script_text=SCRIPT,
    origins=layer_origins(HN),
    endpoints={"/model.22/cv2.0/cv2.0.2/Conv": "boxes_0"},
)


@dataclass(frozen=True)
class Failed:
    kind: str = "raised"
    type: str = ""
    message: str = ""
    traceback: str = ""
    log: str = ""
    kept: Path | None = None


def raised(text: str, log: str = "") -> Failed:
    """A failure as its last line of a traceback says it: `module.Type: message`."""
    name, _, message = text.partition(": ")
    return Failed("raised", name.rpartition(".")[2], message, f"Traceback (most recent call last):\n{text}\n", log)


def told(failure: Failed, stage: str = "compile", hints: Hints = HINTS) -> str:
    return str(explain(failure, stage, hints))


WORDINGS = [
    ("does not fit", "BackendAllocatorException: No successful assignments: concat18 errors: Agent infeasible"),
    ("does not fit", "BackendAllocatorException: Auto defused failed layer ts/defuse1 required too many SCs"),
    (
        "16 bits beside softmax",
        "BackendAllocatorException: Compilation failed: No successful assignments: concat23 errors: "
        "format_conversion13_sd48 has 2 APUs but max allowed is 1",
    ),
    (
        "16-bit biases",
        "BackendAllocatorException: No successful assignments: activation2 errors: Agent infeasible, DW resources "
        "calculation failed: more than 1 subclusters are needed for 16bit L2 biases and contexts at activation2",
    ),
    (
        "capacity",
        "BackendAllocatorException: Compilation failed: Compiler could not find a valid partition to contexts.",
    ),
    (
        "capacity",
        "BackendAllocatorException: Automri finished with too many resources on context_2 with 62/184 failures",
    ),
    ("capacity", "BackendAllocatorException: Model uses too many resources: 136 Layer-Controllers"),
    ("capacity", "BackendAllocatorException: microcode exceeded size for resize1_sd0 (cluster_index=0)"),
    (
        "contexts not allowed",
        "BackendAllocatorException: Context switch is disabled, but model could not fit in single context.",
    ),
    ("contexts not allowed", "BackendAllocatorException: slice1: NO_CONTEXT_ENABLED"),
    ("frames per second", "BackendAllocatorException: Failed to reach required FPS on the following layers: conv1"),
    ("allocation took too long", "BackendAllocatorException: Mapping Failed (Timeout, allocation time: 1h 5m 31s)"),
    (
        "unsupported layers",
        "hailo_sdk_client.x.ParsingWithRecommendationException: Parsing failed. The errors found are:",
    ),
    ("unsupported layers", "UnsupportedShuffleLayerError in op /model.23/Flatten: Failed to determine type of layer"),
    ("unsupported layers", "UnsupportedOperationError in op /model.23/TopK: TopK operation is unsupported"),
    ("unsupported layers", "UnexpectedNodeError in op Squeeze__77: Unexpected node Squeeze__77 (Squeeze)"),
    ("unsupported layers", "hailo_sdk_common.hailo_nn.exceptions.UnsupportedModelError: 1D form is not supported"),
    ("end nodes", "MisspellNodeError: Unable to find end node names: ['/model.22/Convv']"),
    ("model script", "AllocatorScriptParserException: Cannot infer bbox conv layers automatically."),
    ("model script", "HailoNNException: The layer named conv70 doesn't exist in the HN"),
    ("model script", "AllocatorScriptParserException: No argument named optimization_levle"),
    ("model script", "AllocatorScriptParserException: Post-process config file isn't found in nms.json"),
    (
        "ranges",
        "hailo_model_optimization.x.NegativeSlopeExponentNonFixable: Quantization failed in layer "
        "yolov8n/ne_activation_softmax1 due to unsupported required slope. Desired shift is 11.0, but op has only 8",
    ),
    ("ranges", "ValueError: layer model/matmul3 does not support shift delta. To overcome this issue you should force"),
    (
        "calibration shape",
        "hailo_model_optimization.x.BadInputsShape: Data shape (5, 1) for layer net/input_layer1 doesn't match "
        "network's input shape (1, 5, 1)",
    ),
    ("no number", "hailo_sdk_client.x.BackendValueError: Unsupported NaN values were found in params"),
    (
        "memory of the GPU",
        "AccelerasResourceError: GPU memory has been exhausted. Please try it with lower batch size.",
    ),
    ("memory of the GPU", "tensorflow.x.ResourceExhaustedError: OOM when allocating tensor with shape[8,64,320,320]"),
    ("memory of the GPU", "RuntimeError: Mapping Failed: CUDA_ERROR_OUT_OF_MEMORY"),
    ("GPU", "tensorflow.x.UnimplementedError: DNN library is not found."),
    ("GPU", "tensorflow.x.InternalError: libdevice not found at ./libdevice.10.bc"),
    ("memory", "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 4.69 GiB for an array"),
    ("memory", "MemoryError: std::bad_alloc"),
    ("crash", "BackendAllocatorException: Compilation failed with unexpected crash"),
    ("crash", "RuntimeError: racehorse.cpp:1682: Assertion `pyramid_output->output_shapes().size() > index' failed."),
    (
        "broken installation",
        "RuntimeError: build/compiler: symbol lookup error: build/compiler: undefined symbol: _ZN6",
    ),
    ("broken installation", "ImportError: /lib/libm.so.6: version `GLIBC_2.34' not found"),
    ("broken installation", "ValueError: numpy.dtype size changed, may indicate binary incompatibility"),
    ("disk full", "OSError: [Errno 28] No space left on device: 'yolov8n.q.npz'"),
    ("no allocation", "BackendAllocatorException: Compilation failed"),
    ("allocation took too long", "BackendAllocatorException: Compilation failed: Latency simulation reached timeout"),
    ("licence", "hailo_sdk_client.x.LicenseException: No valid license was found for hailo8l"),
    ("licence", "RuntimeError: License for hailo8l is expired"),
    ("licence", "RuntimeError: No valid license was given"),
    ("chip and version", "ValueError: hw_arch hailo8l is not supported, choose from hailo10h, hailo15h"),
    ("chip and version", "ValueError: Invalid hw_arch hailo8l"),
    ("state", "RuntimeError: weights are needed to run on HW, but none were given. Did you forget to quantize?"),
    ("calibration too small", "ValueError: calibset_size 1024 is larger than the dataset, which has 64"),
]


@pytest.mark.parametrize(("name", "wording"), WORDINGS, ids=[text[:60] for _, text in WORDINGS])
def test_public_wordings_are_known(name: str, wording: str) -> None:
    known = known_failure(raised(wording))
    assert known is not None
    assert known.name == name
    text = told(raised(wording))
    assert text.startswith("yolov8n for hailo8l, compile: ")
    assert "{" not in text.replace("layers={*}", "")
    assert "\n" not in text


def test_every_row_has_a_wording_and_is_whole() -> None:
    assert {failure.name for failure in (*FAILURES, *GENERAL)} == {name for name, _ in WORDINGS}
    for failure in (*FAILURES, *GENERAL):
        assert failure.told.endswith(".")
        assert failure.hint.endswith(".")
        assert set(failure.remedies) <= set(LADDER)
        failure.hint.format_map({"target": "t", "preset": "p", "narrower": "n"})


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_failures(kind: str) -> None:
    failure = Failed(kind, message="ssh gpu1: Permission denied (publickey,password).", kept=Path("build/.failed/hef"))
    text = told(failure, "parse", Hints("yolov8n"))
    what, hint = KINDS[kind]
    said = "ssh gpu1: Permission denied (publickey,password)"
    assert text.startswith(f"yolov8n, parse: {what[:-1]}: {said}. {hint}")
    assert told(Failed(kind, message=failure.message, log="a word"), "probe", Hints()).startswith("[dfc]: ")
    assert "It says" not in text
    assert text.endswith("Everything of the run is in build/.failed/hef.")


def test_where_no_log_can_be_shown_none_is_promised() -> None:
    failure = Failed("start", message="is docker running?", log=joined(allocator_log="a word\n"))
    text = told(failure, "probe", Hints())
    assert text.startswith("[dfc]: what runs the compiler cannot be started: is docker running? `python`, ")
    assert "below" not in text
    assert "a word" not in text
    assert "python -c 'import hailo_sdk_client'" in told(raised("RuntimeError: unknown", "a word"), "probe", Hints())
    silent = told(Failed("timeout", message="it was ended after 600 seconds"), "probe", Hints())
    assert "import hailo_sdk_client" in silent
    assert "time_limit" not in silent


def test_the_words_of_a_kind_do_not_mislead() -> None:
    """What stopped the worker is known; its log may hold anything."""
    failure = Failed("timeout", message="no end after 24 h", log=joined(allocator_log="[error] Agent infeasible\n"))
    assert known_failure(failure) is None
    assert KINDS["timeout"][0].rstrip(".") in told(failure)


@pytest.mark.parametrize(
    "message", ["ended with signal 9", "was killed (SIGKILL)", "exit code 137", "Killed"], ids=lambda text: text
)
def test_what_the_machine_killed_had_no_memory(message: str) -> None:
    failure = Failed("died", message=message, log=joined(acceleras_log=OPTIMIZED))
    assert "too little memory" in told(failure, "optimize")
    assert f"It says: {message}." in told(failure, "optimize")


def test_what_died_otherwise_is_looked_for_in_its_log() -> None:
    log = joined(allocator_log=COMPILED + "compiler: a.cpp:402: Assertion `a == b' failed.\nAborted (core dumped)\n")
    assert "a defect of its own" in told(Failed("died", message="ended with signal 6", log=log))
    assert KINDS["died"][0].rstrip(".") in told(
        Failed("died", message="ended with code 3", log=joined(allocator_log=COMPILED))
    )


def test_what_good_runs_say_too_is_no_reason() -> None:
    failure = raised("RuntimeError: something else", joined(allocator_log=COMPILED, acceleras_log=OPTIMIZED))
    assert known_failure(failure) is None


def test_what_was_raised_counts_before_the_log() -> None:
    log = joined(allocator_log="[error] Agent infeasible\n")
    known = known_failure(raised("OSError: [Errno 28] No space left on device", log))
    assert known is not None
    assert known.name == "disk full"
    other = known_failure(raised("BackendAllocatorException: Compilation failed", log))
    assert other is not None
    assert other.name == "does not fit"


def test_an_unknown_failure_says_so_and_keeps_everything() -> None:
    error = explain(
        Failed(
            "raised", "OddError", "the moon is full", log=joined(allocator_log=COMPILED), kept=Path("build/.failed/x")
        ),
        "compile",
        HINTS,
    )
    assert "a way that is not known here (OddError)" in str(error)
    assert "It says: the moon is full." in str(error)
    assert "in build/.failed/x." in str(error)
    assert error.paste.splitlines()[-1] == "   | Successful Compilation (compilation time: 5s)"


def test_layers_are_told_by_the_names_of_the_graph() -> None:
    text = told(raised("BackendAllocatorException: No successful assignments: concat18 errors: Agent infeasible"))
    assert "In the graph concat18 is made of /model.22/Concat_3." in text
    text = told(raised("ValueError: layer yolov8n/conv41/conv_op does not support shift delta."))
    assert "yolov8n/conv41/conv_op is endpoint boxes_0, made of /model.22/cv2.0/cv2.0.2/Conv." in text
    text = told(raised("ValueError: unsupported required slope in yolov8n/ne_activation_softmax1, output_layer1_sd0"))
    assert "yolov8n/ne_activation_softmax1 is made of /model.10/attn/Softmax; output_layer1_sd0 is endpoint" in text


def test_the_preset_and_the_target_are_named() -> None:
    text = told(raised("BackendAllocatorException: Agent infeasible"))
    assert "than `accurate`" in text
    assert "on hailo8l" in text
    narrow = Hints("net", preset="fast", is_wide=False)
    assert "preset" not in told(raised("BackendAllocatorException: Agent infeasible"), hints=narrow)
    assert "than this one" in told(raised("BackendAllocatorException: Agent infeasible"), hints=Hints("net"))


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("HailoNNException: The layer named conv70 doesn't exist in the HN", "line 4 of build"),
        ("HailoNNException: The layer named yolov8n/conv70 doesn't exist in the HN", "line 4 of build"),
        ("AllocatorScriptParserException: No argument named optimization_levle", "line 6 of build"),
        ("AllocatorScriptParserException: 'yolov8n/conv41' cannot take a16_w16", "line 5 of build"),
    ],
)
def test_the_line_of_the_script_is_told(message: str, line: str) -> None:
    text = told(raised(message))
    assert line in text
    assert "model.alls: `" in text


def test_whose_line_it_is_is_told() -> None:
    script = (
        "# zero points of matmuls are compensated\nmodel_optimization_flavor(optimization_level=1)\n"
        "# from [alls] append\nperformance_param(fps=5)\nquantization_param([conv70,\n  conv71],  # both\n"
        "  precision_mode=a16_w16)  # so\n"
    )
    failure = raised("HailoNNException: The layer named conv71 doesn't exist in the HN")
    text = told(failure, hints=Hints("net", script="model.alls", script_text=script))
    assert "line 5 of model.alls (from [alls] append): `quantization_param([conv70, conv71], precision_mode=" in text
    failure = raised("AllocatorScriptParserException: No argument named optimization_level")
    text = told(failure, hints=Hints("net", script="model.alls", script_text=script))
    assert "line 2 of model.alls: `model_optimization_flavor(" in text


def test_no_line_is_told_that_is_not_there() -> None:
    for script in ("", "(((", "performance_param(fps=5)\n"):
        text = told(
            raised("HailoNNException: The layer named conv70 doesn't exist in the HN"),
            hints=Hints("n", script_text=script),
        )
        assert "That is line" not in text
    text = told(raised("HailoNNException: The layer named  doesn't exist in the HN"))
    assert "That is line" not in text


def test_end_nodes_that_are_suggested_are_shown() -> None:
    message = (
        "Parsing failed. The errors found in the graph are:\n"
        " UnsupportedOperationError in op /model.23/TopK: TopK operation is unsupported\n"
        " UnsupportedShuffleLayerError in op /model.23/Flatten: Failed to determine type of layer\n"
        "Please try to parse the model again, using these end node names: /model.23/cv2.0/Conv, /model.23/cv3.0/Conv"
    )
    text = told(Failed("raised", "ParsingWithRecommendationException", message), "parse")
    assert "It does not take /model.23/TopK, /model.23/Flatten." in text
    assert "It suggests these end nodes: /model.23/cv2.0/Conv, /model.23/cv3.0/Conv." in text
    assert "[[split.endpoint]]" in text


@pytest.mark.parametrize(
    ("wording", "stage", "log", "last"),
    [
        ("BackendAllocatorException: Agent infeasible", "compile", "allocator.log", "of the allocator"),
        (
            "HailoNNException: The layer named a doesn't exist in the HN",
            "compile",
            "hailo_sdk.client.log",
            "of the client",
        ),
        ("RuntimeError: unknown", "optimize", "acceleras.log", "of the optimizer"),
        ("RuntimeError: unknown", "parse", "hailo_sdk.client.log", "of the client"),
        ("RuntimeError: unknown", "profile", "allocator.log", "of the allocator"),
    ],
)
def test_the_log_that_tells_most_ends_below(wording: str, stage: str, log: str, last: str) -> None:
    logs = (
        "==> allocator.log <==\nof the allocator\n==> hailo_sdk.client.log <==\nof the client\n"
        "==> acceleras.log <==\nof the optimizer\n"
    )
    error = explain(raised(wording, logs), stage, HINTS)
    assert f"The last lines of {log} are below." in str(error)
    assert error.paste == f"   | {last}"
    assert error.printed().splitlines()[1:] == [f"   | {last}"]


def test_what_was_tried_is_told() -> None:
    hints = Hints("net", tried=("allow several contexts: context_switch_param(mode=allowed)",))
    text = told(raised("BackendAllocatorException: Agent infeasible"), hints=hints)
    assert "Tried without success: allow several contexts: context_switch_param(mode=allowed)." in text


def test_what_was_raised_over_there_is_in_the_traceback_alone() -> None:
    failure = Failed(
        "raised", "OddError", "odd", "Traceback (most recent call last):\n  File deep inside\nOddError: odd"
    )
    error = explain(failure, "compile", HINTS)
    assert "deep inside" not in error.printed()
    assert "deep inside" in "".join(traceback.format_exception(error))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, CompilerError)
    assert (str(again), again.paste, again.raw) == (str(error), error.paste, error.raw)
    assert "deep inside" in "".join(traceback.format_exception(again.within("x")))


def test_messages_stay_short() -> None:
    error = explain(Failed("raised", "E", "x" * 100_000, "y" * 1_000_000, "z" * 100_000), "compile", HINTS)
    assert len(str(error)) < 3000
    assert len(error.raw) <= 1 << 16


TEXTS = st.text(max_size=200) | st.sampled_from([wording for _, wording in WORDINGS])


SCRIPTS = st.text(alphabet="ab1_=(),[]{}\n\r\f#\x0b", max_size=60) | st.just(SCRIPT)


@given(st.sampled_from([*KINDS, "raised", "?"]), TEXTS, TEXTS, TEXTS, TEXTS, SCRIPTS)
def test_whatever_fails_is_told(kind: str, type_name: str, message: str, trace: str, log: str, script: str) -> None:
    error = explain(Failed(kind, type_name, message, trace, log), "compile", replace(HINTS, script_text=script))
    assert str(error).startswith("yolov8n for hailo8l")
    assert error.printed()
    pickle.loads(pickle.dumps(error))


@given(SCRIPTS)
def test_any_script_may_be_refused(script: str) -> None:
    for word in ("a", "b1", "1"):
        failure = raised(f"HailoNNException: The layer named {word} doesn't exist in the HN")
        assert "doesn't exist" in str(explain(failure, "optimize", replace(HINTS, script_text=script)))


@pytest.mark.parametrize(
    "text", ["licence " * 200_000, "a/" * 500_000, "named " * 300_000, "Assertion " * 200_000, "Error in op " * 100_000]
)
def test_hostile_messages_are_read_in_time(text: str) -> None:
    begun = time.process_time()
    explain(Failed("raised", "E", text, text, text), "compile", HINTS)
    assert time.process_time() - begun < 5


def test_origins_of_layers() -> None:
    origins = layer_origins(HN)
    assert origins["yolov8n/output_layer1"] == ("/model.22/cv2.0/cv2.0.2/Conv",)
    assert "yolov8n/broken" not in origins
    assert "yolov8n/worse" not in origins
    assert layer_origins({}) == {}
    assert named_layers("conv4 conv411 x/conv41x", origins) == ()


@pytest.mark.parametrize(
    "failure", [each for each in (*FAILURES, *GENERAL) if "[alls]" in each.hint], ids=lambda f: f.name
)
def test_lines_that_are_advised_are_taken(failure: KnownFailure) -> None:
    hint = failure.hint.format_map({"target": "t", "preset": "p", "narrower": ""})
    (advice,) = re.findall(r"`\[alls\] (append = \[.*?\])`", hint)
    lines = "\n".join(tomli.loads(advice)["append"])
    layers = Layers("net", {"net/conv1": ("/a/Conv",)})
    assert read_own_lines([OwnLines(lines, "model.toml", "from [alls] append")], layers, 1024)
