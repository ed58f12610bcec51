"""Who loads a file, held against HailoRT's own rules as the judge (`hailort.py`) has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.hef import build_container, embed_zip, read_hef, write_hef
from build_rules.hef.loaders import ask, find_loaders, oldest_release
from build_rules.hef.parsable import walk_message
from build_rules.hef.releases import EXTENSION_SINCE, NEVER_MANDATORY, parse_device, parse_release
from build_rules.protobuf import write_bytes
from build_rules.records.hardware import HARDWARE
from tests.hef import differential, hailort
from tests.hef.changes import CASES, extend, host_work
from tests.hef.samples import REAL, message, spec
from tests.shared import needs_shared

MEMBERS = {"edgefirst.json": b"{}"}


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
        ((2, 3, 2, 1), b"\x00\x01", "number 0"),
        ((2, 3, 2, 1), b"\x0a\x80\x80\x80\x80\x01", "claims 268435456 bytes"),
        ((2, 3, 2, 1), b"\x09" + bytes(7), "claims 8 bytes"),
    ],
)
def test_messages_that_are_broken_where_nobody_looks(
    place: tuple[int, ...], inner: bytes, told: str, tmp_path: Path
) -> None:
    for number in reversed(place):
        inner = write_bytes(number, inner)
    refused(write(tmp_path / "a.hef", message() + inner), told)


@settings(max_examples=300)
@given(st.data())
def test_what_googles_parser_refuses_is_refused(data: st.DataObject) -> None:
    proto = bytearray(message("hailo8l", host_work))
    for _ in range(data.draw(st.integers(1, 3))):
        proto[data.draw(st.integers(0, len(proto) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(proto[: data.draw(st.integers(0, len(proto)))]) if data.draw(st.booleans()) else bytes(proto)
    fault = walk_message(memoryview(damaged)).fault
    if hailort.message_refusal(damaged, 3) == "parse":
        assert fault is not None
    assert walk_message(memoryview(message("hailo8l", host_work))).fault is None


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
    ("hailo8l", 3, "append", "hailo8l", "4.23", False, 'announces; doit strip takes them off, and embed = "sealed"'),
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
    assert all(device in str(caught.value) for device in HARDWARE)


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files_load(path: Path) -> None:
    hef = read_hef(path)
    since = {0: (4, 14), 1: (4, 18), 3: (4, 21)}[hef.version]
    assert (hef.refusals, oldest_release(hef)) == ((), since)
    assert [loader.loads for loader in find_loaders(hef, False)] == [True, True, True]


def test_messages_changed_at_random() -> None:
    assert differential.disagreements(200, 1) == []
