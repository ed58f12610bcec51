from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.onnx_file import extent
from build_rules.onnx_file.extent import check_extent
from build_rules.onnx_file.field_reader import encode_field
from build_rules.onnx_file.skeleton import read_skeleton
from tests.graph.graphs import detection, save

GRAPH, FUNCTION, NODE, ATTRIBUTE, BRANCH, VALUE, TYPE = 7, 25, 1, 5, 6, 13, 2
EMPTY = b"\x2a\x00"
"""A field 5 without content, as which a branch has a tensor, a node an attribute; in an object it takes 200 bytes."""


def nested(content: bytes, *numbers: int) -> bytes:
    for number in reversed(numbers):
        content = encode_field(number, len(content)) + content
    return content


PLACES = {
    "a node": (GRAPH, NODE),
    "a branch": (GRAPH, NODE, ATTRIBUTE, BRANCH),
    "a branch of a branch": (GRAPH, NODE, ATTRIBUTE, BRANCH, NODE, ATTRIBUTE, BRANCH),
    "a node of a function": (FUNCTION, 7),
    "a shape": (GRAPH, VALUE, TYPE, 1, 2),
    "a training graph": (20, 1),
}


@pytest.mark.parametrize("place", PLACES)
def test_small_parts_are_counted_wherever_they_lie(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(extent, "MAX_PARTS", 1000)
    check_extent(nested(EMPTY * 900, *PLACES[place]))
    with pytest.raises(InputError, match="over 1000 parts, which no detector needs"):
        check_extent(nested(EMPTY * 1001, *PLACES[place]))


@pytest.mark.parametrize("place", [(GRAPH,), (GRAPH, NODE, ATTRIBUTE, BRANCH)])
@pytest.mark.parametrize(("number", "limit", "what"), [(NODE, "MAX_NODES", "nodes"), (11, "MAX_ENDS", "inputs or")])
def test_nodes_and_ends_are_counted(
    monkeypatch: pytest.MonkeyPatch, place: tuple[int, ...], number: int, limit: str, what: str
) -> None:
    monkeypatch.setattr(extent, limit, 10)
    check_extent(nested(nested(b"", number) * 9, *place))
    with pytest.raises(InputError, match=f"over 10 {what}"):
        check_extent(nested(nested(b"", number) * 11, *place))


def test_messages_that_lie_too_deep() -> None:
    with pytest.raises(InputError, match="nested deeper than 100"):
        check_extent(nested(b"", GRAPH, *(NODE, ATTRIBUTE, BRANCH) * 400))


@pytest.mark.parametrize(
    "data", [b"\x3a\xff", b"\x3a\xff\xff\xff\xff\xff\xff\x01", b"\x3b", b"\xff" * 50, b"\x3a\x02\x0a"]
)
def test_what_is_no_message_is_left_to_the_parser(data: bytes) -> None:
    check_extent(data)


def test_what_follows_a_damaged_part_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that does not know the part reads on behind it."""
    monkeypatch.setattr(extent, "MAX_NODES", 10)
    damaged = nested(b"\x80" * 12, 10)
    with pytest.raises(InputError, match="over 10 nodes"):
        check_extent(nested(nested(damaged, NODE) + nested(b"", NODE) * 10, GRAPH))


def test_a_model_is_counted_as_the_parser_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = detection()
    monkeypatch.setattr(extent, "MAX_NODES", len(model.graph.node))
    path = save(model, tmp_path)
    read_skeleton(path)
    model.graph.node.append(onnx.NodeProto())
    with pytest.raises(InputError, match="nodes, which no detector needs"):
        read_skeleton(save(model, tmp_path))


@pytest.mark.parametrize("before", [b"\x09" + b"\xff" * 8, b"\x0d" + b"\xff" * 4, b"\x08\x80\x01", b"\x12\x03abc"])
def test_numbers_before_a_part_are_stepped_over(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    """Fields of each kind, of eight and of four bytes, of as many as it takes, and with a length."""
    monkeypatch.setattr(extent, "MAX_NODES", 10)
    check_extent(before + nested(before + nested(b"", NODE) * 10, GRAPH))
    with pytest.raises(InputError, match="over 10 nodes"):
        check_extent(before + nested(before + nested(b"", NODE) * 11, GRAPH))
