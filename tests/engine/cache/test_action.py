"""The codec of entries: what is written is read, Google's library agrees, and nothing hostile gets through."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.engine.cache.action import (
    MAX_BLOB_BYTES,
    CachedAction,
    CachedOutput,
    DamagedError,
    check_names,
    decode_action,
    encode_action,
)
from tests.engine.cache.remote_execution import ActionResult
from tests.engine.cache.results import digest

DIGESTS = st.binary(max_size=8).map(digest)
PLAIN = st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/\\")
NAMES = st.text(PLAIN, min_size=1, max_size=40).filter(lambda name: not name.startswith(".") and name.isprintable())
OUTPUTS = st.builds(CachedOutput, NAMES, DIGESTS, st.integers(0, MAX_BLOB_BYTES // 8))
ACTIONS = st.builds(
    CachedAction,
    st.lists(OUTPUTS, min_size=1, max_size=6, unique_by=lambda output: output.name).map(tuple),
    st.lists(st.tuples(NAMES, DIGESTS), max_size=4).map(tuple),
    st.floats(0, 1e9),
)
SIMPLE = CachedAction((CachedOutput("model.hef", digest(b"x"), 1),))


@given(ACTIONS)
def test_what_is_written_is_read(action: CachedAction) -> None:
    assert decode_action(encode_action(action)) == action


@given(ACTIONS)
def test_google_reads_what_is_written_and_what_google_writes_is_read(action: CachedAction) -> None:
    message = ActionResult.FromString(encode_action(action))
    files = [(file.path, file.digest.hash, file.digest.size_bytes) for file in message.output_files]
    assert files == [(output.name, output.sha256, output.size) for output in action.outputs]
    assert (message.exit_code, all(file.HasField("digest") for file in message.output_files)) == (0, True)
    assert message.SerializeToString(deterministic=True) == encode_action(action)
    # A server adds who uploaded it.
    message.execution_metadata.worker = "10.0.0.1:4711"
    assert decode_action(message.SerializeToString()) == action


@given(st.binary(max_size=200))
def test_garbage_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedError):
        decode_action(data)


@given(ACTIONS, st.data())
def test_mutations_are_damage_or_still_well_formed(action: CachedAction, data: Any) -> None:
    encoded = bytearray(encode_action(action))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_action(bytes(encoded))
    except DamagedError:
        return
    assert decode_action(encode_action(read)) == read
    assert all("/" not in output.name and not output.name.startswith(".") for output in read.outputs)


@given(ACTIONS, st.data())
def test_a_part_is_damage(action: CachedAction, data: Any) -> None:
    encoded = encode_action(action)
    with pytest.raises(DamagedError):
        decode_action(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../model.hef", "/etc/passwd", "a/b", "a\\b", ".hidden", "a\0b", "a\nb", "a\x1b[31m", "n" * 201],
)
def test_names_that_are_no_plain_file_names(name: str) -> None:
    message = ActionResult.FromString(encode_action(SIMPLE))
    message.output_files[0].path = name
    with pytest.raises(DamagedError, match="plain file name"):
        decode_action(message.SerializeToString())
    with pytest.raises(ValueError, match="cannot be stored"):
        encode_action(CachedAction((CachedOutput(name, digest(b""), 0),)))


def _extra(**changes: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        extra = {**json.loads(message.stdout_raw), **changes}
        message.stdout_raw = json.dumps(extra).encode()

    return change


HOSTILE: dict[str, Callable[[Any], Any]] = {
    "gigantic": lambda m: setattr(m.output_files[0].digest, "size_bytes", 1 << 62),
    "negative": lambda m: setattr(m.output_files[0].digest, "size_bytes", -1),
    "upper case digest": lambda m: setattr(m.output_files[0].digest, "hash", digest(b"x").upper()),
    "path as digest": lambda m: setattr(m.output_files[0].digest, "hash", "../../" + digest(b"x")[6:]),
    "short digest": lambda m: setattr(m.output_files[0].digest, "hash", "abc"),
    "no digest": lambda m: m.output_files[0].ClearField("digest"),
    "no outputs": lambda m: m.ClearField("output_files"),
    "twice the same name": lambda m: m.output_files.append(m.output_files[0]),
    "too many": lambda m: [m.output_files.add(path=f"f{i}", digest=m.output_files[0].digest) for i in range(1001)],
    "failed": lambda m: setattr(m, "exit_code", 1),
    "a folder": lambda m: m.output_directories.add(path="d"),
    "a link": lambda m: m.output_symlinks.add(path="model.hef.link", target="/etc/passwd"),
    "somebody else's": lambda m: m.ClearField("stdout_raw"),
    "no JSON": lambda m: setattr(m, "stdout_raw", b"{"),
    "deep JSON": lambda m: setattr(m, "stdout_raw", b"[" * 100_000),
    "a list": lambda m: setattr(m, "stdout_raw", b"[1]"),
    "not UTF-8": lambda m: setattr(m, "stdout_raw", b"\xff\xfe"),
    "another format": _extra(format=2),
    "endless": _extra(seconds=float("inf")),
    "huge duration": _extra(seconds=10**400),
    "negative duration": _extra(seconds=-1),
    "discovered null": _extra(discovered=None),
    "discovered numbers": _extra(discovered=[[1, 2]]),
    "discovered without digest": _extra(discovered=[["a", "b"]]),
    "discovered nothing": _extra(discovered=[["", digest(b"")]]),
    "discovered NUL": _extra(discovered=[["a\0", digest(b"")]]),
    "discovered surrogate": _extra(discovered=[["\ud83d", digest(b"")]]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_entries_are_damage(change: Callable[[Any], Any]) -> None:
    message = ActionResult.FromString(encode_action(SIMPLE))
    change(message)
    with pytest.raises(DamagedError):
        decode_action(message.SerializeToString())


def test_paths_that_are_no_unicode_are_kept() -> None:
    action = replace(SIMPLE, discovered=(("caf\udce9.jpg", digest(b"")),))
    assert decode_action(encode_action(action)) == action


def test_the_outputs_that_a_step_declares() -> None:
    action = CachedAction(tuple(CachedOutput(name, digest(b""), 0) for name in ("split.onnx", "split.onnx.data")))
    check_names(action, ["split.onnx"])
    with pytest.raises(DamagedError, match=r"lacks split\.json"):
        check_names(action, ["split.onnx", "split.json"])
    with pytest.raises(DamagedError, match=r"has split\.onnx, split\.onnx\.data, which"):
        check_names(replace(action, outputs=(*action.outputs, CachedOutput("x", digest(b""), 0))), ["x"])
