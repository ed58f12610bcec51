"""`labels.txt`: one line per class, whatever the classes are called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.trainer.labels import check_labels, labels_text


@given(st.lists(st.text(), max_size=20))
def test_lines_are_labels_or_the_labels_are_refused(labels: list[str]) -> None:
    try:
        text = labels_text(labels)
    except InputError:
        return
    assert text.encode("utf-8").decode("utf-8").splitlines() == labels
    assert text.count("\n") == len(labels)
    assert not text.startswith("\ufeff")


def test_the_text() -> None:
    assert labels_text(["person", "traffic light", "Straßenbahn"]) == "person\ntraffic light\nStraßenbahn\n"


@pytest.mark.parametrize(
    "label", ["a\nb", "a\r", "a\u2028b", "a\x85", "", "  ", "\ufeffperson", "b\u202e", "\u2066a", "\ud800", 7, None]
)
def test_labels_that_would_shift_the_others_are_refused(label: Any) -> None:
    with pytest.raises(InputError, match="Label 1"):
        labels_text(["person", label])


def test_both_numbers_are_named() -> None:
    check_labels(["a", "b"], 2)
    with pytest.raises(InputError, match=r"79 classes.* 80"):
        check_labels(["x"] * 79, 80)
