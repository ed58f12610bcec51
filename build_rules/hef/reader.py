"""Reading a HEF: from the protobuf message to `Hef`.

Where the streams are said `features.py` finds out. Only the layers at the boundary of the chip are streams, and they
are shown as the vendor's runtime sees them: without padding that it lets the device take off, quantized per feature
where the file says so, network groups by name.

Source of the format: HailoRT 4.17-5.2, open source (`hef.proto`, `hef.cpp`).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from build_rules.hef.container import Container, chunks, open_hef, scan_container
from build_rules.hef.features import Features, find_core_op, group_name, layouts, read_features, sorted_outputs
from build_rules.hef.parsable import NOT_LOOKED_AT, walk_message
from build_rules.hef.refusals import find_refusals
from build_rules.hef.schema import (
    BOUNDARY,
    HOST_ORDERS,
    KNOWN_FIELDS,
    LOGITS_KINDS,
    NMS_FORMAT,
    ContextField,
    ContextMetadataField,
    CoreOpField,
    EdgeField,
    EdgeLayerBaseField,
    EdgeLayerField,
    EdgeLayerInfoField,
    EdgeLayerMuxField,
    EdgeLayerPlanesField,
    EdgeType,
    HeaderField,
    HefField,
    MetadataField,
    NetworkGroupField,
    NmsInfoField,
    NmsOpField,
    NumericInfoField,
    OpField,
    PadEdgeField,
    PadField,
    SwitchInfoField,
)
from build_rules.hef.streams import Direction, Hef, HostOp, NetworkGroup, Nms, Quantization, Shape, Stream
from build_rules.protobuf import Message, TooLargeError
from build_rules.records.hardware import from_code

__all__ = ["hef_of", "read_hef", "read_payload"]

_NMS_KINDS = {
    NmsOpField.YOLOV5: "nms-yolov5",
    NmsOpField.YOLOX: "nms-yolox",
    NmsOpField.SSD: "nms-ssd",
    NmsOpField.IOU: "nms-iou",
    NmsOpField.YOLOV5_SEG: "nms-yolov5-seg",
    NmsOpField.YOLOV8: "nms-yolov8",
}
_PLANE_ORDERS = {0: "NV12", 1: "NV21", 2: "I420"}
_BBOX_VALUES = 5  # y, x, y, x and score of a box from NMS on the chip
_NHCW = 1  # the order on the device that the runtime can take padding off
# Bytes of the largest row that it can do that with, less one: of a Hailo-8, and of all others.
_HAILO8_ROW, _ROW = 0x10000, 0x2000
_NO_QUANTIZATION = Quantization(0.0, 0.0, 0.0, 0.0)


def read_hef(path: Path) -> Hef:
    """Read the HEF file at `path`; a ZIP appended to it is ignored. Weights are neither parsed nor kept in memory.

    Raises `InputError` when it is not a HEF file, is damaged, or is no protobuf message. What is not understood is told
    in `Hef.unknown` and left out.
    """
    with open_hef(path) as stream:
        return hef_of(stream, scan_container(stream, str(path)), str(path))


def hef_of(stream: BinaryIO, container: Container, where: str) -> Hef:
    """As `read_hef`, on an open file that has been scanned; `where` names it in errors."""
    # The message of a version 0 file holds all weights: map it instead of reading it. The views into it end with this
    # function, and the mapping with them.
    mapped = mmap.mmap(stream.fileno(), container.proto.end, access=mmap.ACCESS_READ)
    return _hef(memoryview(mapped)[container.proto.offset :], where, container)


def read_payload(path: Path) -> bytes:
    """Return the CCWs section of the HEF file at `path`, where an emulated file keeps its network. Version 0 has none.

    Raises `InputError` as `scan_container` does.
    """
    with open_hef(path) as stream:
        return b"".join(chunks(stream, scan_container(stream, str(path)).ccws))


def _hef(data: memoryview, where: str, container: Container) -> Hef:
    message = Message(data, where)
    header = message.message(HefField.HEADER)
    number = header.uint32(HeaderField.HW_ARCH)
    chips = from_code(number)
    features = read_features(message)
    unknown = [*_unknown_fields(message, "message"), *_unknown_fields(header, "header")]
    by_name = sorted(message.messages(HefField.NETWORK_GROUPS), key=lambda group: group_name(group).encode())
    groups = tuple(_network_group(group, features, unknown) for group in by_name)
    walk = walk_message(data)
    complete = walk.complete
    refusals: tuple[str, ...] = ()
    try:
        # Read anew, since both may look at as many fields as any file has.
        refusals = find_refusals(Message(data, where), walk, container.header.version)
    except TooLargeError:
        complete = False
    if not complete:
        unknown.append(NOT_LOOKED_AT)
    if not chips:
        unknown.append(f"architecture {number}")
    for stream in (stream for found in groups for stream in (*found.inputs, *found.outputs)):
        unknown += [f"{said} of {stream.name}" for said in (stream.order, stream.dtype) if said.startswith("unknown(")]
    return Hef(
        container=container,
        hw_arch=chips[0].name if chips else f"unknown({number})",
        sdk_version=header.string(HeaderField.SDK_VERSION),
        timestamp_ms=header.uint64(HeaderField.TIMESTAMP),
        extensions=tuple(extension.uint32(1) for extension in message.messages(HefField.EXTENSIONS)),
        network_groups=groups,
        unknown=tuple(dict.fromkeys(unknown)),
        arch_code=number,
        format_version=header.uint64(HeaderField.VERSION),
        refusals=refusals,
    )


def _unknown_fields(message: Message, name: str) -> Iterator[str]:
    return (f"field {number} of the {name}" for number in message.numbers if number not in KNOWN_FIELDS[name])


def _network_group(group: Message, features: Features, unknown: list[str]) -> NetworkGroup:
    unknown += _unknown_fields(group, "network group")
    ops = tuple(group.messages(NetworkGroupField.OPS))
    core = find_core_op(group, ops, features) or group
    core_op = next(iter(layouts(core, features)), core)
    metadata = core_op.message(CoreOpField.METADATA)
    contexts = tuple(core_op.messages(CoreOpField.CONTEXTS))
    layers = [
        layer
        for context in contexts
        for layer in context.message(ContextField.METADATA).messages(ContextMetadataField.EDGE_LAYERS)
        if layer.message(EdgeLayerField.SWITCH_INFO).uint32(SwitchInfoField.CONNECTION_TYPE) == BOUNDARY
    ]
    transposed = bool(metadata.uint32(MetadataField.TRANSPOSED))
    edges = [(layer, stream) for layer in layers for stream in _edge_layer(layer, transposed, features, unknown)]
    streams = [stream for _, stream in edges]
    by_pad = {
        layer.uint32(EdgeLayerField.PAD_INDEX): stream.name
        for layer, stream in edges
        if stream.direction == "output" and layer.has(EdgeLayerField.PAD_INDEX)
    }
    order = sorted_outputs(group, core, features) or core_op.strings(CoreOpField.SORTED_OUTPUTS)
    rank = {name: index for index, name in enumerate(order)}
    outputs = [stream for stream in streams if stream.direction == "output"]
    return NetworkGroup(
        name=metadata.string(MetadataField.NAME),
        inputs=tuple(stream for stream in streams if stream.direction == "input"),
        outputs=tuple(sorted(outputs, key=lambda stream: rank.get(stream.name, len(rank)))),
        contexts=len(contexts),
        host_ops=_host_ops(group, ops, by_pad),
    )


def _edge_layer(layer: Message, transposed: bool, features: Features, unknown: list[str]) -> Iterator[Stream]:
    direction: Direction = "output" if layer.uint32(EdgeLayerField.DIRECTION) else "input"
    kind = layer.uint32(EdgeLayerField.TYPE)
    if kind == EdgeType.INFO:
        info = layer.message(EdgeLayerField.INFO)
        stream = _stream(info, direction, transposed, features)
        base = info.message(EdgeLayerInfoField.BASE)
        yield replace(stream, padded_shape=_unpadded(base)) if _is_unpadded(base, features) else stream
    elif kind == EdgeType.MUX:
        yield from _mux(layer.message(EdgeLayerField.MUX), direction, transposed, features)
    elif kind == EdgeType.PLANES:
        yield _planes(layer.message(EdgeLayerField.PLANES), direction)
    else:
        unknown.append(f"type {kind} of an {direction} at the boundary of the chip, which is not listed")


def _is_unpadded(base: Message, features: Features) -> bool:
    """Whether the runtime lets the device take the padding off, so that unpadded rows travel over the bus.

    It does so where the compiler has not arranged for the padding (extension 11) and the rows are of a kind that the
    device can do it with (`HefConfigurator::is_core_hw_padding_supported`).
    """
    if not features.pads_itself or base.uint32(EdgeLayerBaseField.FORMAT) != _NHCW:
        return False
    height, width, channels = _unpadded(base)
    largest = _HAILO8_ROW if any(chip.hailort == 4 for chip in from_code(features.arch_code)) else _ROW
    row = min(largest, base.uint32(EdgeLayerBaseField.MAX_SHMIFO_SIZE) or largest)
    return (
        base.uint32(EdgeLayerBaseField.CORE_BUFFERS_PER_FRAME) == height
        and width * channels % 8 == 0
        and width * channels * base.uint32(EdgeLayerBaseField.DATA_BYTES) < row
    )


def _unpadded(base: Message) -> Shape:
    fields = (EdgeLayerBaseField.HEIGHT, EdgeLayerBaseField.WIDTH, EdgeLayerBaseField.FEATURES)
    height, width, channels = (base.uint32(field) for field in fields)
    return height, width, channels


def _mux(mux: Message, direction: Direction, transposed: bool, features: Features) -> Iterator[Stream]:
    for edge in mux.messages(EdgeLayerMuxField.PREDECESSORS):
        if edge.has(EdgeField.MUX):
            yield from _mux(edge.message(EdgeField.MUX), direction, transposed, features)
        else:
            yield _stream(edge.message(EdgeField.INFO), direction, transposed, features)


def _planes(planes: Message, direction: Direction) -> Stream:
    number = planes.uint32(EdgeLayerPlanesField.FORMAT)
    fields = (EdgeLayerPlanesField.HEIGHT, EdgeLayerPlanesField.WIDTH, EdgeLayerPlanesField.FEATURES)
    height, width, features = (planes.uint32(number) for number in fields)
    shape = (height, width, features)
    first = next(planes.messages(EdgeLayerPlanesField.PLANES), None)
    base = None if first is None else first.message(EdgeField.INFO).message(EdgeLayerInfoField.BASE)
    data_bytes = 1 if base is None else base.uint32(EdgeLayerBaseField.DATA_BYTES)
    name = planes.string(EdgeLayerPlanesField.NAME)
    order = _PLANE_ORDERS.get(number, f"unknown({number})")
    return Stream(name, direction, shape, shape, order, data_bytes, _NO_QUANTIZATION)


def _stream(info: Message, direction: Direction, transposed: bool, features: Features) -> Stream:
    base = info.message(EdgeLayerInfoField.BASE)
    number = base.uint32(EdgeLayerBaseField.FORMAT)
    order = HOST_ORDERS.get(number, f"unknown({number})")
    swapped = order != "NC" and (transposed or bool(info.uint32(EdgeLayerInfoField.TRANSPOSED)))
    return Stream(
        name=info.string(EdgeLayerInfoField.NAME),
        direction=direction,
        shape=_shape(base, number, swapped),
        padded_shape=(
            base.uint32(EdgeLayerBaseField.PADDED_HEIGHT),
            base.uint32(EdgeLayerBaseField.PADDED_WIDTH),
            base.uint32(EdgeLayerBaseField.PADDED_FEATURES),
        ),
        order=order,
        data_bytes=base.uint32(EdgeLayerBaseField.DATA_BYTES),
        quantization=_quantization(
            info.message(EdgeLayerInfoField.NUMERIC_INFO), features.per_feature and direction == "output"
        ),
        original_names=info.strings(EdgeLayerInfoField.ORIGINAL_NAMES),
    )


def _shape(base: Message, number: int, swapped: bool) -> Shape:
    if number == NMS_FORMAT:
        nms = base.message(EdgeLayerBaseField.ADDITIONAL_INFO).message(1)
        boxes = nms.uint32(NmsInfoField.MAX_OUTPUT_SIZE) * max(1, nms.uint32(NmsInfoField.DIVISION_FACTOR))
        return nms.uint32(NmsInfoField.CLASSES), _BBOX_VALUES, boxes
    height, width = base.uint32(EdgeLayerBaseField.HEIGHT), base.uint32(EdgeLayerBaseField.WIDTH)
    features = 1 if base.uint32(EdgeLayerBaseField.HOST_ARGMAX) else base.uint32(EdgeLayerBaseField.FEATURES)
    return (width, height, features) if swapped else (height, width, features)


def _quantization(info: Message, per_feature: bool) -> Quantization:
    return Quantization(
        scale=info.float32(NumericInfoField.SCALE),
        zero_point=info.float32(NumericInfoField.ZERO_POINT),
        limits_min=info.float32(NumericInfoField.LIMITS_MIN),
        limits_max=info.float32(NumericInfoField.LIMITS_MAX),
        scales=info.doubles(NumericInfoField.SCALES),
        zero_points=info.doubles(NumericInfoField.ZERO_POINTS),
        per_feature=per_feature,
    )


def _host_ops(group: Message, ops: tuple[Message, ...], by_pad: dict[int, str]) -> tuple[HostOp, ...]:
    edges = {
        edge.uint32(PadEdgeField.DESTINATION): edge.uint32(PadEdgeField.SOURCE)
        for edge in group.messages(NetworkGroupField.PAD_EDGES)
    }
    return tuple(_host_op(op, edges, by_pad) for op in ops if not op.has(OpField.CORE_OP))


def _host_op(op: Message, edges: dict[int, int], by_pad: dict[int, str]) -> HostOp:
    pads = [edges.get(pad.uint32(PadField.INDEX)) for pad in op.messages(OpField.INPUT_PADS)]
    inputs = tuple(by_pad[pad] for pad in pads if pad is not None and pad in by_pad)
    output = next(op.messages(OpField.OUTPUT_PADS), None)
    name = op.string(OpField.NAME) if output is None else output.string(PadField.NAME)
    if not op.has(OpField.NMS_OP):
        logits = op.message(OpField.LOGITS_OP).uint32(1)
        return HostOp(name, LOGITS_KINDS.get(logits, f"unknown({logits})"), inputs)
    nms = op.message(OpField.NMS_OP)
    kind = next((kind for number, kind in _NMS_KINDS.items() if nms.has(number)), "nms-unknown")
    suppression = Nms(
        classes=nms.uint32(NmsOpField.CLASSES),
        max_proposals_per_class=nms.uint32(NmsOpField.MAX_PROPOSALS_PER_CLASS),
        score_threshold=nms.float64(NmsOpField.SCORE_THRESHOLD),
        iou_threshold=nms.float64(NmsOpField.IOU_THRESHOLD),
        boxes_only=bool(nms.uint32(NmsOpField.BOXES_ONLY)),
    )
    return HostOp(name, kind, inputs, suppression)
