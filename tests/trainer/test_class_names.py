from __future__ import annotations

import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.trainer.class_names import MAX_NAMES, parse_names

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=12)


@given(NAMES)
def test_every_way_of_writing_says_the_same(names: list[str]) -> None:
    numbered = dict(enumerate(names))
    from_one = {number + 1: name for number, name in numbered.items()}
    backwards = dict(reversed(numbered.items()))
    for written in (
        *(repr(value) for value in (names, tuple(names), numbered, from_one, backwards)),
        *(json.dumps(value) for value in (names, numbered, from_one, backwards)),
        *(json.dumps(value, ensure_ascii=False, indent=2) for value in (names, numbered)),
    ):
        if not written.startswith("(") or len(names) > 1:
            assert parse_names(written) == tuple(names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (" {0 : 'a' ,1:\"b\", } ", ("a", "b")),
        ("[u'a', U\"b\"]", ("a", "b")),
        ("{'0': 'a', '1': 'b'}", ("a", "b")),
        (r"['a\'b', 'é\n', '\N{BULLET}', '\d']", ("a'b", "é\n", "•", "\\d")),
        (r'["😀", "\\ud83d\\ude00"]', ("😀", "\\ud83d\\ude00")),
    ],
)
def test_reads(text: str, names: tuple[str, ...]) -> None:
    assert parse_names(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with nothing; expected a dictionary"),
        ("person,car", "begins with 'person'"),
        ("- person\n- car", "begins with '- person"),
        ("{}", "names no class"),
        ("[ ]", "names no class"),
        ("{0: 'a', 2: 'b'}", "has 2 names from 0 to 2, but none for 1"),
        ("{1: 'a', 3: 'b'}", "has 2 names from 1 to 3, but none for 2"),
        ("{2: 'a', 3: 'b'}", "counts from 2; classes are numbered from 0, or from 1"),
        ("{-1: 'a', 0: 'b'}", "counts from -1"),
        ("{0: 'a', 1: 'b', 1: 'c'}", "has the number 1 twice"),
        ('{"0": "a", "0": "b"}', "has the number 0 twice"),
        ("{'person': 0}", "has the key 'person', which is not the number of a class"),
        ("{0.0: 'a'}", "has '0.0: 'a'' where the number of a class is expected"),
        ("{99999999999: 'a'}", "where the number of a class is expected"),
        ("{0: 1}", "has '1' as name of class 0, which is not text in quotes"),
        ("[None, 'a']", "has 'None' as name of class 0"),
        ("['a', ['b']]", "as name of class 1"),
        ("[{0: 'a'}]", "as name of class 0"),
        ("[b'a']", "as name of class 0"),
        ("[f'{1}']", "as name of class 0"),
        ("['a' 'b']", "where a comma is expected"),
        ("['a'; 'b']", "where a comma is expected"),
        ("[, 'a']", "as name of class 0"),
        ("['a'", "has nothing where a comma is expected"),
        ("['a", "as name of class 0"),
        ("['a'] + x", "goes on after its end with '+ x'"),
        ("['a'}", "where a comma is expected"),
        (r"['\x1']", "whose escapes mean nothing"),
        (r"['\N{NO SUCH}']", "whose escapes mean nothing"),
        ("{0: __import__('os')}", "has '__import__('os'' as name of class 0"),
    ],
)
def test_says_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_names(text)
    assert message in str(caught.value).replace('"', "'")


@pytest.mark.parametrize(
    "text",
    [
        "[" * (1 << 20),
        "{0:" * (1 << 18),
        "['" + "a" * (1 << 20),
        "['" + "\\a" * (1 << 19),
        " " * (1 << 20),
        "[" + " " * (1 << 20) + "x]",
        "{" + ",".join(f"{number}:''" for number in range(100_000)) + "}",
        "[" + r"'\n'," * 170_000 + "]",
    ],
)
def test_a_megabyte_is_refused_in_linear_time(text: str) -> None:
    began = time.process_time()
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        parse_names(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began < 10  # measured: at most one second, several times of it while memory is traced
    assert peak < 100 << 20
    assert len(str(caught.value)) < 300


def test_the_largest_sets_of_classes_are_read() -> None:
    names = [f"class {number}" for number in range(MAX_NAMES)]
    assert parse_names(repr(dict(enumerate(names)))) == tuple(names)
