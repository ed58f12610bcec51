"""What other programs print, as lines within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.dfc.launch.lines import LINE_BYTES, BoundedText, LineReader


def read(*pieces: bytes) -> list[tuple[str, bool]]:
    told: list[tuple[str, bool]] = []
    reader = LineReader(lambda line, stays: told.append((line, stays)))
    for piece in pieces:
        reader.feed(piece)
    reader.close()
    return told


def test_lines_in_pieces() -> None:
    assert read(b"on", b"e\ntwo\n\nth", b"ree") == [("one", True), ("two", True), ("", True), ("three", True)]


def test_a_bar_that_is_drawn_over_stays_as_it_is_at_last() -> None:
    assert read(b"\r1 %", b"\r2 %\r", b"\n") == [("1 %", False), ("2 %", False), ("2 %", True)]
    assert read(b"a\r\n", b"b\r", b"\nc") == [("a", False), ("a", True), ("b", False), ("b", True), ("c", True)]


def test_colours_and_rubbish() -> None:
    assert read(b"\x1b[1;32m[info]\x1b[0m \xff\n") == [("[info] \N{REPLACEMENT CHARACTER}", True)]


def test_a_line_without_end() -> None:
    ((line, stays),) = read(*[b"x" * 1000] * 100)
    assert (len(line), stays) == (LINE_BYTES, True)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_pieces_make_no_difference(pieces: list[bytes]) -> None:
    assert read(*pieces) == read(b"".join(pieces))


@given(st.lists(st.text(max_size=12), max_size=60), st.integers(0, 100), st.integers(0, 100))
def test_beginning_and_end_are_kept(lines: list[str], head: int, tail: int) -> None:
    lines = [line.replace("\n", "") for line in lines]
    text = BoundedText(head, tail)
    for line in lines:
        text.add(line)
    whole = "".join(f"{line}\n" for line in lines)
    if "[..." not in text.text:
        assert text.text == whole
    else:
        begun, _, rest = text.text.partition("[... ")
        number, _, ended = rest.partition(" characters left out ...]\n")
        assert whole.startswith(begun)
        assert whole.endswith(ended)
        assert len(begun) <= head
        assert len(ended) <= tail
        assert len(begun) + int(number) + len(ended) == len(whole)
