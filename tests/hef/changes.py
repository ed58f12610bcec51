"""Messages that are changed in one place each, with what HailoRT makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CASES", "Change", "extend", "host_work", "vectors"]

Change = Callable[[Any], object]


def layers(hef: Any, index: int = 0) -> Any:
    return hef.groups[index].contexts[0].metadata.layers


def extend(*numbers: int) -> Change:
    return lambda hef: [hef.extensions.add(type=number) for number in numbers]


def twice(hef: Any) -> None:
    layers(hef)[2].info.name = layers(hef)[1].info.name


def groups_alike(hef: Any) -> None:
    hef.groups.add().CopyFrom(hef.groups[0])


def vectors(hef: Any, *, missing: int = 0) -> None:
    extend(25)(hef)
    for layer in layers(hef):
        for values in (layer.info.numbers.zps, layer.info.numbers.scales):
            values[:] = [0.5] * (layer.info.base.features - missing)


def host_work(hef: Any) -> None:
    """Put what runs on the chip among the operations, and suppression behind it."""
    group = hef.groups[0]
    core = group.ops.add(name="core").core
    core.metadata.CopyFrom(group.metadata)
    core.contexts.MergeFrom(group.contexts)
    core.networks.extend(group.networks)
    for pad, layer in enumerate(core.contexts[0].metadata.layers[1:3], start=5):
        layer.pad = pad
        group.edges.add(source=pad, destination=pad + 10)
    op = group.ops.add(name="nms1")
    op.inputs.add(index=15)
    op.inputs.add(index=16)
    op.outputs.add(index=20, name="net/nms")
    op.nms.score, op.nms.iou, op.nms.proposals, op.nms.classes = 0.2, 0.7, 100, 80
    op.nms.yolov8.boxes.add(stride=8, reg=5, cls=6)
    del group.contexts[:]
    group.sorted[:] = ["net/nms", "net/fc1"]
    extend(13, 27)(hef)


def host_work_but(change: Change) -> Change:
    def both(hef: Any) -> None:
        host_work(hef)
        change(hef.groups[0])

    return both


def edges(*values: int) -> Change:
    """Let the first output be suppressed on the chip, in bursts of a kind."""

    def change(hef: Any) -> None:
        base = layers(hef)[1].info.base
        base.format, base.additional.nms.burst_type = 6, values[0]
        extend(*values[1:])(hef)

    return change


def setter(name: str, value: Any) -> Change:
    return lambda hef: setattr(layers(hef)[1].info.base, name, value)


def mux(count: int) -> Change:
    def change(hef: Any) -> None:
        layer = layers(hef)[1]
        layer.type = 1
        layer.mux.name, layer.mux.data.count = "net/mux", count
        layer.mux.base.CopyFrom(layer.info.base)
        layer.mux.inside.add().info.CopyFrom(layer.info)
        layer.ClearField("info")

    return change


def planes(order: int, *, empty: bool = False) -> Change:
    def change(hef: Any) -> None:
        layer = layers(hef)[0]
        layer.type = 2
        layer.planes.name, layer.planes.format = "net/in", order
        if not empty:
            layer.planes.planes.add().info.CopyFrom(layer.info)
        layer.ClearField("info")

    return change


def weights(kind: str) -> Change:
    return lambda hef: getattr(hef.groups[0].contexts[0].operations.add().actions.add(), kind).SetInParent()


# architecture, change, header version -> what is said, None when the file loads.
CASES: dict[str, tuple[str, Change, int, str | None]] = {
    "as written": ("hailo8", lambda hef: None, 3, None),
    "a chip in parts": ("hailo8l", lambda hef: None, 3, None),
    "argmax on the host": ("hailo8", setter("argmax", True), 3, "net/conv42 wants an argmax"),
    "unknown order": ("hailo8", setter("format", 9), 3, "net/conv42 has an order that is not known (9)"),
    "three bytes": ("hailo8", setter("data_bytes", 3), 3, "3 bytes per value"),
    "four bytes": ("hailo8", setter("data_bytes", 4), 3, "4 bytes per value"),
    "no bytes": ("hailo8", setter("data_bytes", 0), 3, "0 bytes per value"),
    "long buffers": ("hailo8", setter("buffer_bytes", 1 << 16), 3, "do not fit into 16 bits"),
    "index": ("hailo8", setter("sys_index", 256), 3, "does not fit into 8 bits"),
    "no buffer index": ("hailo8", lambda hef: layers(hef)[1].info.base.ClearField("indices"), 3, "no buffer index"),
    "long name": ("hailo8", lambda hef: setattr(layers(hef)[0].info, "name", "n" * 128), 3, "longer than 127"),
    "the same stream twice": ("hailo8", twice, 3, "stream net/conv42 occurs 2 times"),
    "the same group twice": ("hailo8", groups_alike, 3, "network group net occurs 2 times"),
    "no network names": ("hailo8", lambda hef: hef.groups[0].ClearField("networks"), 3, "names of 0"),
    "names that nobody asks for": (
        "hailo8",
        lambda hef: (hef.groups[0].ClearField("networks"), hef.ClearField("optional")),
        3,
        None,
    ),
    "an output not listed": ("hailo8", lambda hef: hef.groups[0].sorted.remove("net/fc1"), 3, "net/fc1 is missing in"),
    "no list of outputs": (
        "hailo8",
        lambda hef: (hef.groups[0].ClearField("sorted"), hef.groups[0].contexts[0].metadata.ClearField("sorted")),
        3,
        "no list of outputs",
    ),
    "a list of old": ("hailo8", lambda hef: hef.groups[0].ClearField("sorted"), 3, None),
    "one output, not listed": (
        "hailo8",
        lambda hef: (layers(hef).__delitem__(slice(2, 4)), hef.groups[0].sorted.__setitem__(slice(0, 3), ["x"])),
        3,
        None,
    ),
    "no output": ("hailo8", lambda hef: layers(hef).__delitem__(slice(1, 4)), 3, "no output"),
    "no input": ("hailo8", lambda hef: layers(hef).__delitem__(0), 3, "no input"),
    "no partial layout": ("hailo8l", lambda hef: hef.groups[0].ClearField("partials"), 3, "no partial layout"),
    "no context": ("hailo8", lambda hef: hef.groups[0].ClearField("contexts"), 3, "no context"),
    "no context in the part": (
        "hailo8l",
        lambda hef: hef.groups[0].partials[0].inner.ClearField("contexts"),
        3,
        "no context",
    ),
    "a layer of no kind": ("hailo8", lambda hef: setattr(layers(hef)[1], "type", 3), 3, "kind that is not known (3)"),
    "a connection of no kind": ("hailo8", lambda hef: setattr(layers(hef)[1].switch, "type", 4), 3, "connected in a"),
    "vectors": ("hailo8", vectors, 3, None),
    "vectors that are short": ("hailo8", lambda hef: vectors(hef, missing=1), 3, "as extension 25 demands"),
    "no vectors": ("hailo8", extend(25), 3, "as extension 25 demands"),
    "host work": ("hailo8", host_work, 3, None),
    "net flow without operations": ("hailo8", extend(13), 3, "do not say what runs on the chip"),
    "host work without net flow": (
        "hailo8",
        lambda hef: [change(hef) for change in (host_work, lambda hef: hef.extensions.__delitem__(slice(1, 3)))],
        3,
        "extension 13 is missing",
    ),
    "host work not connected": ("hailo8", host_work_but(lambda group: group.edges.__delitem__(0)), 3, "not connected"),
    "host work of no kind": (
        "hailo8",
        host_work_but(lambda group: group.ops[1].ClearField("nms")),
        3,
        "nms1 is of no kind",
    ),
    "suppression of no kind": (
        "hailo8",
        host_work_but(lambda group: group.ops[1].nms.ClearField("yolov8")),
        3,
        "suppression of no kind",
    ),
    "a decoder of nothing": (
        "hailo8",
        host_work_but(lambda group: setattr(group.ops[1].nms.yolov8.boxes[0], "reg", 99)),
        3,
        "decodes an output that the chip does not have",
    ),
    "host output not listed": ("hailo8", host_work_but(lambda group: group.sorted.remove("net/nms")), 3, "net/nms is"),
    "suppression on the chip": ("hailo8", edges(0), 3, None),
    "in bursts": ("hailo8", edges(1, 19), 3, None),
    "in bursts of another chip": ("hailo8", edges(2, 19), 3, "bursts of kind 2"),
    "in bursts on a Hailo-15": ("hailo15h", edges(3, 19), 3, None),
    "in bursts that are not announced": ("hailo8", edges(1), 3, "bursts of kind 1"),
    "several tensors in one": ("hailo8", mux(1), 3, None),
    "fewer tensors than announced": ("hailo8", mux(2), 3, "announces 2 tensors and has 1"),
    "planes": ("hailo8", planes(1), 3, None),
    "planes in no order": ("hailo8", planes(3), 3, "planes in an order that is not known (3)"),
    "no planes": ("hailo8", planes(1, empty=True), 3, "no planes"),
    "weights in the message": ("hailo8", weights("ccw"), 3, "weights are in the message"),
    "weights in the message, of old": ("hailo8", weights("ccw"), 0, None),
    "weights elsewhere": ("hailo8", weights("pointer"), 3, None),
    "weights nowhere": ("hailo8", weights("pointer"), 0, "version 0 has no place for"),
    "a header that is older than extensions": (
        "hailo8",
        lambda hef: hef.header.ClearField("version"),
        3,
        "its header is of version 0",
    ),
    "outdated": ("hailo8", lambda hef: hef.ClearField("extensions"), 3, "outdated: it lacks the extension"),
    "test one": ("hailo8", extend(7), 3, "extension 7 may be optional, not mandatory"),
    "variable batch": ("hailo8", extend(8), 3, "extension 8 may be optional, not mandatory"),
    "of nobody": ("hailo8", extend(36), 3, "extension 36 is known to no release"),
    "of nobody, large": ("hailo8", extend(0xFFFF), 3, "extension 65535 is known to no release"),
}
