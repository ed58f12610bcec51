"""Writing a HEF from scratch: a network group with one context, streams at its boundary, a payload instead of weights.

The vendor's runtime lists the streams of such a file with `parse-hef`; it finds nothing to run. What it insists on, and
what is therefore written: extension 26; a partial layout for the chips that are read by it; one buffer index per
stream; unique names that fit its 128-byte fields; one network name. Field order and values follow real files.

Source of the format: HailoRT 4.17-5.2, open source (`hef.proto`, `hef.cpp`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from build_rules.errors import InputError
from build_rules.hef.container import build_container
from build_rules.hef.schema import (
    ContextField,
    ContextMetadataField,
    CoreOpField,
    EdgeLayerBaseField,
    EdgeLayerField,
    EdgeLayerInfoField,
    Extension,
    HeaderField,
    HefField,
    MetadataField,
    NetworkGroupField,
    NumericInfoField,
)
from build_rules.hef.streams import Quantization, Stream
from build_rules.protobuf import write_bytes, write_doubles, write_float, write_string, write_uint
from build_rules.records.hardware import HARDWARE

__all__ = ["MAX_NAME", "HefSpec", "build_proto", "write_hef"]

MAX_NAME = 127  # bytes of a name; the runtime adds a zero
_MAX_STREAMS = 256
_UINT16, _UINT32 = 0xFFFF, 0xFFFFFFFF
_FULL_LAYOUT = 1  # bitmap of clusters of the one partial layout
_SHMIFO_SIZE = 65536
# Order on the host -> order on the device, as the vendor's compiler chooses it.
_FORMATS = {"input": {"NHWC": 0, "NC": 2}, "output": {"NHWC": 1, "NC": 2, "FCR": 3}}
_EXTENSION_NAMES = {
    Extension.MULTI_NETWORK_VARIABLE_BATCH_SIZE: "Multi-network variable batch size",
    Extension.PERIPH_CALCULATION_IN_HAILORT: "Periph configuration calculated in HailoRT",
}


@dataclass(frozen=True)
class HefSpec:
    """What `write_hef` writes. `outputs` come in the order the host shall list them."""

    hw_arch: str
    sdk_version: str
    timestamp_ms: int
    network_group: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]


def write_hef(spec: HefSpec, ccws: bytes = b"", version: int = 3) -> bytes:
    """Return a whole HEF file with the streams of `spec` and `ccws` as its payload. Same arguments, same bytes.

    Raises `InputError` when the vendor's runtime would not list such a file, or the version has no place for a payload.
    """
    return build_container(build_proto(spec, 5 if version else 4), ccws, version)


def build_proto(spec: HefSpec, format_version: int) -> bytes:
    """Return the protobuf message for `spec`. Raises `InputError` when the vendor's runtime would not list it."""
    _check(spec)
    header = (
        write_uint(HeaderField.HW_ARCH, HARDWARE[spec.hw_arch].codes[0])
        + write_uint(HeaderField.TIMESTAMP, spec.timestamp_ms)
        + write_string(HeaderField.SDK_VERSION, spec.sdk_version)
        + write_uint(HeaderField.VERSION, format_version)
    )
    return (
        write_bytes(HefField.HEADER, header)
        + write_bytes(HefField.NETWORK_GROUPS, _network_group(spec))
        + write_bytes(HefField.INCLUDED_FEATURES, b"")
        + write_bytes(HefField.EXTENSIONS, _extension(Extension.PERIPH_CALCULATION_IN_HAILORT))
        + write_bytes(HefField.OPTIONAL_EXTENSIONS, _extension(Extension.MULTI_NETWORK_VARIABLE_BATCH_SIZE))
    )


def _extension(extension: Extension) -> bytes:
    return write_uint(1, extension) + write_string(2, _EXTENSION_NAMES[extension])


def _network_group(spec: HefSpec) -> bytes:
    metadata = write_string(MetadataField.NAME, spec.network_group) + write_uint(MetadataField.CFG_CHANNELS_COUNT, 1)
    group = (
        write_bytes(CoreOpField.METADATA, metadata)
        + write_bytes(CoreOpField.CONTEXTS, _context(spec))
        + b"".join(write_string(CoreOpField.SORTED_OUTPUTS, stream.name) for stream in spec.outputs)
        + write_bytes(CoreOpField.FUSED_LAYERS, b"")
        + write_string(CoreOpField.NETWORKS_NAMES, spec.network_group)
    )
    if not HARDWARE[spec.hw_arch].partial_layouts:
        return group
    partial = write_bytes(1, group) + write_bytes(2, write_uint(1, _FULL_LAYOUT))
    return group + write_bytes(NetworkGroupField.PARTIALS, partial)


def _context(spec: HefSpec) -> bytes:
    streams = (*spec.inputs, *spec.outputs)
    metadata = b"".join(
        write_bytes(ContextMetadataField.EDGE_LAYERS, _edge_layer(stream, index))
        for index, stream in enumerate(streams)
    ) + b"".join(write_string(ContextMetadataField.SORTED_OUTPUTS, stream.name) for stream in spec.outputs)
    return write_bytes(ContextField.METADATA, metadata)


def _edge_layer(stream: Stream, index: int) -> bytes:
    info = (
        write_string(EdgeLayerInfoField.NAME, stream.name)
        + write_bytes(EdgeLayerInfoField.BASE, _base(stream, index))
        + write_bytes(EdgeLayerInfoField.NUMERIC_INFO, _numeric_info(stream.quantization))
        + write_string(EdgeLayerInfoField.HN_OUTPUT_LAYER_NAME, stream.name)
        + b"".join(write_string(EdgeLayerInfoField.ORIGINAL_NAMES, name) for name in stream.original_names)
    )
    return (
        write_uint(EdgeLayerField.DIRECTION, int(stream.direction == "output"))
        + write_bytes(EdgeLayerField.INFO, info)
        + write_bytes(EdgeLayerField.SWITCH_INFO, write_string(2, "context_0"))
    )


def _base(stream: Stream, index: int) -> bytes:
    bytes_per_buffer, buffers = _buffers(stream)
    values = {
        EdgeLayerBaseField.HEIGHT: stream.shape[0],
        EdgeLayerBaseField.PADDED_HEIGHT: stream.padded_shape[0],
        EdgeLayerBaseField.WIDTH: stream.shape[1],
        EdgeLayerBaseField.PADDED_WIDTH: stream.padded_shape[1],
        EdgeLayerBaseField.FEATURES: stream.shape[2],
        EdgeLayerBaseField.PADDED_FEATURES: stream.padded_shape[2],
        EdgeLayerBaseField.FORMAT: _FORMATS[stream.direction][stream.order],
        EdgeLayerBaseField.SYS_INDEX: index,
        EdgeLayerBaseField.CORE_BYTES_PER_BUFFER: bytes_per_buffer,
        EdgeLayerBaseField.CORE_BUFFERS_PER_FRAME: buffers,
        EdgeLayerBaseField.DATA_BYTES: stream.data_bytes,
    }
    return (
        b"".join(write_uint(field, value) for field, value in values.items())
        + write_bytes(EdgeLayerBaseField.BUFFER_INDICES, write_uint(1, index))
        + write_uint(EdgeLayerBaseField.MAX_SHMIFO_SIZE, _SHMIFO_SIZE)
    )


def _buffers(stream: Stream) -> tuple[int, int]:
    """Bytes per buffer and buffers per frame: a row each, or an equal part of a row that is too long for 16 bits."""
    height, width, features = stream.padded_shape
    row = width * features * stream.data_bytes
    for parts in range(1, _UINT16 // height + 1 if height <= _UINT16 else 1):
        if row % parts == 0 and row // parts <= _UINT16:
            return row // parts, height * parts
    raise InputError(
        f"stream {stream.name!r}: a frame of {height}x{width}x{features} cannot be split into 16-bit buffers."
    )


def _numeric_info(quantization: Quantization) -> bytes:
    return (
        write_float(NumericInfoField.ZERO_POINT, quantization.zero_point)
        + write_float(NumericInfoField.SCALE, quantization.scale)
        + write_float(NumericInfoField.LIMITS_MIN, quantization.limits_min)
        + write_float(NumericInfoField.LIMITS_MAX, quantization.limits_max)
        + write_doubles(NumericInfoField.ZERO_POINTS, quantization.zero_points)
        + write_doubles(NumericInfoField.SCALES, quantization.scales)
    )


def _check(spec: HefSpec) -> None:
    if spec.hw_arch not in HARDWARE:
        raise InputError(f"hw_arch {spec.hw_arch!r} is not known; choose one of {', '.join(HARDWARE)}.")
    if not spec.sdk_version.isprintable():
        raise InputError(f"sdk_version {spec.sdk_version!r} is not printable.")
    if not 0 <= spec.timestamp_ms < 1 << 64:
        raise InputError(f"timestamp_ms is {spec.timestamp_ms}; it must be a number of milliseconds since 1970.")
    if not spec.inputs or not spec.outputs:
        raise InputError(f"network group {spec.network_group!r} needs at least one input and one output.")
    streams = (*spec.inputs, *spec.outputs)
    if len(streams) > _MAX_STREAMS:
        raise InputError(
            f"network group {spec.network_group!r} has {len(streams)} streams; at most {_MAX_STREAMS} fit."
        )
    names = [stream.name for stream in streams]
    for name in (spec.network_group, *names):
        if not name.isprintable() or not 0 < len(name.encode()) <= MAX_NAME:
            raise InputError(f"the name {name!r} must have 1 to {MAX_NAME} printable bytes, or the runtime refuses it.")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"stream names must be unique; more than once there: {', '.join(repeated)}.")
    for direction, side in (("input", spec.inputs), ("output", spec.outputs)):
        for stream in side:
            _check_stream(stream, direction)


def _check_stream(stream: Stream, direction: str) -> None:
    def require(condition: bool, what: str) -> None:
        if not condition:
            raise InputError(f"stream {stream.name!r}: {what}.")

    require(stream.direction == direction, f"is an {stream.direction} among the {direction}s")
    orders = _FORMATS[direction]
    require(stream.order in orders, f"order {stream.order!r} is not one of {', '.join(orders)}")
    require(stream.data_bytes in (1, 2), f"has {stream.data_bytes} bytes per value; 1 and 2 can be written")
    require(min(stream.shape) > 0, f"shape {stream.shape} must be positive")
    require(all(name.isprintable() for name in stream.original_names), "an original name is not printable")
    fits = all(padded >= size for size, padded in zip(stream.shape, stream.padded_shape, strict=True))
    require(fits, f"padded shape {stream.padded_shape} is smaller than the shape {stream.shape}")
    require(math.prod(stream.padded_shape) * stream.data_bytes <= _UINT32, f"shape {stream.padded_shape} is over 4 GiB")
    _check_quantization(stream.quantization, stream.shape[2], require)


def _check_quantization(quantization: Quantization, features: int, require: Callable[[bool, str], None]) -> None:
    for name in ("scale", "zero_point", "limits_min", "limits_max"):
        value = getattr(quantization, name)
        require(_is_float32(value), f"{name} is {value}, which is not a finite 32-bit number")
    for name in ("scales", "zero_points"):
        values = getattr(quantization, name)
        require(len(values) in (0, features), f"has {len(values)} {name} for {features} features")
        require(all(map(math.isfinite, values)), f"one of its {name} is not finite")


def _is_float32(value: float) -> bool:
    try:
        return math.isfinite(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return False
