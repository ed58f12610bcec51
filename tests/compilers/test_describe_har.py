"""What a HAR tells without its compiler: those of the emulator, those with the vendor's member names, hostile ones."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.compilers.describe_har import describe, output_grids
from build_rules.compilers.har_file import dump_npz
from build_rules.compilers.npz_numbers import MAX_DIRECTORY, read_numbers
from build_rules.errors import InputError
from tests.compilers.nets import NORMAL, Build, detector
from tests.compilers.test_har_file import write_tar
from tests.shared import SHARED, needs_shared

BITS = "net/conv1/output_activation_bits:0"
SCRIPT = (
    f"{NORMAL}change_output_activation(conv9, sigmoid)\nquantization_param(output_layer1, precision_mode=a16_w16)\n"
)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    built = Build(tmp_path_factory.mktemp("describe"), *detector()).parse()
    scores = describe(built.parsed).outputs[1].stream.partition("/")[2]
    return built.optimize(SCRIPT.replace("conv9", scores))


def hn(**changes: Any) -> dict[str, Any]:
    """The HN of a network of one convolution with an output."""
    told = {"original_names": ["/a/Conv"], "params": {"activation": "linear"}} | changes
    links = {"input": ["net/input_layer1"], "output": ["net/output_layer1"], "output_shapes": [[-1, 4, 6, 8]]}
    layers = {
        "net/input_layer1": {"type": "input_layer", "input": [], "output_shapes": [[-1, 8, 12, 3]]},
        "net/conv1": {"type": "conv"} | links | told,
        "net/output_layer1": {"type": "output_layer", "input": ["net/conv1"], "output_shapes": [[-1, 4, 6, 8]]},
    }
    return {"name": "net", "net_params": {"output_layers_order": ["net/conv1"]}, "layers": layers}


def vendor(folder: Path, numbers: dict[str, Any] | bytes, mode: str = "w", **changes: Any) -> Path:
    """A HAR with the member names of the vendor's."""
    metadata = {"state": "quantized_model", "sdk_version": "3.33.0", "hw_arch": "hailo8"}
    members = {
        "net.hn": json.dumps(hn(**changes)).encode(),
        "net.metadata.json": json.dumps(metadata).encode(),
        "net.npz": b"weights",
        "net.q.npz": numbers if isinstance(numbers, bytes) else dump_npz(numbers),
        "net.alls": b"normalization1 = normalization([0.0], [255.0])\n",
        "net.auto.alls": b"",
    }
    return write_tar(folder / "vendor.har", members, mode)


def test_a_parsed_network_has_names_and_shapes_but_no_bits(build: Build) -> None:
    har = describe(build.parsed)
    assert (har.state, har.hw_arch, har.network, har.is_quantized) == ("hailo_model", "hailo8l", "net", False)
    assert har.input_shape == (1, 32, 32, 3)
    assert [out.original_names[-1] for out in har.outputs[:2]] == list(build.ends[:2])
    assert [out.shape[3] for out in har.outputs] == [16, 5, 8]
    assert [out.bits for out in har.outputs] == [None, None, None]
    assert har.script is None


def test_a_quantized_network_tells_what_the_script_made_of_it(build: Build) -> None:
    har = describe(build.har)
    assert har.is_quantized
    assert [(out.bits, out.activation) for out in har.outputs][:2] == [(16, "linear"), (8, "sigmoid")]
    assert [out.stream for out in har.outputs] == [out.stream for out in describe(build.parsed).outputs]
    assert har.script == build.script.read_text()
    by_name = {layer.name: layer for layer in har.layers}
    assert by_name["net/input_layer1"].kind == "input_layer"
    assert by_name[har.outputs[0].stream].original_names == har.outputs[0].original_names
    assert {layer.bits for layer in har.layers} == {None, 8, 16}
    assert [name for name, _, _ in output_grids(build.har)] == [out.stream for out in har.outputs]
    with pytest.raises(InputError, match=r"parsed\.har: does not tell net/output_layer1/output_scale:0"):
        output_grids(build.parsed)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("numbers", "bits"),
    [
        ({"net/output_layer1/output_activation_bits:0": np.asarray(16)}, 16),
        ({BITS: np.asarray([8], dtype=np.float32)}, 8),
        ({BITS: np.asarray(8), "net/output_layer1/output_activation_bits:0": np.asarray(16)}, 16),
        ({BITS: np.asarray([8, 8])}, None),
        ({BITS: np.asarray(4)}, None),
        ({BITS: np.asarray("8")}, None),
        ({BITS: np.asarray(np.nan)}, None),
        ({}, None),
        (b"", None),
        (b"no zip at all, but long enough to hold the end of one", None),
    ],
)
def test_the_bits_of_a_vendors_har(tmp_path: Path, numbers: Any, bits: int | None, mode: str) -> None:
    har = describe(vendor(tmp_path, numbers, mode))
    (output,) = har.outputs
    assert (output.stream, output.output_layer, output.shape) == ("net/conv1", "net/output_layer1", (1, 4, 6, 8))
    assert (output.bits, output.activation, output.original_names) == (bits, "linear", ("/a/Conv",))
    assert (har.sdk_version, har.hw_arch) == ("3.33.0", "hailo8")
    assert har.script == "normalization1 = normalization([0.0], [255.0])\n"


@pytest.mark.parametrize("params", [None, [], {}, {"activation": 7}])
def test_an_activation_that_is_not_there(tmp_path: Path, params: Any) -> None:
    assert describe(vendor(tmp_path, {}, params=params)).outputs[0].activation is None


def test_an_output_without_a_shape_is_refused(tmp_path: Path) -> None:
    document = hn()
    document["layers"]["net/output_layer1"]["output_shapes"] = [["a"]]
    path = write_tar(tmp_path / "a.har", {"net.hn": json.dumps(document).encode()})
    with pytest.raises(InputError, match=r"net/output_layer1 has no shape \[1, H, W, C\]"):
        describe(path)


def test_nothing_is_unpickled_or_believed(tmp_path: Path) -> None:
    def packed(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{BITS}.npy", data)
        return buffer.getvalue()

    huge, pickled = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<i4", "fortran_order": False, "shape": (1 << 40,)})
    np.lib.format.write_array(pickled, np.asarray({"a": 1}, dtype=object), allow_pickle=True)
    for data in (
        huge.getvalue() + b"8" * 64,
        pickled.getvalue(),
        b"\0" * (300 << 20),
        b"\x93NUMPY\1\0" + b"\xff" * 90,
    ):
        path = vendor(tmp_path, packed(data))
        tracemalloc.start()
        try:
            assert describe(path).outputs[0].bits is None
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
        finally:
            tracemalloc.stop()


def test_an_npz_of_a_million_arrays_is_not_listed() -> None:
    key, entry = "a:0", 46 + 8
    buffer = io.BytesIO(dump_npz({key: np.asarray(8)}))
    assert read_numbers(buffer, [key, "b:0"]) == {key: 8.0}
    data = bytearray(buffer.getvalue())
    data[-10:-6] = (MAX_DIRECTORY + entry).to_bytes(4, "little")
    assert read_numbers(io.BytesIO(bytes(data)), [key]) == {}
    whole = buffer.getvalue()
    twice = whole[:-22] + b"PK\6\7" + bytes(16) + whole[-22:]  # a ZIP64, which says its length once more
    assert read_numbers(io.BytesIO(twice), [key]) == {}
    assert read_numbers(io.BytesIO(b"short"), [key]) == {}


@needs_shared
@pytest.mark.parametrize(("name", "outputs"), [("yolov4", 12), ("mobilenet_v2", 1)])
def test_a_real_hn(tmp_path: Path, name: str, outputs: int) -> None:
    data = (SHARED / "hars" / f"{name}.hn").read_bytes()
    har = describe(write_tar(tmp_path / "a.har", {f"{name}.hn": data}))
    assert len(har.outputs) == outputs
    assert all(layer.shape is not None for layer in har.layers)
    assert {out.activation for out in har.outputs} <= {"linear", "sigmoid"}
    assert har.input_shape in ((1, 512, 512, 3), (1, 224, 224, 3))
    if name == "mobilenet_v2":
        assert har.outputs[0].shape == (1, 1, 1, 1000)
