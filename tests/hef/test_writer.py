from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.hef import HefSpec, Quantization, Stream, read_hef, read_payload, write_hef
from build_rules.hef.header import LAYOUTS
from build_rules.hef.schema import ARCHITECTURES
from build_rules.hef.writer import build_proto
from build_rules.protobuf import Message
from tests.hef.samples import BOXES, IMAGE, REAL, SCORES, spec
from tests.shared import needs_shared


@pytest.mark.parametrize("hw_arch", sorted(set(ARCHITECTURES.values())))
@pytest.mark.parametrize("version", tuple(LAYOUTS))
def test_round_trip(version: int, hw_arch: str, tmp_path: Path) -> None:
    wanted, path, payload = spec(hw_arch), tmp_path / "a.hef", b"network" * 1000 if version else b""
    path.write_bytes(write_hef(wanted, payload, version))
    hef = read_hef(path)
    assert (hef.version, hef.hw_arch, hef.sdk_version) == (version, hw_arch, wanted.sdk_version)
    assert (hef.timestamp_ms, hef.extensions) == (wanted.timestamp_ms, (26,))
    (group,) = hef.network_groups
    assert (group.name, group.contexts) == ("net", 1)
    assert group.inputs == wanted.inputs
    assert group.outputs == wanted.outputs
    assert math.copysign(1, group.outputs[0].quantization.zero_point) == -1
    assert read_payload(path) == payload


def test_same_arguments_same_bytes() -> None:
    assert write_hef(spec(), b"x") == write_hef(spec(), b"x")
    assert len(write_hef(spec(), b"", 1)) < 4096


def test_partial_layouts_are_there_where_the_runtime_needs_them() -> None:
    def partials(hw_arch: str) -> int:
        return len(list(Message(build_proto(spec(hw_arch), 5), "").message(2).messages(7)))

    assert {arch for arch in set(ARCHITECTURES.values()) if partials(arch)} == {"hailo8l", "hailo15m"}


def test_what_the_runtime_insists_on() -> None:
    group = Message(build_proto(spec("hailo8l"), 5), "").message(2)
    for core in (group, next(group.messages(7)).message(1)):
        layers = list(core.message(3).message(3).messages(2))
        assert len(layers) == 4
        indices = [layer.message(3).message(2).uint32(8) for layer in layers]
        assert indices == [0, 1, 2, 3]
        for layer in layers:
            base = layer.message(3).message(2)
            assert len(list(base.messages(13))) == 1
            assert base.uint32(9) * base.uint32(10) == base.uint32(2) * base.uint32(4) * base.uint32(6) * base.uint32(
                12
            )
        assert core.strings(6) == ("net",)
        assert len(core.strings(4)) == 3


@given(st.integers(1, 2000), st.integers(1, 4000), st.integers(1, 64), st.sampled_from((1, 2)))
def test_buffers_fit_16_bits(height: int, width: int, features: int, data_bytes: int) -> None:
    shape = (height, width, features)
    wanted = replace(spec(), outputs=(replace(SCORES, shape=shape, padded_shape=shape, data_bytes=data_bytes),))
    row = width * features * data_bytes
    if all(row % parts for parts in range(-(-row // 0xFFFF), 0xFFFF // height + 1)):
        with pytest.raises(InputError, match="16-bit buffers"):
            build_proto(wanted, 5)
        return
    proto = build_proto(wanted, 5)
    base = list(Message(proto, "").message(2).message(3).message(3).messages(2))[1].message(3).message(2)
    assert 0 < base.uint32(9) <= 0xFFFF
    assert 0 < base.uint32(10) <= 0xFFFF
    assert base.uint32(9) * base.uint32(10) == height * width * features * data_bytes


def change(stream: Stream, **values: Any) -> HefSpec:
    return replace(spec(), outputs=(replace(stream, **values),))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(spec(), hw_arch="hailo9"), "hw_arch 'hailo9' is not known"),
        (replace(spec(), timestamp_ms=-1), "timestamp_ms"),
        (replace(spec(), sdk_version="a\0"), "sdk_version"),
        (replace(spec(), outputs=()), "at least one input and one output"),
        (replace(spec(), inputs=()), "at least one input and one output"),
        (replace(spec(), outputs=(BOXES, BOXES)), "must be unique.*net/conv41"),
        (replace(spec(), outputs=(IMAGE,)), "must be unique"),
        (replace(spec(), network_group="n" * 128), "must have 1 to 127"),
        (change(BOXES, name="ä" * 64), "must have 1 to 127"),
        (change(BOXES, name=""), "must have 1 to 127"),
        (change(BOXES, name="a\0b"), "printable"),
        (change(BOXES, original_names=("\ud800",)), "original name"),
        (change(BOXES, direction="input"), "is an input among the outputs"),
        (change(BOXES, order="NHCW"), "order 'NHCW' is not one of NHWC, NC, FCR"),
        (change(BOXES, data_bytes=4), "4 bytes per value"),
        (change(BOXES, shape=(0, 1, 63)), "must be positive"),
        (change(BOXES, padded_shape=(8, 12, 62)), "smaller than the shape"),
        (change(BOXES, padded_shape=(1 << 16, 1 << 16, 64)), "over 4 GiB"),
        (change(SCORES, quantization=Quantization(math.nan, 0, 0, 1)), "scale is nan"),
        (change(SCORES, quantization=Quantization(1, 0, -1e300, 1)), "limits_min"),
        (change(SCORES, quantization=Quantization(1, 0, 0, 1, (1.0,))), "1 scales for 3 features"),
        (change(SCORES, quantization=Quantization(1, 0, 0, 1, (), (1.0, math.inf, 2.0))), "not finite"),
    ],
)
def test_what_the_runtime_would_not_list_is_refused(wrong: HefSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_hef(wrong)


def test_version_0_has_no_place_for_a_payload() -> None:
    with pytest.raises(InputError, match="version 0"):
        write_hef(spec(), b"x", 0)


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_the_streams_of_a_real_file_written_anew(path: Path, tmp_path: Path) -> None:
    real = read_hef(path)
    (group,) = real.network_groups
    again = tmp_path / "again.hef"
    wanted = HefSpec(real.hw_arch, real.sdk_version, real.timestamp_ms, group.name, group.inputs, group.outputs)
    again.write_bytes(write_hef(wanted))
    (written,) = read_hef(again).network_groups
    assert (written.inputs, written.outputs) == (group.inputs, group.outputs)
