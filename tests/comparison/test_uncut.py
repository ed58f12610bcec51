"""The uncut network's output, as rows and as objects."""

from __future__ import annotations

import numpy as np
import pytest

from build_rules.comparison.uncut import WholeReader, as_rows, find_reader, find_target, judge
from build_rules.errors import InputError
from build_rules.objects.found import Objects
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import ModelInput, Split

HINT = SplitHint("output0", (SplitBoundary("boxes", (0, 4)), SplitBoundary("scores", (4, 6), "sigmoid")))
SPLIT = Split("net", ModelInput("images", (1, 3, 64, 64)), (), (), None, hints=(HINT,))
ROWS = np.array([[30, 30, 20, 10, 0.1, 0.9], [50, 20, 8, 8, 0.6, 0.2], [1, 1, 1, 1, 0, 0]], np.float32)


@pytest.mark.parametrize("shape", [(1, 6, 40), (1, 40, 6), (1, 1, 40, 6), (6, 40, 1)])
def test_rows_are_found_in_every_order(shape: tuple[int, ...]) -> None:
    rows = np.arange(240, dtype=np.float32).reshape(40, 6)
    turned = rows if shape[-1] == 6 else rows.T
    assert (as_rows(turned.reshape(shape), 6) == rows).all()


def test_what_is_no_table_of_rows_is_refused() -> None:
    with pytest.raises(InputError, match="holds no rows of 6"):
        as_rows(np.zeros((1, 4, 40), np.float32), 6)
    with pytest.raises(InputError, match="holds no rows"):
        as_rows(np.zeros((1, 3, 40, 40), np.float32), 6)


def test_boxes_are_read_as_they_are_written() -> None:
    centred, corners = WholeReader((0, 4), (4, 6), False).read(ROWS), WholeReader((0, 4), (4, 6), True).read(ROWS)
    assert centred.boxes.tolist() == [[20, 25, 40, 35], [46, 16, 54, 24]]
    assert corners.boxes[0].tolist() == [30, 30, 20, 10]
    assert centred.labels.tolist() == [1, 0]
    assert centred.scores == pytest.approx([0.9, 0.6])


def test_float_decides_how_they_are_written() -> None:
    reference = [WholeReader((0, 4), (4, 6), False).read(ROWS)]
    found = find_reader(SPLIT, reference, [ROWS], 2)
    assert found.read(ROWS).boxes.tolist() == reference[0].boxes.tolist()
    other = Objects(reference[0].boxes + 100, reference[0].scores, reference[0].labels)
    with pytest.raises(InputError, match="nobody here reads objects"):
        find_reader(SPLIT, [other], [ROWS], 2)


def test_an_output_of_one_kind_has_nothing_uncut() -> None:
    assert find_target(SPLIT) == ("output0", (0, 4), (4, 6))
    with pytest.raises(InputError, match="there is nothing uncut"):
        find_target(Split("net", SPLIT.input, (), (), None))


def test_errors_are_those_of_objects_that_both_find() -> None:
    exact = [WholeReader((0, 4), (4, 6), False).read(ROWS)]
    moved = [Objects(exact[0].boxes + 0.5, exact[0].scores - 0.1, exact[0].labels)]
    row = judge("uncut", 2.0, 100, exact, moved, exact, 2)
    assert row.box_error == pytest.approx(0.5)
    assert row.score_error == pytest.approx(0.1)
    assert row.truth is not None
    nothing = [Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))]
    empty = judge("uncut", 2.0, 100, exact, nothing, None, 2)
    assert (empty.box_error, empty.score_error, empty.agreement.lost) == (None, None, 2)
