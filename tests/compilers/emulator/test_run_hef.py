"""What runs on the host, and what does not: code for silicon, networks that are none or want files of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from build_rules.compilers.emulator import runnable
from build_rules.compilers.emulator.har_members import ONNX_MEMBER
from build_rules.compilers.emulator.payload import pack_payload, unpack_payload
from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.compilers.har_file import Har, read_har, write_har
from build_rules.errors import InputError
from tests.compilers.emulator.hostile import leaking, passing, save_hef
from tests.compilers.nets import NORMAL, Build, detector, images

FAST = NORMAL + "model_optimization_flavor(optimization_level=0, compression_level=0)\n"


def test_a_file_of_ours_without_a_network(tmp_path: Path) -> None:
    build = Build(tmp_path, *detector()).parse()
    save_hef(tmp_path / "a.hef", b"", payload=b"code")
    with pytest.raises(InputError, match=r"a\.hef: holds no network of the emulator"):
        HostSession(tmp_path / "a.hef")
    with pytest.raises(InputError, match=r"parsed\.har: is a hailo_model, in which nothing is quantized yet"):
        HostSession(build.parsed)


def test_a_har_gives_what_its_hef_gives(tmp_path: Path) -> None:
    build = Build(tmp_path, *detector()).all(FAST)
    image = np.ascontiguousarray(images(1)[0].transpose(1, 2, 0))
    expected = HostSession(build.hef).run(image)
    outputs = HostSession(build.har).run(image)
    assert list(outputs) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(outputs[name], values)


def test_payload_round_trip_and_damage() -> None:
    payload = pack_payload(b"network" * 100, 6)
    assert unpack_payload(payload) == b"network" * 100
    assert unpack_payload(b"something else") is None
    with pytest.raises(InputError, match="cut short"):
        unpack_payload(payload[:-3])
    with pytest.raises(InputError, match="damaged"):
        unpack_payload(payload[:20] + b"\xff\xff" + payload[22:])


def test_a_sound_network_runs(tmp_path: Path) -> None:
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    np.testing.assert_array_equal(HostSession(save_hef(tmp_path / "a.hef", passing())).run(image)["out"], image[None])


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
def test_files_of_the_machine_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(192))
    monkeypatch.chdir(tmp_path)
    hef = save_hef(tmp_path / "a.hef", leaking("secret.bin")[place])
    with pytest.raises(InputError, match=r"a\.hef: .*another file of this machine"):
        HostSession(hef)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (b"garbage", "not an ONNX model"),
        (b"", "no graph"),
        (passing(("N", 8, 8, 3)), "not one image"),
        (passing((1, 8, 8)), "not one image"),
        (passing(kind=onnx.TensorProto.FLOAT), "not one image"),
    ],
)
def test_networks_that_cannot_run_name_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], network: onnx.ModelProto | bytes, told: str
) -> None:
    with pytest.raises(InputError, match=rf"a\.hef: .*{told}"):
        HostSession(save_hef(tmp_path / "a.hef", network))
    assert capfd.readouterr().err == ""


def test_a_network_that_fails_names_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    unknown, late = passing(), passing()
    unknown.graph.node[0].op_type = "Unheard\x1b[31m"
    with pytest.raises(InputError, match=r"a\.hef: its network cannot be run"):
        HostSession(save_hef(tmp_path / "a.hef", unknown))
    late.graph.node[0].CopyFrom(onnx.helper.make_node("Reshape", ["image", "shape"], ["out"], name="\x1b[31m"))
    late.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 5]), "shape"))
    session = HostSession(save_hef(tmp_path / "b.hef", late))
    with pytest.raises(InputError, match=r"b\.hef: its network cannot be run"):
        session.run(np.zeros((8, 8, 3), dtype=np.uint8))
    assert capfd.readouterr().err == ""


def test_networks_that_are_large_before_they_run(tmp_path: Path) -> None:
    many = passing()
    many.graph.node.extend(onnx.NodeProto() for _ in range(100_001))
    with pytest.raises(InputError, match=r"a\.hef: .*over 100000 nodes"):
        HostSession(save_hef(tmp_path / "a.hef", many))
    outputs = passing()
    outputs.graph.node.extend(onnx.helper.make_node("Identity", ["image"], [f"o{index}"]) for index in range(256))
    outputs.graph.output.extend(
        onnx.helper.make_tensor_value_info(f"o{index}", onnx.TensorProto.UINT8, [1, 8, 8, 3]) for index in range(256)
    )
    with pytest.raises(InputError, match="257 outputs; no device has more than 256"):
        HostSession(save_hef(tmp_path / "b.hef", outputs))
    wide = passing()
    wide.graph.node[0].CopyFrom(onnx.helper.make_node("Expand", ["image", "shape"], ["out"]))
    wide.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1 << 21, 8, 8, 3]), "shape"))
    wide.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1 << 21
    with pytest.raises(InputError, match="delivers 402653184 values for one image, more than any device"):
        HostSession(save_hef(tmp_path / "c.hef", wide))


def with_external(har: Har, member: str) -> Har:
    """The HAR with the first weights of one of its models moved to another file."""
    model = onnx.load_model_from_string(har.members[member])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    return Har(**{**vars(har), "members": {**har.members, member: model.SerializeToString()}})


def test_hars_bring_all_their_weights(tmp_path: Path) -> None:
    build = Build(tmp_path, *detector()).parse()
    parsed = read_har(build.parsed)
    write_har(build.parsed, with_external(parsed, "net" + ONNX_MEMBER))
    with pytest.raises(InputError, match="another file of this machine"):
        build.optimize(FAST)
    write_har(build.parsed, parsed)
    build.optimize(FAST)
    quantized = read_har(build.har)
    write_har(build.har, with_external(quantized, "net.emulator.quantized.onnx"))
    with pytest.raises(InputError, match=r"model\.har: .*another file of this machine"):
        build.compile()
    with pytest.raises(InputError, match=r"model\.har: .*another file of this machine"):
        HostSession(build.har)
    members = {**quantized.members, "net.emulator.quantized.onnx": b"garbage"}
    write_har(build.har, Har(**{**vars(quantized), "members": members}))
    with pytest.raises(InputError, match=r"model\.har: .*not an ONNX model"):
        build.compile()


def _network(nodes: list[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    """A network from `image` to `out`."""
    made = passing()
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return made


def _loop() -> onnx.ModelProto:
    made, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    ends = [value("go_on", 9, []), value("kept", 2, [1, 8, 8, 3])]
    starts = [value("count", 7, []), value("go", 9, []), value("held", 2, [1, 8, 8, 3])]
    body = [made("Identity", ["go"], ["go_on"]), made("Identity", ["held"], ["kept"])]
    node = made("Loop", ["times", "yes", "image"], ["out"], body=onnx.helper.make_graph(body, "body", starts, ends))
    return _network([node], times=np.int64(1 << 62), yes=np.bool_(True))


def _branch() -> onnx.ModelProto:
    made, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph([made("Identity", ["image"], ["then"])], "b", [], [value("then", 2, [1, 8, 8, 3])])
    return _network([made("If", ["yes"], ["out"], then_branch=body, else_branch=body)], yes=np.bool_(True))


def _expanded(source: str) -> onnx.ModelProto:
    made = onnx.helper.make_node
    nodes = [
        made("Cast", ["image"], ["float"], to=1),
        made("ReduceMax", ["float"], ["one"], keepdims=1),
        made("Expand", [source, "shape"], ["large"]),
        made("ReduceMax", ["large"], ["again"], keepdims=1),
        made("Cast", ["again"], ["byte"], to=2),
        made("Add", ["image", "byte"], ["out"]),
    ]
    return _network(nodes, shape=np.array([1, 1, 1 << 16, 1 << 16]), stored=np.zeros((1, 1, 1, 1), np.float32))


def _made_of_its_size() -> onnx.ModelProto:
    made = onnx.helper.make_node
    nodes = [
        made("Shape", ["image"], ["size"]),
        made("Mul", ["size", "much"], ["large"]),
        made("ConstantOfShape", ["large"], ["zeros"]),
        made("ReduceMax", ["zeros"], ["one"], keepdims=1),
        made("Cast", ["one"], ["byte"], to=2),
        made("Add", ["image", "byte"], ["out"]),
    ]
    return _network(nodes, much=np.array([1, 1 << 12, 1 << 12, 1 << 8]))


def _called() -> onnx.ModelProto:
    made = _network([onnx.helper.make_node("Own", ["image"], ["out"], domain="own")])
    body = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    made.functions.append(onnx.helper.make_function("own", "Own", ["x"], ["y"], body, made.opset_import))
    made.opset_import.append(onnx.helper.make_opsetid("own", 1))
    return made


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (_loop(), "(Loop) has a graph inside"),
        (_branch(), "(If) has a graph inside"),
        (_called(), "has local functions"),
        (_expanded("stored"), "(Expand) computes something without the image"),
        (_made_of_its_size(), "(Shape) computes something without the image"),
        (_expanded("one"), "wants more than 4 GiB of memory"),
    ],
    ids=["loop", "branch", "function", "constant", "size", "expansion"],
)
def test_networks_without_bounds(tmp_path: Path, network: onnx.ModelProto, told: str) -> None:
    with pytest.raises(InputError) as caught:
        HostSession(save_hef(tmp_path / "a.hef", network)).run(np.zeros((8, 8, 3), np.uint8))
    assert str(caught.value).startswith(f"{tmp_path / 'a.hef'}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "has", "told"),
    [
        ("MAX_NODES", 1, "more than 0 nodes"),
        ("MAX_OUTPUTS", 1, "has 1 outputs; no device has more than 0"),
        ("MAX_OUTPUT_BYTES", 192, "delivers 192 values for one image"),
        ("MAX_INPUT_BYTES", 192, r"takes tensor\(uint8\) \[1, 8, 8, 3\], not one image"),
    ],
)
def test_as_much_as_a_network_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, has: int, told: str
) -> None:
    path = save_hef(tmp_path / "a.hef", passing())
    monkeypatch.setattr(runnable, limit, has)
    HostSession(path)
    monkeypatch.setattr(runnable, limit, has - 1)
    with pytest.raises(InputError, match=rf"a\.hef: its network .*{told}"):
        HostSession(path)


def test_a_payload_of_zeros_is_not_unpacked(tmp_path: Path) -> None:
    zeros = _network([onnx.helper.make_node("Identity", ["image"], ["out"])], w=np.zeros(64 << 20, np.uint8))
    with pytest.raises(InputError, match=r"a\.hef: .*larger than 1[78] MiB"):
        HostSession(save_hef(tmp_path / "a.hef", zeros))


def test_a_network_that_takes_too_long_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runnable, "MAX_SECONDS", 0.05)
    made = onnx.helper.make_node
    # Thousands of steps of some milliseconds: the run ends at the next one.
    steps = [made("Softmax", [f"x{i}"], [f"x{i + 1}"]) for i in range(2000)]
    nodes = [made("Cast", ["image"], ["f"], to=1), made("Tile", ["f", "times"], ["x0"]), *steps]
    nodes += [made("Slice", ["x2000", "from", "to"], ["first"]), made("Cast", ["first"], ["out"], to=2)]
    times, begin, end = np.array([64, 8, 8, 8]), np.array([0, 0, 0, 0]), np.array([1, 8, 8, 3])
    network = _network(nodes, times=times, to=end, **{"from": begin})
    with pytest.raises(InputError, match=r"a\.hef: its network takes more than 0\.05 seconds for one image"):
        HostSession(save_hef(tmp_path / "a.hef", network)).run(np.zeros((8, 8, 3), np.uint8))


def test_a_hef_that_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Build(tmp_path, *detector()).parse().optimize(FAST)
    monkeypatch.setattr("build_rules.compilers.emulator.payload.MAX_NETWORK_BYTES", 1 << 10)
    with pytest.raises(InputError, match="larger than 0 MiB"):
        build.compile()
