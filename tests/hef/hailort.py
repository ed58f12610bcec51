"""HailoRT's own checks of a file, written again from its sources (`hef.cpp` of 4.23 and 5.2) with nothing of ours.

The runtime cannot be installed here; this says what it would say about length and checksum, parses the message with
Google's protobuf package, as the runtime does, and builds from it what the runtime builds, in its order. The schema is
`hef.proto`, as far as it matters; what is left out of it the parser skips.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import xxhash
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

__all__ = ["Hef", "listed", "message_refusal", "refusal"]

SUPPORTED = {
    4: {*range(7), *range(9, 33)},
    5: {*range(7), *range(9, 36)},
}


def refusal(data: bytes, line: int = 4) -> str | None:
    """Return the error with which HailoRT 4.x or 5.x refuses the file, None when it goes on to the message."""
    magic, version, proto_size = struct.unpack_from(">4sII", data)
    if magic != b"\x01HEF":
        return "magic"
    checksum: bytes | int
    found: bytes | int
    if version == 0:
        header, rest, checksum = 32, proto_size, data[16:32]
        found = hashlib.md5(data[header:]).digest()
    elif version == 1:
        crc, ccws = struct.unpack_from(">IQ", data, 12)
        header, rest, checksum = 28, proto_size + ccws, crc
        found = zlib.crc32(data[header:])
    elif version == 2:
        xxh3, ccws = struct.unpack_from(">QQ", data, 12)
        header, rest, checksum = 44, proto_size + ccws, xxh3
        found = xxhash.xxh3_64_intdigest(data[header:])
    elif version == 3:
        xxh3, ccws, _, additional, proto_xxh3 = struct.unpack_from(">QQIQQ", data, 12)
        header, rest, checksum = 56, proto_size + ccws + additional, xxh3
        if line == 5 and proto_xxh3:
            return None if xxhash.xxh3_64_intdigest(data[header : header + proto_size]) == proto_xxh3 else "checksum"
        found = xxhash.xxh3_64_intdigest(data[header:])
    else:
        return "version"
    if len(data) - header != rest:
        return "length"
    return None if found == checksum else "checksum"


# message -> "kind name = number" of its fields; `*` before a kind is repeated, `?` optional with presence.
SCHEMA = {
    "Hef": ["Header header=1", "*Group groups=2", "*Extension extensions=5", "*Extension optional=6"],
    "Header": ["uint32 arch=1", "uint64 timestamp=2", "string sdk=3", "uint64 version=4"],
    "Extension": ["uint32 type=1", "string name=2"],
    "Group": [
        *("Metadata metadata=1", "Preliminary preliminary=2", "*Context contexts=3", "*string sorted=4"),
        *("Fused fused=5", "*string networks=6", "*PartialGroup partials=7", "*Op ops=8", "*Edge edges=9"),
    ],
    "PartialGroup": ["Group inner=1", "Layout layout=2"],
    "Core": [
        *("Metadata metadata=1", "Preliminary preliminary=2", "*Context contexts=3", "*string sorted=4"),
        *("Fused fused=5", "*string networks=6", "*PartialCore partials=7"),
    ],
    "PartialCore": ["Core inner=1", "Layout layout=2"],
    "Layout": ["uint32 bitmap=1"],
    "Metadata": ["string name=1", "uint32 index=2", "bool transposed=3", "uint32 channels=5"],
    "Preliminary": ["*Operation operations=1"],
    "Fused": ["bool has_fused=1", "*string sorted=2"],
    "Context": ["uint32 index=1", "*Operation operations=2", "ContextMetadata metadata=3"],
    "Operation": ["Trigger trigger=1", "*Action actions=2"],
    "Trigger": ["uint32 id=1", "Number lcu=2"],
    "Action": ["uint32 id=1", "Data write=2", "Ccw ccw=3", "Number allow=10", "Pointer pointer=16"],
    "Number": ["uint32 value=1"],
    "Data": ["uint64 address=1", "bytes data=2"],
    "Ccw": ["bytes data=1", "uint32 channel=2"],
    "Pointer": ["uint64 offset=1", "uint32 size=2"],
    "ContextMetadata": ["string name=1", "*Layer layers=2", "*string sorted=5"],
    "Layer": [
        *("uint32 direction=1", "uint32 type=2", "Info info=3", "Mux mux=4", "Switch switch=5", "uint32 network=6"),
        *("?uint32 pad=7", "Planes planes=8"),
    ],
    "Switch": ["uint32 index=1", "string name=2", "uint32 type=3", "string connected=5"],
    "Info": [
        "string name=1",
        "Base base=2",
        "Numbers numbers=3",
        "string hn=4",
        "*string original=5",
        "bool transposed=6",
    ],
    "Inside": ["Info info=1", "Mux mux=2"],
    "Mux": ["string name=1", "Base base=2", "MuxData data=3", "*Inside inside=5"],
    "MuxData": ["uint32 count=1", "uint32 gcd=2", "*uint32 ratios=4"],
    "Planes": ["string name=1", "uint32 format=2", "*Inside planes=3", "uint32 h=4", "uint32 w=5", "uint32 f=6"],
    "Base": [
        *("uint32 height=1", "uint32 padded_height=2", "uint32 width=3", "uint32 padded_width=4", "uint32 features=5"),
        *("uint32 padded_features=6", "uint32 format=7", "uint32 sys_index=8", "uint32 buffer_bytes=9"),
        *("uint32 buffers=10", "Additional additional=11", "uint32 data_bytes=12", "*Number indices=13"),
        *("bool argmax=14", "uint32 shmifo=15", "uint32 engine=16"),
    ],
    "Additional": ["Nms nms=1"],
    "Nms": ["uint64 classes=2", "uint64 size=3", "uint32 burst_type=9"],
    "Numbers": ["float zp=1", "float scale=2", "float low=3", "float high=4", "*double zps=5", "*double scales=6"],
    "Op": ["string name=1", "*Pad inputs=2", "*Pad outputs=3", "Core core=4", "NmsOp nms=5", "Number logits=6"],
    "Pad": ["uint32 index=1", "string name=2"],
    "Edge": ["uint32 source=1", "uint32 destination=2"],
    "NmsOp": [
        *(
            "double score=1",
            "double iou=2",
            "uint32 proposals=3",
            "uint32 classes=4",
            "Yolo yolov5=7",
            "Yolo iou_op=10",
        ),
        *("Yolov8 yolov8=12", "bool boxes_only=13"),
    ],
    "Yolo": ["double height=1"],
    "Yolov8": ["double height=1", "double width=2", "*Yolov8Box boxes=4"],
    "Yolov8Box": ["uint32 stride=1", "uint32 reg=2", "uint32 cls=3"],
}


def _hef_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="judge.proto", package="judge", syntax="proto3")
    field_kind = descriptor_pb2.FieldDescriptorProto
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for text in fields:
            kind, rest = text.split(" ")
            field_name, number = rest.split("=")
            repeated, optional, kind = kind.startswith("*"), kind.startswith("?"), kind.lstrip("*?")
            field = message.field.add(name=field_name, number=int(number))
            field.label = field_kind.LABEL_REPEATED if repeated else field_kind.LABEL_OPTIONAL
            if kind in SCHEMA:
                field.type, field.type_name = field_kind.TYPE_MESSAGE, f".judge.{kind}"
            else:
                field.type = getattr(field_kind, f"TYPE_{kind.upper()}")
            if optional:
                message.oneof_decl.add(name=f"_{field_name}")
                field.oneof_index, field.proto3_optional = len(message.oneof_decl) - 1, True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("judge.Hef"))


Hef: Any = _hef_class()
"""The class of the whole message, to build synthetic files with and to take real ones apart."""


class _Refused(Exception):
    pass


def _check(condition: bool, why: str) -> None:
    if not condition:
        raise _Refused(why)


def message_refusal(proto: bytes, version: int, line: int = 4) -> str | None:
    """Return why the runtime refuses, or crashes on, a message in a file of a header version; None when it loads."""
    try:
        _judge(proto, version, line)
    except _Refused as refused:
        return str(refused)
    return None


def _judge(proto: bytes, version: int, line: int) -> None:
    hef = Hef()
    try:
        hef.ParseFromString(proto)
    except Exception:
        raise _Refused("parse") from None
    extensions = {one.type for one in hef.extensions} if hef.header.version else set()
    optional = {one.type for one in hef.optional} if hef.header.version else set()
    names = set()
    for group in hef.groups:
        name = (group.partials[0].inner if group.partials else group).metadata.name
        _check(name not in names, "group name")
        names.add(name)
        whole = group
        if 13 in extensions:
            cores = [op.core for op in group.ops if op.HasField("core")]
            _check(bool(cores), "net flow without core op")
            whole = cores[0]
        parts = [partial.inner for partial in whole.partials] if hef.header.arch in (3, 4) else [whole]
        _check(bool(parts), "partials")
        for part in parts:
            _judge_core(part, extensions, optional, hef.header.arch, version)
        _judge_outputs(group, whole, parts[0], 13 in extensions)
    _check({one.type for one in hef.extensions} <= SUPPORTED[line], "extension")
    _check(26 in extensions, "outdated")


def _judge_core(core: Any, extensions: set[int], optional: set[int], arch: int, version: int) -> None:
    _check(bool(core.contexts), "contexts")
    seen = set()
    operations = [one for context in core.contexts for one in context.operations] + list(core.preliminary.operations)
    for action in (action for operation in operations for action in operation.actions):
        _check(not (action.HasField("ccw") and version), "ccw in message")
        _check(not (action.HasField("pointer") and not version), "ccw pointer")
    for layer in (layer for context in core.contexts for layer in context.metadata.layers):
        _check(layer.switch.type <= 3, "connection")
        _check(layer.type <= 2, "layer type")
        if layer.switch.type:
            _check(layer.type == 0, "layer type inside")
            _judge_numbers(layer.info.base)
            continue
        _check(8 not in optional or layer.network % 256 < len(core.networks), "networks")
        body = (layer.info, layer.mux, layer.planes)[layer.type]
        _check(body.name not in seen, "stream name")
        seen.add(body.name)
        _check(len(body.name.encode()) <= 127, "long name")
        if layer.type == 0:
            _judge_info(layer.info, bool(layer.direction), 25 in extensions, 19 in extensions, arch)
        elif layer.type == 1:
            _judge_base(layer.mux.base, 19 in extensions, arch)
            _check(layer.mux.data.count <= len(layer.mux.inside), "mux")
            for inside in layer.mux.inside[: layer.mux.data.count]:
                _check(inside.HasField("info"), "mux kind")
                _judge_info(inside.info, bool(layer.direction), 25 in extensions, 19 in extensions, arch)
        else:
            _check(bool(layer.planes.planes), "planes")
            _check(layer.planes.format <= 2, "planes order")
            for inside in layer.planes.planes:
                _check(inside.HasField("info"), "planes kind")
                _judge_info(inside.info, bool(layer.direction), 25 in extensions, 19 in extensions, arch)
            _check(len({inside.info.base.data_bytes for inside in layer.planes.planes}) == 1, "planes types")


def _judge_base(base: Any, bursts: bool, arch: int) -> None:
    _judge_numbers(base)
    _check(not base.argmax, "argmax")
    _check(bool(base.indices), "buffer indices")
    if base.format == 6:
        wanted = ({1} if arch in (0, 1, 2, 3) else {2, 3}) if bursts else {0}
        _check(base.additional.nms.burst_type in wanted, "burst")


def _judge_numbers(base: Any) -> None:
    _check(base.format in (*range(9), 11, 13, 14, 15, 16), "order")
    _check(base.data_bytes in (1, 2), "data bytes")
    _check(max(base.buffer_bytes, base.buffers) <= 0xFFFF, "buffers")
    _check(max(base.sys_index, base.engine) <= 0xFF, "index")


def _judge_info(info: Any, output: bool, per_feature: bool, bursts: bool, arch: int) -> None:
    _check(len(info.name.encode()) <= 127, "long name")
    _judge_base(info.base, bursts, arch)
    if per_feature and info.base.format != 6:
        lengths = {len(info.numbers.zps), len(info.numbers.scales)}
        wanted = info.base.features
        _check(lengths == {wanted} if output else min(lengths) >= wanted, "vectors")


def _judge_outputs(group: Any, whole: Any, part: Any, net_flow: bool) -> None:
    if whole.fused.has_fused:
        order = list(whole.fused.sorted)
    elif not net_flow and group.partials and group.partials[0].inner.sorted:
        order = list(group.partials[0].inner.sorted)
    elif group.sorted:
        order = list(group.sorted)
    else:
        _check(bool(whole.contexts), "contexts")
        order = list(whole.contexts[-1].metadata.sorted)
        _check(bool(order), "no sorted outputs")
    layers = [layer for context in part.contexts for layer in context.metadata.layers if not layer.switch.type]
    outputs = [layer for layer in layers if layer.direction]
    _check(len(outputs) < len(layers), "no input")
    pads = {layer.pad: layer.info.name for layer in outputs if layer.HasField("pad")}
    edges = {edge.destination: edge.source for edge in group.edges}
    taken, made = set(), []
    for op in group.ops if net_flow else ():
        if op.HasField("core"):
            continue
        for pad in op.inputs:
            _check(edges.get(pad.index) in pads, "op not connected")
            taken.add(pads[edges[pad.index]])
        _check(op.HasField("nms") or op.HasField("logits"), "op kind")
        if op.HasField("nms"):
            _check(any(op.nms.HasField(kind) for kind in ("yolov5", "iou_op", "yolov8")), "nms kind")
            _check(bool(op.outputs), "op output")
            _check(all({box.reg, box.cls} <= set(pads) for box in op.nms.yolov8.boxes), "decoder")
        else:
            _check((len(op.inputs), len(op.outputs)) == (1, 1), "logits pads")
            _check(op.logits.value <= 1, "logits kind")
        made.append(op.outputs[0].name)
    seen = [name for layer in outputs for name in _vstreams(layer) if name not in taken] + made
    _check(bool(seen), "no output")
    _check(len(seen) == 1 or set(seen) <= set(order), "sorted outputs")


def _vstreams(layer: Any) -> list[str]:
    if layer.type == 1:
        return [inside.info.name for inside in layer.mux.inside[: layer.mux.data.count]]
    return [layer.info.name]


def listed(proto: bytes) -> dict[str, tuple[int, int, int]]:
    """Return, for each plain stream of a message that loads, the shape in which it travels over the bus."""
    hef = Hef()
    hef.ParseFromString(proto)
    taken_off = 11 not in {one.type for one in hef.optional}
    limit = 0x10000 if hef.header.arch in (0, 1, 2, 3) else 0x2000
    shapes = {}
    for group in hef.groups:
        core = group.partials[0].inner if hef.header.arch in (3, 4) else group
        for layer in (layer for context in core.contexts for layer in context.metadata.layers):
            if layer.switch.type:
                continue
            base = layer.info.base
            row = base.width * base.features
            fits = row % 8 == 0 and row * base.data_bytes <= min(limit, base.shmifo or limit) - 1
            if taken_off and base.format == 1 and base.buffers == base.height and fits:
                shapes[layer.info.name] = (base.height, base.width, base.features)
            else:
                shapes[layer.info.name] = (base.padded_height, base.padded_width, base.padded_features)
    return shapes
