"""Operations that the runtime does on the host after the chip: what they take, what they give, what is wrong with them.

Source of the rules: HailoRT 4.21-5.2, open source (`Hef::Impl::create_ops_metadata` and what it calls).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from build_rules.hef.schema import LOGITS_KINDS, NetworkGroupField, NmsOpField, OpField, PadEdgeField, PadField
from build_rules.protobuf import Message

__all__ = ["HostWork", "read_host_work"]

_MAX_NAME = 127  # of what is told
# Kind of suppression -> field of its decoders, fields of a decoder that name pads of the chip.
_DECODERS: Mapping[int, tuple[int, tuple[int, ...]]] = {
    NmsOpField.YOLOV5: (4, (5,)),
    NmsOpField.YOLOX: (3, (2, 3, 4)),
    NmsOpField.SSD: (9, (3, 4)),
    NmsOpField.IOU: (1, ()),  # has none
    NmsOpField.YOLOV5_SEG: (3, (5,)),
    NmsOpField.YOLOV8: (4, (2, 3)),
}


@dataclass(frozen=True)
class HostWork:
    """All operations of a network group: the streams they consume, the outputs they make, why they are refused."""

    consumed: frozenset[str]
    outputs: tuple[str, ...]
    refusals: tuple[str, ...]


def read_host_work(group: Message, ops: Iterable[Message], by_pad: Mapping[int, str]) -> HostWork:
    """Look at the operations of `group`; `by_pad` has the name of the stream at each pad of the chip's outputs."""
    edges: dict[int, int] = {}
    for edge in group.messages(NetworkGroupField.PAD_EDGES):
        edges.setdefault(edge.uint32(PadEdgeField.DESTINATION), edge.uint32(PadEdgeField.SOURCE))
    consumed: set[str] = set()
    outputs: list[str] = []
    refusals: list[str] = []
    for op in ops:
        if op.has(OpField.CORE_OP):
            continue
        pads = [edges.get(pad.uint32(PadField.INDEX)) for pad in op.messages(OpField.INPUT_PADS)]
        consumed.update(by_pad[pad] for pad in pads if pad is not None and pad in by_pad)
        outputs += [pad.string(PadField.NAME) for pad in op.messages(OpField.OUTPUT_PADS)][:1]
        where = f"operation {op.string(OpField.NAME)[:_MAX_NAME]}"
        if any(pad is None or pad not in by_pad for pad in pads):
            refusals.append(f"{where} is not connected to an output of the chip")
        refusals += _refused(op, by_pad, where)
    return HostWork(frozenset(consumed), tuple(outputs), tuple(refusals))


def _refused(op: Message, by_pad: Mapping[int, str], where: str) -> Iterator[str]:
    if op.has(OpField.NMS_OP):
        yield from _refused_nms(op.message(OpField.NMS_OP), by_pad, where)
        if not op.has(OpField.OUTPUT_PADS):
            yield f"{where} has no output"
    elif op.has(OpField.LOGITS_OP):
        if (kind := op.message(OpField.LOGITS_OP).uint32(1)) not in LOGITS_KINDS:
            yield f"{where} is of a kind that is not known ({kind})"
        for field, name in ((OpField.INPUT_PADS, "input"), (OpField.OUTPUT_PADS, "output")):
            if (count := len(list(op.messages(field)))) != 1:
                yield f"{where} has {count} {name}s instead of one"
    else:
        yield f"{where} is of no kind that is known"


def _refused_nms(nms: Message, by_pad: Mapping[int, str], where: str) -> Iterator[str]:
    kind = next((kind for kind in _DECODERS if nms.has(kind)), None)
    if kind is None:
        yield f"{where} is a suppression of no kind that is known"
        return
    decoders, pads = _DECODERS[kind]
    for decoder in nms.message(kind).messages(decoders):
        if any(decoder.uint32(pad) not in by_pad for pad in pads):
            yield f"{where} decodes an output that the chip does not have"
            return
