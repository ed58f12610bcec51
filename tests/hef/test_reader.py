from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.hef import Hef, HostOp, Nms, Stream, build_container, parsable, read_hef
from build_rules.hef.container import scan_container
from build_rules.hef.parsable import NOT_LOOKED_AT
from build_rules.hef.reader import _hef
from build_rules.hef.writer import build_proto
from build_rules.protobuf import write_bytes, write_doubles, write_float, write_string, write_uint
from tests.hef import hailort
from tests.hef.samples import REAL, message, spec
from tests.shared import needs_shared


def parse_hef_text(stream: Stream) -> str:
    """Type, order and shape as the vendor's `parse-hef` prints them: `UINT8, NHWC(640x640x3)`."""
    height, width, features = stream.shape
    sizes = {"NC": f"{features}", "NHW": f"{height}x{width}"}.get(stream.order, f"{height}x{width}x{features}")
    return f"{stream.dtype.upper()}, {stream.order}({sizes})"


def read(proto: bytes) -> Hef:
    container = scan_container(io.BytesIO(build_container(proto)), "test.hef")
    return _hef(memoryview(proto), "test.hef", container)


def info(name: str, height: int, width: int, features: int, form: int, data_bytes: int = 1, more: bytes = b"") -> bytes:
    sizes = (height, height, width, width, features, features, form)
    base = b"".join(write_uint(number, size) for number, size in enumerate(sizes, 1)) + write_uint(12, data_bytes)
    return write_string(1, name) + write_bytes(2, base + more) + write_bytes(3, write_float(2, 0.5))


def edge(body: bytes, direction: int = 1, pad: int | None = None, connection: int = 0) -> bytes:
    layer = write_uint(1, direction) + body + write_bytes(5, write_uint(3, connection))
    return layer if pad is None else layer + b"\x38" + bytes([pad])


def core(name: str, *layers: bytes) -> bytes:
    metadata = write_bytes(3, b"".join(write_bytes(2, layer) for layer in layers))
    return write_bytes(1, write_string(1, name)) + write_bytes(3, metadata)


def hef(group: bytes, hw_arch: int = 1) -> bytes:
    return write_bytes(1, write_uint(1, hw_arch)) + write_bytes(2, group)


def names(streams: tuple[Stream, ...]) -> list[str]:
    return [stream.name for stream in streams]


PRINTED = {
    "v0_hand_landmark_lite": ("hailo8", 1, ["UINT8, NHWC(224x224x3)"], {
        "fc1": "UINT8, NC(63)", "fc4": "UINT8, NC(1)", "fc3": "UINT8, NC(1)", "fc2": "UINT8, NC(63)"}),
    "v0_xfeat_b": ("hailo8", 2, ["UINT8, NHWC(480x640x3)"], {
        "conv24": "UINT8, NHWC(60x80x64)", "conv9": "UINT8, FCR(60x80x65)", "conv27": "UINT8, FCR(60x80x1)"}),
    "v1_arcface_mobilefacenet": ("hailo8", 1, ["UINT8, NHWC(112x112x3)"], {"fc1": "UINT8, NC(512)"}),
    "v1_yolov5n_seg_h8_rpicam": ("hailo8", 1, ["UINT8, NHWC(640x640x3)"], {
        "conv63": "UINT8, FCR(160x160x32)", "conv61": "UINT16, FCR(20x20x351)",
        "conv55": "UINT16, FCR(40x40x351)", "conv48": "UINT16, FCR(80x80x351)"}),
    "v3_scrfd_2.5g": ("hailo15h", 1, ["UINT8, NHWC(640x640x3)"], {
        f"conv{number}": f"UINT8, NHWC({size}x{size}x{features})"
        for numbers, size in (((43, 42, 44), 80), ((50, 49, 51), 40), ((56, 55, 57), 20))
        for number, features in zip(numbers, (8, 2, 20), strict=True)}),
}  # fmt: skip


def format_text(stream: Stream) -> str:
    """Type, order and shape as the vendor's `parse-hef` prints them."""
    height, width, features = stream.shape
    sizes = {"NC": f"{features}", "NHW": f"{height}x{width}"}.get(stream.order, f"{height}x{width}x{features}")
    return f"{stream.dtype.upper()}, {stream.order}({sizes})"


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files_as_the_vendors_tool_prints_them(path: Path) -> None:
    hw_arch, contexts, inputs, outputs = PRINTED[path.stem]
    read = read_hef(path)
    assert (read.hw_arch, read.version) == (hw_arch, int(path.name[1]))
    assert 26 in read.extensions
    (group,) = read.network_groups
    assert group.contexts == contexts
    assert [parse_hef_text(stream) for stream in group.inputs] == inputs
    assert {stream.name: parse_hef_text(stream) for stream in group.outputs} == {
        f"{group.name}/{name}": text for name, text in outputs.items()
    }
    assert names(group.outputs) == [f"{group.name}/{name}" for name in outputs]
    assert all(stream.original_names for stream in (*group.inputs, *group.outputs))


@needs_shared
def test_real_quantization() -> None:
    read = read_hef(REAL[3])
    assert (read.sdk_version, read.timestamp_ms) == ("3.29.0", 1726766164866)
    protos, boxes = read.network_groups[0].outputs[:2]
    assert protos.original_names == ("Conv_206", "Sigmoid_207", "Mul_208")
    assert (boxes.dtype, boxes.padded_shape) == ("uint16", (20, 20, 352))
    quantization = boxes.quantization
    assert quantization.zero_point == 20458.0
    assert quantization.scale == pytest.approx(0.0006719132)
    assert (quantization.limits_min, quantization.limits_max) == pytest.approx((-13.746, 8.27058))
    assert len(quantization.scales) == len(quantization.zero_points) == 351
    assert quantization.scales == pytest.approx([quantization.scale] * 351)


def test_only_the_boundary_counts() -> None:
    group = core(
        "net",
        edge(write_bytes(3, info("net/in", 4, 4, 3, 0)), direction=0),
        edge(write_bytes(3, info("net/inter", 4, 4, 3, 0)), connection=1),
        edge(write_bytes(3, info("net/ddr", 4, 4, 3, 0)), connection=2),
        edge(write_bytes(3, info("net/out", 4, 4, 3, 1))),
    )
    (read_group,) = read(hef(group)).network_groups
    assert (names(read_group.inputs), names(read_group.outputs)) == (["net/in"], ["net/out"])
    assert read_group.outputs[0].order == "NHWC"


def test_work_on_the_host_puts_the_streams_under_a_core_op() -> None:
    streams = [edge(write_bytes(3, info(f"net/conv{i}", 8, 8, 64, 1)), pad=i) for i in (5, 6)]
    core_op = write_bytes(1, write_string(1, "ignored")) + core("net", *streams) + write_string(6, "net")
    nms = (
        write_bytes(8, b"")[:0]
        + b"\x09"
        + _double(0.25)
        + b"\x11"
        + _double(0.7)
        + write_uint(3, 100)
        + write_uint(4, 80)
    )
    pads = write_bytes(2, write_uint(1, 15)) + write_bytes(2, write_uint(1, 16))
    nms_op = write_string(1, "nms1") + pads + write_bytes(3, write_uint(1, 20) + write_string(2, "net/yolov8_nms"))
    softmax_op = write_string(1, "softmax1") + write_bytes(6, write_uint(1, 1))
    edges = write_bytes(9, write_uint(1, 5) + write_uint(2, 15)) + write_bytes(9, write_uint(1, 6) + write_uint(2, 16))
    group = (
        write_bytes(8, write_bytes(4, core_op))
        + write_bytes(8, nms_op + write_bytes(5, nms + write_bytes(12, b"")))
        + write_bytes(8, softmax_op)
        + edges
        + write_string(4, "net/yolov8_nms")
    )
    (read_group,) = read(hef(group)).network_groups
    assert read_group.name == "net"
    assert names(read_group.outputs) == ["net/conv5", "net/conv6"]
    assert read_group.host_ops == (
        HostOp("net/yolov8_nms", "nms-yolov8", ("net/conv5", "net/conv6"), Nms(80, 100, 0.25, 0.7)),
        HostOp("softmax1", "softmax", ()),
    )


def _double(value: float) -> bytes:
    return write_doubles(1, [value])[2:]


def test_a_partial_layout_counts_where_the_architecture_has_them() -> None:
    partial = write_bytes(7, write_bytes(1, core("net", edge(write_bytes(3, info("net/out", 4, 4, 3, 1))))))
    old = core("old", edge(write_bytes(3, info("old/out", 4, 4, 3, 1))))
    assert read(hef(old + partial, 3)).network_groups[0].name == "net"
    assert read(hef(old + partial, 1)).network_groups[0].name == "old"
    under_op = write_bytes(8, write_bytes(4, partial))
    assert names(read(hef(under_op, 4)).network_groups[0].outputs) == ["net/out"]


def test_the_order_of_a_partial_layout_counts_before_the_groups() -> None:
    layers = [edge(write_bytes(3, info(name, 4, 4, 8, 1))) for name in ("a", "b")]
    partial = write_bytes(7, write_bytes(1, core("net", *layers) + write_string(4, "b") + write_string(4, "a")))
    group = partial + write_string(4, "a") + write_string(4, "b")
    assert names(read(hef(group, 3)).network_groups[0].outputs) == ["b", "a"]


def test_very_old_files_keep_the_order_in_the_last_context() -> None:
    layers = b"".join(write_bytes(2, edge(write_bytes(3, info(name, 4, 4, 8, 1)))) for name in ("a", "b"))
    group = write_bytes(3, write_bytes(3, layers + write_string(5, "b") + write_string(5, "a")))
    assert names(read(hef(group)).network_groups[0].outputs) == ["b", "a"]


def test_a_mux_is_the_tensors_inside() -> None:
    inner = write_bytes(5, write_bytes(1, info("net/b", 4, 4, 8, 1)))
    mux = write_bytes(5, write_bytes(1, info("net/a", 2, 2, 8, 1))) + write_bytes(5, write_bytes(2, inner))
    group = (
        core("net", edge(write_uint(2, 1) + write_bytes(4, mux))) + write_string(4, "net/b") + write_string(4, "net/a")
    )
    assert names(read(hef(group)).network_groups[0].outputs) == ["net/b", "net/a"]


def test_planes_are_one_picture() -> None:
    planes = write_string(1, "net/in") + b"".join(
        write_uint(number, size) for number, size in ((4, 480), (5, 640), (6, 3))
    )
    planes += write_bytes(3, write_bytes(1, info("net/y", 480, 640, 1, 0)))
    group = core("net", edge(write_uint(2, 2) + write_bytes(8, planes), direction=0))
    assert parse_hef_text(read(hef(group)).network_groups[0].inputs[0]) == "UINT8, NV12(480x640x3)"


def test_shapes_that_are_not_plain() -> None:
    nms = write_bytes(11, write_bytes(1, write_uint(2, 80) + write_uint(3, 100) + write_uint(7, 2)))
    argmax = write_bytes(
        2, write_uint(1, 4) + write_uint(3, 6) + write_uint(5, 19) + write_uint(12, 1) + write_uint(14, 1)
    )
    group = core(
        "net",
        edge(write_bytes(3, info("net/nms", 0, 0, 0, 6, 2, nms))),
        edge(write_bytes(3, write_string(1, "net/argmax") + argmax)),
        edge(write_bytes(3, info("net/turned", 4, 6, 8, 1) + write_uint(6, 1))),
    )
    shapes = {stream.name: stream.shape for stream in read(hef(group)).network_groups[0].outputs}
    assert shapes == {"net/nms": (80, 5, 200), "net/argmax": (4, 6, 1), "net/turned": (6, 4, 8)}


def test_fused_outputs_have_their_own_order() -> None:
    layers = [edge(write_bytes(3, info(name, 4, 4, 8, 1))) for name in ("a", "b")]
    fused = write_bytes(5, write_uint(1, 1) + write_string(2, "b") + write_string(2, "a"))
    group = core("net", *layers) + write_string(4, "a") + write_string(4, "b") + fused
    assert names(read(hef(group)).network_groups[0].outputs) == ["b", "a"]


@pytest.mark.parametrize(
    ("layer", "order", "dtype"),
    [
        (write_bytes(3, info("net/x", 1, 1, 1, 99)), "unknown(99)", "uint8"),
        (write_bytes(3, info("net/x", 1, 1, 1, 1, 3)), "NHWC", "unknown(3)"),
        (write_uint(2, 2) + write_bytes(8, write_uint(2, 7)), "unknown(7)", "uint8"),
    ],
)
def test_what_is_not_understood_is_shown(layer: bytes, order: str, dtype: str) -> None:
    found = read(hef(core("net", edge(layer))))
    (stream,) = found.network_groups[0].outputs
    assert (stream.order, stream.dtype) == (order, dtype)
    assert found.unknown[0].startswith(order if "unknown" in order else dtype)


def test_several_network_groups() -> None:
    groups = [core(name, edge(write_bytes(3, info(f"{name}/x", 1, 1, 1, 1)))) for name in ("first", "second")]
    found = read(hef(groups[0]) + write_bytes(2, groups[1])).network_groups
    assert [(group.name, names(group.outputs)) for group in found] == [("first", ["first/x"]), ("second", ["second/x"])]


def test_an_edge_of_an_unknown_kind_is_told_and_left_out() -> None:
    found = read(hef(core("net", edge(write_uint(2, 9)), edge(write_bytes(3, info("net/x", 1, 1, 1, 1))))))
    assert names(found.network_groups[0].outputs) == ["net/x"]
    assert found.unknown == ("type 9 of an output at the boundary of the chip, which is not listed",)


def test_fields_that_are_newer_than_this_reader_are_told() -> None:
    proto = hef(core("net") + write_uint(99, 1)) + write_uint(77, 3)
    assert read(proto).unknown == ("field 77 of the message", "field 99 of the network group")


def test_an_unknown_architecture_is_named_by_its_number() -> None:
    assert read(hef(b"", 77)).hw_arch == "unknown(77)"


def test_an_empty_message_is_an_empty_hef(tmp_path: Path) -> None:
    path = tmp_path / "empty.hef"
    path.write_bytes(build_container(b""))
    read = read_hef(path)
    assert (read.hw_arch, read.sdk_version, read.network_groups) == ("hailo8", "", ())


@settings(max_examples=300)
@given(st.data())
def test_mutated_messages_are_read_or_are_an_input_error(data: st.DataObject) -> None:
    proto = bytearray(build_proto(spec("hailo8l"), 5))
    for _ in range(data.draw(st.integers(1, 4))):
        proto[data.draw(st.integers(0, len(proto) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(proto)))
    for damaged in (bytes(proto), bytes(proto[:cut])):
        with suppress(InputError):
            read(damaged)


# As the runtime sees it.


def shown(proto: bytes) -> dict[str, Stream]:
    (group,) = read(proto).network_groups
    return {stream.name.removeprefix("net/"): stream for stream in (*group.inputs, *group.outputs)}


def base_of(hef: Any, index: int) -> Any:
    return hef.groups[0].contexts[0].metadata.layers[index].info.base


UNPADDED: dict[str, tuple[str, Any, tuple[int, int, int]]] = {
    # SCORES have 8 rows of 12 x 3 values, padded to 12 x 8.
    "rows of 36 bytes": ("hailo8", lambda base: None, (8, 12, 8)),
    "rows of 40 bytes": ("hailo8", lambda base: base.MergeFrom(type(base)(features=5, width=8)), (8, 8, 5)),
    "other buffers than rows": ("hailo8", lambda base: base.MergeFrom(type(base)(features=2, buffers=16)), (8, 12, 8)),
    "another order": ("hailo8", lambda base: base.MergeFrom(type(base)(features=2, format=3)), (8, 12, 8)),
    "small memory": ("hailo8", lambda base: base.MergeFrom(type(base)(features=2, shmifo=24)), (8, 12, 8)),
    "memory for a row": ("hailo8", lambda base: base.MergeFrom(type(base)(features=2, shmifo=25)), (8, 12, 2)),
    "long rows": ("hailo8", lambda base: base.MergeFrom(type(base)(features=2000)), (8, 12, 2000)),
    "long rows on a Hailo-15": ("hailo15h", lambda base: base.MergeFrom(type(base)(features=2000)), (8, 12, 8)),
    "wide values": ("hailo15h", lambda base: base.MergeFrom(type(base)(features=400, data_bytes=2)), (8, 12, 8)),
}


@pytest.mark.parametrize("name", UNPADDED)
def test_the_runtime_takes_padding_off_where_the_compiler_did_not(name: str) -> None:
    hw_arch, change, padded = UNPADDED[name]

    def apply(hef: Any) -> None:
        change(base_of(hef, 1))

    def apply_with_extension(hef: Any) -> None:
        apply(hef)
        hef.optional.add(type=11)

    for one, expected in ((apply, padded), (apply_with_extension, (8, 12, 8))):
        proto = message(hw_arch, one)
        judged = hailort.listed(proto)
        assert {f"net/{key}": stream.padded_shape for key, stream in shown(proto).items()} == judged
        assert shown(proto)["conv42"].padded_shape == expected


def test_padding_stays_where_the_extension_does_not_count() -> None:
    """A mandatory 11 says nothing of padding, and a header of version 0 nothing of extensions."""

    def narrow(hef: Any) -> None:
        base_of(hef, 1).features = 2
        hef.extensions.add(type=11)

    def old(hef: Any) -> None:
        narrow(hef)
        hef.optional.add(type=11)
        hef.header.ClearField("version")

    assert shown(message("hailo8", narrow))["conv42"].padded_shape == (8, 12, 2)
    assert shown(message("hailo8", old))["conv42"].padded_shape == (8, 12, 2)


def test_vectors_count_with_extension_25_alone() -> None:
    def vectors(hef: Any) -> None:
        for layer in hef.groups[0].contexts[0].metadata.layers:
            layer.info.numbers.scales[:] = [0.5] * layer.info.base.features
            layer.info.numbers.zps[:] = [3.0] * layer.info.base.features

    def counting(hef: Any) -> None:
        vectors(hef)
        hef.extensions.add(type=25)

    assert not any(stream.quantization.per_feature for stream in shown(message("hailo8", vectors)).values())
    streams = shown(message("hailo8", counting))
    assert {key: stream.quantization.per_feature for key, stream in streams.items()} == {
        **dict.fromkeys(("conv41", "conv42", "fc1"), True),
        "input_layer1": False,
    }
    assert streams["conv42"].quantization.scales == (0.5, 0.5, 0.5)


def test_groups_are_listed_by_name() -> None:
    def several(hef: Any) -> None:
        for name in ("b", "ä", "a", "B"):
            hef.groups.add().CopyFrom(hef.groups[0])
            hef.groups[-1].metadata.name = name

    found = read(message("hailo8", several))
    assert [group.name for group in found.network_groups] == ["B", "a", "b", "net", "ä"]
    assert found.refusals == ()


@pytest.mark.parametrize(("code", "chips"), [(103, ("hailo15h", "hailo10h")), (3, ("hailo8l",)), (5, ("hailo10h",))])
def test_a_number_may_have_two_names(code: int, chips: tuple[str, ...]) -> None:
    assert read(hef(core("net"), code)).chips == chips
    assert read(hef(core("net"), 77)).chips == ("unknown(77)",)


def test_contexts_of_the_group_count_where_net_flow_is_off() -> None:
    op = write_bytes(8, write_bytes(4, core("op", edge(write_bytes(3, info("op/out", 4, 4, 3, 1))))))
    group = core("net", edge(write_bytes(3, info("net/out", 4, 4, 3, 1)))) + op
    extension = write_bytes(5, write_uint(1, 13))
    header = write_bytes(1, write_uint(1, 1) + write_uint(4, 5))
    assert names(read(header + write_bytes(2, group)).network_groups[0].outputs) == ["net/out"]
    assert names(read(header + write_bytes(2, group) + extension).network_groups[0].outputs) == ["op/out"]


def test_a_message_of_more_fields_than_are_walked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsable, "MAX_FIELDS", 50)
    found = read(message())
    assert found.unknown == (NOT_LOOKED_AT,)
    assert len(found.network_groups[0].outputs) == 3
