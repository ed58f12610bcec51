"""The double keeps the documented contract of the DFC: calls, states, names, refusals, logs, archives."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from build_rules.compilers.har_file import output_layers
from build_rules.hef import read_hef
from tests.compilers.dfc.doubles import Caller
from tests.dfc_double.environment import make_environment

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
