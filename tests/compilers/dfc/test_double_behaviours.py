"""What the double does on request: it fails, lies, waits, makes noise and dies as the DFC is known to."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.hef import read_hef
from tests.compilers.dfc.doubles import Caller, calibration
from tests.dfc_double.environment import set_behaviour

PREPARE = """
runner = ClientRunner(hw_arch="hailo8l")
runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
runner.load_model_script(SCRIPT)
runner.save_har("parsed.har")
runner.optimize(DATA)
runner.save_har("quantized.har")
"""
COMPILE = """
runner = ClientRunner(har="quantized.har")
with open("model.hef", "wb") as stream:
    stream.write(runner.compile())
runner.save_har("compiled.har")
"""
STEPS = {
    "import": "",
    "init": "ClientRunner()",
    "parse": "ClientRunner().translate_onnx_model('model.onnx', 'net', end_node_names=ENDS)",
    "optimize": "ClientRunner(har='parsed.har').optimize(DATA)",
    "compile": "ClientRunner(har='quantized.har').compile()",
    "profile": "ClientRunner(har='parsed.har').profile()",
    "infer": "runner = ClientRunner(har='parsed.har')\nwith runner.infer_context(InferenceContext.SDK_NATIVE) as c:\n"
    "    runner.infer(c, DATA)",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    caller = Caller.settle(tmp_path_factory.mktemp("behaviours"))
    caller.told(PREPARE)
    return caller


@pytest.fixture
def caller(shared: Caller) -> Caller:
    """A caller whose double does nothing special yet."""
    for log in shared.folder.glob("*.log"):
        log.unlink()
    set_behaviour(shared.python)
    return shared


def ask(caller: Caller, **behaviour: Any) -> Caller:
    set_behaviour(caller.python, **behaviour)
    return caller


FAILURES = [
    ("parse", "recommendation", "ParsingWithRecommendationException", "hailo_sdk.client.log"),
    ("parse", "misspelled", "MisspellNodeError", "hailo_sdk.client.log"),
    ("optimize", "slope", "unsupported required slope", "acceleras.log"),
    ("optimize", "gpu_memory", "GPU memory has been exhausted", "acceleras.log"),
    ("compile", "agent_infeasible", "Agent infeasible", "allocator.log"),
    ("compile", "no_context", "NO_CONTEXT_ENABLED", "allocator.log"),
    ("compile", "no_partition", "too many resources", "allocator.log"),
    ("compile", "two_apus", "has 2 APUs but max allowed is 1", "allocator.log"),
    ("compile", "crash", "unexpected crash", "allocator.log"),
    ("infer", "unheard_of", "RuntimeError: the flux capacitor", "allocator.log"),
    ("profile", "latency", "Latency simulation reached timeout", "allocator.log"),
]


@pytest.mark.parametrize(("stage", "kind", "message", "log"), FAILURES)
def test_failures_are_raised_and_logged(caller: Caller, stage: str, kind: str, message: str, log: str) -> None:
    told = ask(caller, failures=[{"at": stage, "kind": kind}]).refused(STEPS[stage])
    assert message in told
    assert "- ERROR -" in caller.log(log)


def test_every_pattern_of_the_table_can_be_had(caller: Caller) -> None:
    told = caller.told("""
        from hailo_sdk_client import failures
        tell(text="\\n".join(str(failure) for failure in failures.FAILURES.values()))
    """)["text"]
    patterns = (
        *(
            "No successful assignments",
            "Agent infeasible",
            "NO_CONTEXT_ENABLED",
            "valid partition",
            "too many resources",
        ),
        *("has 2 APUs but max allowed is 1", "ParsingWithRecommendationException", "MisspellNodeError", "Unsupported"),
        *("AllocatorScriptParserException", "doesn't exist in the HN", "No argument named", "BadInputsShape", "TopK"),
        *("NegativeSlopeExponentNonFixable", "unsupported required slope", "does not support shift delta"),
        *(
            "Unsupported NaN values",
            "ResourceExhausted",
            "GPU memory has been exhausted",
            "unexpected crash",
            "Assertion",
        ),
    )
    assert [pattern for pattern in patterns if pattern not in told] == []
    assert "symbol lookup error" in ask(caller, failures=[{"at": "import", "kind": "symbol_lookup"}]).refused("")


def test_a_failure_until_a_line_is_there(caller: Caller) -> None:
    line = "performance_param(compiler_optimization_level=max)"
    ask(caller, failures=[{"at": "compile", "kind": "agent_infeasible", "until": line}])
    assert "Agent infeasible" in caller.refused(COMPILE)
    assert "Agent infeasible" in caller.refused(
        "runner = ClientRunner(har='quantized.har')\n"
        "runner.load_model_script('performance_param(compiler_optimization_level=2)', append=True)\nrunner.compile()"
    )
    caller.told(
        "runner = ClientRunner(har='quantized.har')\n"
        f"runner.load_model_script('performance_param(fps=30, {line[len('performance_param(') :]}', append=True)\n"
        "runner.compile()"
    )


def test_a_failure_while_a_line_is_there(caller: Caller) -> None:
    ask(
        caller,
        failures=[{"at": "compile", "kind": "two_apus", "while": "quantization_param([output_layer1, output_layer2])"}],
    )
    assert "2 APUs" in caller.refused(COMPILE)
    caller.told(
        "runner = ClientRunner(har='quantized.har')\nrunner.load_model_script('set_seed(seed=5)')\nrunner.compile()"
    )


def test_wide_outputs_are_demoted_in_silence(caller: Caller) -> None:
    ask(caller, drop_wide_outputs=True).told(PREPARE.replace(".har", "8.har"))
    caller.told(COMPILE.replace("quantized", "quantized8"))
    streams = read_hef(caller.folder / "model.hef").network_groups[0].outputs
    assert [stream.data_bytes for stream in streams] == [1, 1, 1]
    assert "a16_w16" in caller.har("quantized8.har").member(".alls").decode()


def test_a_folded_activation_is_lost(caller: Caller) -> None:
    caller.told(COMPILE)
    right = read_hef(caller.folder / "model.hef").network_groups[0].outputs[2].quantization
    ask(caller, drop_activations=True).told(PREPARE.replace(".har", "x.har"))
    caller.told(COMPILE.replace("quantized", "quantizedx"))
    wrong = read_hef(caller.folder / "model.hef").network_groups[0].outputs[2].quantization
    assert (right.limits_min, right.limits_max) == pytest.approx((0, 1))
    assert (wrong.limits_min, wrong.limits_max) != pytest.approx((0, 1))


def test_a_hef_that_lacks_a_stream_or_is_for_another_chip(caller: Caller) -> None:
    ask(caller, missing_streams=1, hef_arch="hailo8").told(COMPILE)
    hef = read_hef(caller.folder / "model.hef")
    assert len(hef.network_groups[0].outputs) == 2
    assert hef.hw_arch == "hailo8"


def test_what_it_compiles_runs_here(caller: Caller) -> None:
    caller.told(COMPILE)
    outputs = HostSession(caller.folder / "model.hef").run(calibration(1)[0])
    assert [(str(value.dtype), value.shape) for value in outputs.values()] == [
        ("uint16", (1, 16, 16, 16)),
        ("uint16", (1, 16, 16, 5)),
        ("uint8", (1, 16, 16, 8)),
    ]


def test_its_allocation_spares_the_next_compile_of_the_same_network_the_search(caller: Caller) -> None:
    ask(caller, contexts=3, sleep={"compile": 0.5})
    caller.told(COMPILE)
    assert "Found valid partition to 3 contexts" in caller.log("allocator.log")
    assert "Iteration #2 - Contexts: 3" in caller.log("allocator.log")
    (caller.folder / "allocator.log").unlink()
    (caller.folder / "net.auto.alls").write_bytes(caller.har("compiled.har").member(".auto.alls"))
    caller.told(
        "runner = ClientRunner(har='quantized.har')\n"
        "runner.load_model_script('net.auto.alls', append=True)\nrunner.compile()"
    )
    assert "Found valid partition" not in caller.log("allocator.log")
    assert "Iteration #" not in caller.log("allocator.log")


def test_the_allocation_of_another_network_is_refused(caller: Caller) -> None:
    assert "doesn't exist in the HN" in caller.refused(
        "runner = ClientRunner(har='quantized.har')\n"
        "runner.load_model_script('context_0 = context([net/conv1, net/conv99])', append=True)"
    )


def test_no_licence(caller: Caller) -> None:
    assert "LicenseException: No valid license was found for hailo8" in ask(caller, licence=False).refused(
        "ClientRunner()"
    )
    ask(caller, licence=["hailo8"]).told("ClientRunner(hw_arch='hailo8')")
    assert "hailo8l" in caller.refused("ClientRunner(hw_arch='hailo8l')")
    assert "hailo8l" in caller.refused("ClientRunner(har='parsed.har')")


@pytest.mark.parametrize("stage", ["parse", "optimize", "compile"])
def test_the_disk_is_full(caller: Caller, stage: str) -> None:
    assert "OSError: [Errno 28] No space left on device" in ask(caller, disk_full=stage).refused(STEPS[stage])


@pytest.mark.parametrize("binary", [True, False])
def test_noise(caller: Caller, binary: bool) -> None:
    ask(caller, noise={"bytes": 3_000_000, "binary": binary, "at": ["compile"]})
    done = caller.run(COMPILE)
    assert done.returncode == 0
    assert len(done.stdout.encode()) > 3_000_000
    assert len(done.stderr.encode()) >= 3_000_000


@pytest.mark.parametrize("stage", list(STEPS))
def test_it_dies(caller: Caller, stage: str) -> None:
    assert ask(caller, die={"at": stage, "signal": 11}).run(STEPS[stage]).returncode == -signal.SIGSEGV
    assert ask(caller, die={"at": stage, "exit": 3}).run(STEPS[stage]).returncode == 3


@pytest.mark.parametrize("stubborn", [False, True])
def test_it_hangs_with_a_child(caller: Caller, stubborn: bool) -> None:
    ask(caller, hang="compile", stubborn=stubborn)
    (caller.folder / "hanging.pid").unlink(missing_ok=True)
    (caller.folder / "hang.py").write_text("from hailo_sdk_client import ClientRunner\n" + STEPS["compile"])
    process = subprocess.Popen(
        [caller.python, "hang.py"],
        cwd=caller.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 30
        while not (caller.folder / "hanging.pid").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.1)
        pids = [int(word) for word in (caller.folder / "hanging.pid").read_text().split()]
        assert pids[0] == process.pid
        assert [os.getpgid(pid) for pid in pids] == [process.pid] * 2
        process.terminate()
        time.sleep(0.3)
        assert (process.poll() is None) == stubborn
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_behaviour_that_does_not_exist(caller: Caller) -> None:
    with pytest.raises(TypeError, match="no behaviour hangs"):
        set_behaviour(caller.python, hangs="compile")


def test_what_is_handed_over_leaves_with_it(caller: Caller) -> None:
    before = set(caller.folder.glob(".dfc-double-*"))  # of those that were killed
    ask(caller, failures=[{"at": "optimize", "kind": "slope"}]).refused(STEPS["optimize"])
    assert set(caller.folder.glob(".dfc-double-*")) == before
