"""What in a message makes the vendor's runtime refuse the file, or crash on it, though the message can be parsed.

One function for each thing that the runtime builds from the message; each yields what is wrong, in a few words. Both
lines of the runtime are alike here; what changed from release to release is in `releases.py`.

Source of the rules: HailoRT 4.21-5.2, open source (`hef.cpp`, `core_op_metadata.cpp`), and trials with 4.23 and 5.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from build_rules.hef.features import Features, find_core_op, group_name, layouts, read_features, sorted_outputs
from build_rules.hef.host_work import HostWork, read_host_work
from build_rules.hef.parsable import Walk
from build_rules.hef.schema import (
    BOUNDARY,
    HOST_ORDERS,
    NMS_FORMAT,
    WRITE_DATA_CCW,
    WRITE_DATA_CCW_PTR,
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
    FusedLayersField,
    HefField,
    NetworkGroupField,
    NmsInfoField,
    NumericInfoField,
    SwitchInfoField,
)
from build_rules.protobuf import Message

__all__ = ["find_refusals"]

_MAX_NAME = 127
_UINT8, _UINT16 = 0xFF, 0xFFFF
_DATA_BYTES = (1, 2)
_CONNECTIONS = range(4)  # boundary, between contexts, through memory, cache
_PLANE_FORMATS = range(3)
# Suppression on the chip in bursts -> generation of chips -> kinds of burst that it has.
_BURST_TYPES: Mapping[bool, Mapping[int, tuple[int, ...]]] = {True: {1: (1,), 2: (2, 3)}, False: {1: (0,), 2: (0,)}}
_HAILO8 = frozenset({0, 1, 2, 3, 101})
_HAILO15 = frozenset({4, 5, 6, 103, 104, 105, 106})


def find_refusals(message: Message, walk: Walk, header_version: int) -> tuple[str, ...]:
    """Return why the runtime refuses the whole `message`, over which `walk` went, of a file with this header version.

    Empty when it does not. Raises `InputError` when a field that it looks at is of another type than it should be.
    """
    if walk.fault is not None:
        return (f"its message cannot be parsed: {walk.fault}",)
    features = read_features(message)
    groups = tuple(message.messages(HefField.NETWORK_GROUPS))
    return tuple(
        dict.fromkeys(
            (
                *_misplaced_weights(walk.actions, header_version),
                *_repeated_groups(groups),
                *(why for group in groups for why in _group(group, features)),
            )
        )
    )


def _misplaced_weights(actions: frozenset[int], header_version: int) -> Iterator[str]:
    if header_version > 0 and WRITE_DATA_CCW in actions:
        yield "its weights are in the message, as in version 0"
    if header_version == 0 and WRITE_DATA_CCW_PTR in actions:
        yield "its message points at weights, which version 0 has no place for"


def _repeated_groups(groups: Iterable[Message]) -> Iterator[str]:
    for name, count in Counter(map(group_name, groups)).items():
        if count > 1:
            yield f"network group {_told(name)} occurs {count} times"


def _group(group: Message, features: Features) -> Iterator[str]:
    ops = tuple(group.messages(NetworkGroupField.OPS))
    core_op = find_core_op(group, ops, features)
    if core_op is None:
        yield "its operations do not say what runs on the chip, as its extension 13 demands"
        return
    if not features.net_flow and core_op is not group:
        yield "what runs on the chip is among its operations, but extension 13 is missing"
        return
    parts = layouts(core_op, features)
    if not parts:
        yield "it has no partial layout, as its chip demands"
    for part in parts:
        yield from _layout(part, features)
    if parts:
        yield from _outputs(group, core_op, parts[0], ops, features)


def _layout(core_op: Message, features: Features) -> Iterator[str]:
    """What may be wrong with the contexts and the layers that enter or leave them."""
    contexts = tuple(core_op.messages(CoreOpField.CONTEXTS))
    if not contexts:
        yield "it has no context"
    networks = core_op.strings(CoreOpField.NETWORKS_NAMES)
    names: Counter[str] = Counter()
    for layer in _layers(contexts):
        switch = layer.message(EdgeLayerField.SWITCH_INFO)
        connection = switch.uint32(SwitchInfoField.CONNECTION_TYPE)
        if connection == BOUNDARY:
            names[_stream_name(layer)] += 1
            yield from _network_name(layer, networks, features)
            yield from _boundary(layer, features)
        elif connection not in _CONNECTIONS:
            yield f"a layer is connected in a way that is not known ({connection})"
        elif layer.uint32(EdgeLayerField.TYPE) != EdgeType.INFO:
            yield "a layer inside the chip is not a single tensor"
        else:
            yield from _base(layer.message(EdgeLayerField.INFO).message(EdgeLayerInfoField.BASE), "a layer")
    yield from (f"stream {_told(name)} occurs {count} times" for name, count in names.items() if count > 1)


def _layers(contexts: Iterable[Message]) -> Iterator[Message]:
    for context in contexts:
        yield from context.message(ContextField.METADATA).messages(ContextMetadataField.EDGE_LAYERS)


def _body(layer: Message) -> Message:
    fields: dict[int, int] = {EdgeType.MUX: EdgeLayerField.MUX, EdgeType.PLANES: EdgeLayerField.PLANES}
    return layer.message(fields.get(layer.uint32(EdgeLayerField.TYPE), EdgeLayerField.INFO))


def _stream_name(layer: Message) -> str:
    return _body(layer).string(EdgeLayerInfoField.NAME)  # field 1 of all three kinds


def _network_name(layer: Message, networks: tuple[str, ...], features: Features) -> Iterator[str]:
    if not features.several_networks:
        return
    index = layer.uint32(EdgeLayerField.NETWORK_INDEX) & _UINT8
    if index >= len(networks):
        yield f"stream {_told(_stream_name(layer))} belongs to network {index}, and there are names of {len(networks)}"
    elif len(networks[index].encode()) > _MAX_NAME:
        yield f"the name of network {index} is longer than {_MAX_NAME} bytes"


def _boundary(layer: Message, features: Features) -> Iterator[str]:
    kind, body = layer.uint32(EdgeLayerField.TYPE), _body(layer)
    is_output = bool(layer.uint32(EdgeLayerField.DIRECTION))
    if kind == EdgeType.INFO:
        yield from _info(body, is_output, features)
    elif kind == EdgeType.MUX:
        yield from _mux(body, is_output, features)
    elif kind == EdgeType.PLANES:
        yield from _planes(body, is_output, features)
    else:
        yield f"a stream is of a kind that is not known ({kind})"


def _info(info: Message, is_output: bool, features: Features) -> Iterator[str]:
    where = f"stream {_told(info.string(EdgeLayerInfoField.NAME))}"
    base = info.message(EdgeLayerInfoField.BASE)
    yield from _name(info.string(EdgeLayerInfoField.NAME))
    yield from _base(base, where)
    yield from _transfer(base, where, features)
    if not features.per_feature:
        return
    numbers = info.message(EdgeLayerInfoField.NUMERIC_INFO)
    counts = {len(numbers.doubles(field)) for field in (NumericInfoField.SCALES, NumericInfoField.ZERO_POINTS)}
    wanted = base.uint32(EdgeLayerBaseField.FEATURES)
    is_nms = base.uint32(EdgeLayerBaseField.FORMAT) == NMS_FORMAT
    fits = counts == {wanted} if is_output else min(counts) >= wanted
    if not (min(counts) > 0 if is_nms else fits):
        yield f"{where} has not one scale and zero point for each of {wanted} features, as extension 25 demands"


def _told(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[:40]}..."


def _name(name: str) -> Iterator[str]:
    if len(name.encode()) > _MAX_NAME:
        yield f"the name of stream {_told(name)} is longer than {_MAX_NAME} bytes"


def _base(base: Message, where: str) -> Iterator[str]:
    order, data_bytes = base.uint32(EdgeLayerBaseField.FORMAT), base.uint32(EdgeLayerBaseField.DATA_BYTES)
    if order not in HOST_ORDERS:
        yield f"{where} has an order that is not known ({order})"
    if data_bytes not in _DATA_BYTES:
        yield f"{where} has {data_bytes} bytes per value; 1 and 2 are known"
    for field in (EdgeLayerBaseField.CORE_BYTES_PER_BUFFER, EdgeLayerBaseField.CORE_BUFFERS_PER_FRAME):
        if base.uint32(field) > _UINT16:
            yield f"{where} has buffers that do not fit into 16 bits"
    for field in (EdgeLayerBaseField.SYS_INDEX, EdgeLayerBaseField.ENGINE_ID):
        if base.uint32(field) > _UINT8:
            yield f"{where} has an index that does not fit into 8 bits"


def _transfer(base: Message, where: str, features: Features) -> Iterator[str]:
    """What is wrong at the boundary alone: on the host's side of a stream."""
    if base.uint32(EdgeLayerBaseField.HOST_ARGMAX):
        yield f"{where} wants an argmax on the host of a kind that is not supported any more"
    if not base.has(EdgeLayerBaseField.BUFFER_INDICES):
        yield f"{where} has no buffer index"
    if base.uint32(EdgeLayerBaseField.FORMAT) == NMS_FORMAT:
        nms = base.message(EdgeLayerBaseField.ADDITIONAL_INFO).message(1)
        generation = (features.arch_code in _HAILO8) + 2 * (features.arch_code in _HAILO15)
        known = _BURST_TYPES[features.bursts].get(generation, ())
        if (burst := nms.uint32(NmsInfoField.BURST_TYPE)) not in known:
            yield f"{where} comes from suppression on the chip in bursts of kind {burst}, which its chip does not have"


def _mux(mux: Message, is_output: bool, features: Features) -> Iterator[str]:
    where = f"stream {_told(mux.string(EdgeLayerMuxField.NAME))}"
    base = mux.message(EdgeLayerMuxField.BASE)
    yield from _name(mux.string(EdgeLayerMuxField.NAME))
    yield from _base(base, where)
    yield from _transfer(base, where, features)
    edges = tuple(mux.messages(EdgeLayerMuxField.PREDECESSORS))
    wanted = mux.message(EdgeLayerMuxField.DATA).uint32(1)
    if wanted > len(edges):
        yield f"{where} announces {wanted} tensors and has {len(edges)}"
    for edge in edges[:wanted]:
        if edge.has(EdgeField.MUX):
            yield from _mux(edge.message(EdgeField.MUX), is_output, features)
        elif edge.has(EdgeField.INFO):
            yield from _info(edge.message(EdgeField.INFO), is_output, features)
        else:
            yield f"{where} holds something that is no tensor"


def _planes(planes: Message, is_output: bool, features: Features) -> Iterator[str]:
    where = f"stream {_told(planes.string(EdgeLayerPlanesField.NAME))}"
    yield from _name(planes.string(EdgeLayerPlanesField.NAME))
    if (order := planes.uint32(EdgeLayerPlanesField.FORMAT)) not in _PLANE_FORMATS:
        yield f"{where} has planes in an order that is not known ({order})"
    infos = [plane.message(EdgeField.INFO) for plane in planes.messages(EdgeLayerPlanesField.PLANES)]
    if len({info.message(EdgeLayerInfoField.BASE).uint32(EdgeLayerBaseField.DATA_BYTES) for info in infos}) != 1:
        yield f"{where} has no planes, or planes of several types"
    for info in infos:
        yield from _info(info, is_output, features)


def _outputs(
    group: Message, core_op: Message, part: Message, ops: tuple[Message, ...], features: Features
) -> Iterator[str]:
    """What may be wrong with the list of outputs that the host sees, and with the operations that make some of them."""
    layers = [
        layer
        for layer in _layers(part.messages(CoreOpField.CONTEXTS))
        if layer.message(EdgeLayerField.SWITCH_INFO).uint32(SwitchInfoField.CONNECTION_TYPE) == BOUNDARY
    ]
    outputs = [layer for layer in layers if layer.uint32(EdgeLayerField.DIRECTION)]
    if len(outputs) == len(layers):
        yield "it has no input"
    if not outputs:
        yield "it has no output"
    order = sorted_outputs(group, core_op, features)
    if not order:
        yield "it has no list of outputs"
        return
    by_pad = {
        layer.uint32(EdgeLayerField.PAD_INDEX): _stream_name(layer)
        for layer in outputs
        if layer.has(EdgeLayerField.PAD_INDEX)
    }
    work = read_host_work(group, ops, by_pad) if features.net_flow else HostWork(frozenset(), (), ())
    yield from work.refusals
    fused = bool(core_op.message(CoreOpField.FUSED_LAYERS).uint32(FusedLayersField.HAS_FUSED))
    seen = [name for layer in outputs if _stream_name(layer) not in work.consumed for name in _seen(layer, fused)]
    names = dict.fromkeys((*seen, *work.outputs))
    if len(names) > 1:  # a single one is never looked up
        yield from (f"output {_told(name)} is missing in the list of outputs" for name in names if name not in order)


def _seen(layer: Message, fused: bool) -> Iterator[str]:
    """The names under which the host sees what leaves the chip as one stream."""
    if layer.uint32(EdgeLayerField.TYPE) == EdgeType.MUX:
        yield from _inside(layer.message(EdgeLayerField.MUX))
        return
    nms = _body(layer).message(EdgeLayerInfoField.BASE) if layer.uint32(EdgeLayerField.TYPE) == EdgeType.INFO else None
    if fused and nms is not None and nms.uint32(EdgeLayerBaseField.FORMAT) == NMS_FORMAT:
        told = nms.message(EdgeLayerBaseField.ADDITIONAL_INFO).message(1)
        if told.uint32(NmsInfoField.IS_DEFUSED):
            yield told.message(NmsInfoField.DEFUSE_INFO).string(3)
            return
    yield _stream_name(layer)


def _inside(mux: Message) -> Iterator[str]:
    count = mux.message(EdgeLayerMuxField.DATA).uint32(1)
    for edge in islice(mux.messages(EdgeLayerMuxField.PREDECESSORS), count):
        if edge.has(EdgeField.MUX):
            yield from _inside(edge.message(EdgeField.MUX))
        else:
            yield edge.message(EdgeField.INFO).string(EdgeLayerInfoField.NAME)
