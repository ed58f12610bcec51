"""Networks that a hostile HEF or HAR could carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from build_rules.compilers.emulator.payload import pack_payload
from build_rules.hef import HefSpec, Quantization, Stream, write_hef

__all__ = ["external_tensor", "leaking", "passing", "save_hef"]

UNIT = Quantization(1.0, 0.0, 0.0, 255.0)


def external_tensor(location: str, name: str = "secret") -> TensorProto:
    """A tensor of 192 bytes whose data lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=(1, 8, 8, 3))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value="192")
    return tensor


def leaking(location: str) -> dict[str, onnx.ModelProto]:
    """Models that copy a file into their output, by where the reference to it hides."""
    plain = passing()
    plain.graph.initializer.append(external_tensor(location))
    plain.graph.node[0].input[0] = "secret"
    attribute = passing()
    attribute.graph.node[0].CopyFrom(helper.make_node("Constant", [], ["out"], value=external_tensor(location)))
    subgraph = passing()
    branch = helper.make_graph(
        [helper.make_node("Identity", ["secret"], ["chosen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.UINT8, [1, 8, 8, 3])],
        [external_tensor(location)],
    )
    subgraph.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(True), "yes"))
    subgraph.graph.node[0].CopyFrom(helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch))
    function = passing()
    body = [helper.make_node("Constant", [], ["out"], value=external_tensor(location))]
    imports = [helper.make_opsetid("", 17)]
    function.functions.append(helper.make_function("own", "Leak", ["x"], ["out"], body, imports))
    function.opset_import.append(helper.make_opsetid("own", 1))
    function.graph.node[0].CopyFrom(helper.make_node("Leak", ["image"], ["out"], domain="own"))
    return {"initializer": plain, "attribute": attribute, "subgraph": subgraph, "function": function}


def passing(
    shape: tuple[int | str, ...] = (1, 8, 8, 3), out: str = "out", kind: int = TensorProto.UINT8
) -> onnx.ModelProto:
    """A network that delivers its input."""
    source = helper.make_tensor_value_info("image", kind, shape)
    result = helper.make_tensor_value_info(out, kind, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["image"], [out])], "net", [source], [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_hef(path: Path, network: onnx.ModelProto | bytes, payload: bytes | None = None) -> Path:
    """Write an emulated HEF around a network, or with another payload in its place."""
    data = network if isinstance(network, bytes) else network.SerializeToString()
    streams = [
        Stream(name, direction, (8, 8, 3), (8, 8, 8), "NHWC", 1, UNIT)  # type: ignore[arg-type]
        for name, direction in (("net/input_layer1", "input"), ("net/conv1", "output"))
    ]
    spec = HefSpec("hailo8l", "0.1.0-emulated", 0, "net", inputs=(streams[0],), outputs=(streams[1],))
    path.write_bytes(write_hef(spec, pack_payload(data, 6) if payload is None else payload))
    return path
