"""What may be shown of a text from a file."""

from __future__ import annotations

import pytest

from build_rules.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer 図", "plain, größer 図"),
        ("a\x1b[31mb", "a\N{REPLACEMENT CHARACTER}[31mb"),
        ("one\nERROR: forged\r\ttwo", "one ERROR: forged  two"),
        ("\u202egpj.exe \ud800", "\N{REPLACEMENT CHARACTER}gpj.exe \N{REPLACEMENT CHARACTER}"),
        ("a\u2028b\x85c\x9b", "a b c\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_nothing_steers_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert "\n" not in printable(text)
