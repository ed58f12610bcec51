"""Who loads a file, held against HailoRT's own rules as the judge (`hailort.py`) has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.hef import build_container, embed_zip, read_hef, write_hef
from build_rules.hef.loaders import ask, find_loaders, oldest_release
from build_rules.hef.releases import DEVICES, EXTENSION_SINCE, NEVER_MANDATORY, parse_device, parse_release
from build_rules.protobuf import write_bytes
from tests.hef import hailort
from tests.hef.samples import REAL, message, spec
from tests.shared import needs_shared

MEMBERS = {"edgefirst.json": b"{}"}
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


def write(path: Path, proto: bytes, version: int = 3) -> Path:
    path.write_bytes(build_container(proto, b"", version))
    return path


@pytest.mark.parametrize("name", CASES)
def test_loads_is_what_happens(name: str, tmp_path: Path) -> None:
    hw_arch, change, version, told = CASES[name]
    proto = message(hw_arch, change)
    hef = read_hef(write(tmp_path / "a.hef", proto, version))
    four, five, cutting = find_loaders(hef, False)
    judged = [hailort.message_refusal(proto, version, line) for line in (4, 5)]
    assert [four.loads, five.loads] == [one is None for one in judged]
    assert four.loads == (told is None)
    assert told is None or told in four.why
    assert cutting.loads == (oldest_release(hef) is not None)
    assert told is None or cutting.loads or told in cutting.why


BROKEN = {
    "group name": (b"net", b"n\xfft"),
    "name of an extension": (b"Periph", b"Per\xffph"),
    "context": (b"context_0", b"context\xff0"),
    "original name": (b"/Sigmoid", b"/Sigmo\xc3d"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_strings_that_are_no_text_wherever_they_are(name: str, tmp_path: Path) -> None:
    proto = message()
    good, bad = BROKEN[name]
    assert good in proto
    broken = proto.replace(good, bad)
    assert hailort.message_refusal(broken, 3) == "parse"
    refused(write(tmp_path / "a.hef", broken), "not UTF-8")


def refused(path: Path, told: str) -> None:
    """The file is refused when it is read or, where nothing of what is read is broken, said to load nowhere."""
    try:
        loaders = find_loaders(read_hef(path), False)
    except InputError as fault:
        whys = [str(fault)]
    else:
        assert [loader.loads for loader in loaders] == [False, False, False]
        whys = [loader.why for loader in loaders]
        assert all("its message cannot be parsed" in why for why in whys)
    assert all(told in why for why in whys)


@pytest.mark.parametrize(
    ("place", "inner", "told"),
    [
        ((2, 3, 2, 2), b"\x0a\x05abc", "claims 5 bytes, 3 are left"),  # an action of an operation
        ((2, 2, 1, 1), b"\x12", "is cut off"),  # a trigger before all contexts
        ((2, 3, 3, 4), b"\x0a\x02\x12\xff", "is cut off"),  # the order of triggers
        ((2, 5, 3, 1), b"\x0a\x02\xff\xff", "not UTF-8"),  # a fused layer
        ((2, 8, 5, 7, 4), b"\x12\x01\x80", "is cut off"),  # anchors of a decoder
        ((2, 8, 2, 5), b"\x2a\x09" + bytes(9), "list of numbers that is cut off"),  # quantization of a pad
        ((2, 3, 2, 1), b"\xff" * 11, "longer than 10 bytes"),
        ((2, 3, 2, 1), b"\x0b", "wire type 3"),
    ],
)
def test_messages_that_are_broken_where_nobody_looks(
    place: tuple[int, ...], inner: bytes, told: str, tmp_path: Path
) -> None:
    for number in reversed(place):
        inner = write_bytes(number, inner)
    refused(write(tmp_path / "a.hef", message() + inner), told)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@pytest.mark.parametrize("embedding", [None, "append", "sealed"])
def test_the_oldest_release(version: int, embedding: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(spec(), b"", version))
    if embedding is not None:
        embed_zip(path, MEMBERS, path, embedding)
    since = {0: (4, 14), 1: (4, 18), 2: (4, 20), 3: (4, 21)}[version]
    if embedding == "append":
        assert oldest_release(read_hef(path)) == ((5, 0) if version == 3 else None)
    else:
        assert oldest_release(read_hef(path)) == since


@pytest.mark.parametrize(
    ("extensions", "since"),
    [((28,), (4, 17)), ((29,), (4, 17)), ((30, 31), (4, 21)), ((35,), (5, 0)), ((33,), (5, 1)), ((35, 34), (5, 1))],
)
def test_extensions_by_release(extensions: tuple[int, ...], since: tuple[int, int], tmp_path: Path) -> None:
    hef = read_hef(write(tmp_path / "a.hef", message("hailo8", extend(*extensions)), 0))
    assert oldest_release(hef) == since
    before = (4, since[1] - 1) if since[0] == 4 else (5, 0) if since == (5, 1) else (4, 23)
    (older,) = ask(hef, before, None)
    assert not older.loads
    assert f"came with {since[0]}.{since[1]}" in older.why


def test_the_table_of_extensions_is_whole() -> None:
    assert {*EXTENSION_SINCE} | NEVER_MANDATORY == {*range(36)}
    for line in (4, 5):
        assert {number for number, since in EXTENSION_SINCE.items() if since[0] <= line} == hailort.SUPPORTED[line]


QUESTIONS: list[tuple[str, int, str | None, str | None, str | None, bool, str]] = [
    # architecture, version, embedding, device, release -> answer
    ("hailo8l", 3, None, "hailo8l", "4.20", False, "header version 3 came with 4.21"),
    ("hailo8l", 3, None, "hailo8l", "4.21", True, ""),
    ("hailo8l", 3, "append", "hailo8l", "4.23", False, "bytes follow the end"),
    ("hailo8l", 3, "sealed", "hailo8l", "4.23.0", True, ""),
    ("hailo8l", 3, "append", None, "5.2", True, ""),
    ("hailo8l", 3, "append", "hailo8l", "5.2", False, "5.x drives no Hailo-8"),
    ("hailo8l", 2, None, "hailo8l", "4.20", True, ""),
    ("hailo8l", 2, None, "hailo8l", "4.19", False, "header version 2 came with 4.20"),
    ("hailo8l", 1, None, None, "4.17", False, "header version 1 came with 4.18"),
    ("hailo8l", 1, "append", None, "5.2", False, "bytes follow the end"),
    ("hailo8l", 0, "sealed", None, "4.14", True, ""),
    ("hailo8l", 1, None, "hailo8", "4.23", True, "with a warning: it was compiled for a Hailo-8L"),
    ("hailo8", 1, None, "hailo8l", "4.23", False, "it was compiled for a Hailo-8 (architecture 1)"),
    ("hailo8", 1, None, "hailo8r", "4.23", True, ""),
    ("hailo8", 1, None, "hailo15h", "5.2", False, "it was compiled for a Hailo-8 "),
    ("hailo15h", 3, None, "hailo15h", "5.2", True, ""),
    ("hailo15h", 3, None, "hailo10h", "5.2", True, ""),
    ("hailo15h", 3, None, "hailo10h", None, True, ""),
    ("hailo15h", 3, None, "hailo15h", "4.23", False, "drives Hailo-8 alone"),
    ("hailo15m", 3, None, "hailo15h", "5.1", True, "with a warning: it was compiled for a Hailo-15M"),
    ("hailo15h", 3, None, "hailo15m", "5.1", False, "for a Hailo-15H or a Hailo-10H (architecture 103)"),
    ("hailo10h", 3, None, "hailo10h", "5.2", False, "it was compiled for a Hailo-10H (architecture 5)"),
    ("hailo8", 1, None, "hailo8", "4.99", True, "as 4.23, the newest that is known here"),
    ("hailo8", 1, "append", "hailo8", "4.99", False, "(as 4.23, the newest that is known here)"),
]


@pytest.mark.parametrize(("hw_arch", "version", "embedding", "device", "release", "loads", "why"), QUESTIONS)
def test_questions(
    hw_arch: str,
    version: int,
    embedding: Any,
    device: str | None,
    release: str | None,
    loads: bool,
    why: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(spec(hw_arch), b"", version))
    if embedding is not None:
        embed_zip(path, MEMBERS, path, embedding)
    asked = None if release is None else parse_release(release)
    (answer,) = ask(read_hef(path), asked, None if device is None else parse_device(device))
    assert (answer.loads, why in answer.why) == (loads, True), answer
    assert loads == (not answer.why) or why


def test_what_is_not_published_is_not_guessed(tmp_path: Path) -> None:
    hef = read_hef(write(tmp_path / "a.hef", message("hailo8", lambda hef: hef.ClearField("extensions")), 1))
    verdicts = {release: ask(hef, parse_release(release), None)[0] for release in ("4.18", "4.19", "4.20", "4.21")}
    assert [one.loads for one in verdicts.values()] == [True, False, False, False]
    assert "known of 4.18 (no) and 4.21 (yes) alone" in verdicts["4.20"].why
    assert verdicts["4.21"].why.startswith("outdated")
    assert "; 4.18 loads it" in find_loaders(hef, False)[0].why


@pytest.mark.parametrize(
    "text", ["4.x", "4", "", "4.", "v4.20", "4.20.0.1", "4.-1", "four", "6.0", "3.2", "4.2", "4.9999"]
)
def test_releases_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"^--hailort: "):
        parse_release(text)


@pytest.mark.parametrize("text", ["hailo9", "Hailo8", "8l", ""])
def test_devices_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"^--device: .* is no device; choose one of hailo8, hailo8l, ") as caught:
        parse_device(text)
    assert all(device in str(caught.value) for device in DEVICES)


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files_load(path: Path) -> None:
    hef = read_hef(path)
    since = {0: (4, 14), 1: (4, 18), 3: (4, 21)}[hef.version]
    assert (hef.refusals, oldest_release(hef)) == ((), since)
    assert [loader.loads for loader in find_loaders(hef, False)] == [True, True, True]
