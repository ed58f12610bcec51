from __future__ import annotations

from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.hints import check_hints, read_hints
from tests.graph.graphs import document, hint

OUTPUTS = {"output0": (1, 84, 8400), "output1": (1, 32, 160, 160)}
BOXES, SCORES = ("boxes", 0, 4), ("scores", 4, 84)


def refused(*hints: Any, **members: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_hints(TrainerDocument(document(*hints, **members)), OUTPUTS)
    return str(caught.value)


def test_reads_a_hint() -> None:
    entry = hint(BOXES, SCORES, strides=[8, 16], anchors_per_cell=3)
    entry["boundaries"][1]["activation"] = "sigmoid"
    boundaries = (SplitBoundary("boxes", (0, 4)), SplitBoundary("scores", (4, 84), "sigmoid"))
    expected = SplitHint("output0", boundaries, (8, 16), 3)
    assert read_hints(TrainerDocument(document(entry)), OUTPUTS) == (expected,)


def test_strides_and_anchors_are_optional() -> None:
    (found,) = read_hints(TrainerDocument(document(hint(BOXES, SCORES))), OUTPUTS)
    assert (found.strides, found.anchors_per_cell) == ((), 1)


def test_no_hints_is_no_error() -> None:
    assert read_hints(TrainerDocument({"schema_version": 2}), OUTPUTS) == ()
    assert read_hints(TrainerDocument(document()), OUTPUTS) == ()


def test_unknown_type_is_ignored() -> None:
    assert read_hints(TrainerDocument(document({"type": "tensor_split", "target": 5})), OUTPUTS) == ()


def test_channel_axis_is_where_the_boundaries_fit() -> None:
    (found,) = read_hints(TrainerDocument(document(hint(("boxes", 0, 85)))), {"output0": (1, 25200, 85)})
    assert found.axis == 2


def test_dshape_decides_between_axes_of_one_size() -> None:
    for dshape in (
        [{"batch": 1}, {"num_boxes": 84}, {"num_features": 84}],
        [["batch", 1], ["n", 84], ["num_features", 84]],
    ):
        entry = {"name": "output0", "dshape": dshape}
        (found,) = read_hints(TrainerDocument(document(hint(BOXES, SCORES), outputs=[entry])), {"output0": (1, 84, 84)})
        assert found.axis == 2
    (found,) = read_hints(TrainerDocument(document(hint(BOXES, SCORES))), {"output0": (1, 84, 84)})
    assert found.axis == 1


@pytest.mark.parametrize(
    ("boundaries", "message"),
    [
        ((BOXES, ("scores", 5, 84)), r"split_hints[0], boundary 'scores' of the EdgeFirst metadata leaves a gap"),
        ((("boxes", 1, 4), SCORES), "boundary 'boxes' of the EdgeFirst metadata leaves a gap"),
        ((BOXES, ("scores", 2, 84)), "boundary 'scores' of the EdgeFirst metadata overlaps"),
        ((("scores", 0, 80), ("boxes", 0, 4)), "boundary 'boxes' of the EdgeFirst metadata is out of order"),
        ((BOXES, ("scores", 4, 85)), "ends at channel 85, but no axis of 'output0' with shape [1, 84, 8400]"),
        ((BOXES, ("scores", 4, 83)), "ends at channel 83, but no axis"),
        ((BOXES, ("boxes", 4, 84)), "boundary 'boxes' of the EdgeFirst metadata occurs twice"),
        ((("boxes", 4, 4),), "empty or negative channel range [4, 4]"),
        ((("boxes", -1, 4),), "empty or negative channel range [-1, 4]"),
        ((("boxes", 0, True),), "two integers, found [0, True]"),
        ((("boxes", 0, 4.0),), "two integers, found [0, 4.0]"),
        ((("", 0, 4),), "needs a 'name', found ''"),
        ((("a\nb", 0, 4),), "needs a 'name'"),
        ((), "at least one boundary"),
    ],
)
def test_refuses_boundaries(boundaries: tuple[Any, ...], message: str) -> None:
    assert message in refused(hint(*boundaries))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"target": "output9"}, "names the target 'output9', but the graph's outputs are 'output0', 'output1'"),
        ({"target": ["output0"]}, "names the target ['output0']"),
        ({"strides": [16, 8]}, "ascending 'strides', found [16, 8]"),
        ({"strides": [8, 8]}, "ascending"),
        ({"strides": [0, 8]}, "positive integers"),
        ({"strides": [True]}, "positive integers"),
        ({"strides": 8}, "positive integers, found 8"),
        ({"anchors_per_cell": 0}, "'anchors_per_cell' as a positive integer, found 0"),
        ({"anchors_per_cell": True}, "found True"),
        ({"boundaries": {"boxes": [0, 4]}}, "'boundaries', an array"),
        ({"boundaries": ["boxes"]}, "boundaries[0] of the EdgeFirst metadata must be an object"),
        ({"boundaries": [{"name": "a", "channels": [0, 84], "activation": "relu"}]}, "activation 'relu'; allowed are"),
    ],
)
def test_refuses_members(members: dict[str, Any], message: str) -> None:
    assert message in refused({**hint(BOXES, SCORES), **members})


def test_refuses_a_second_hint_for_one_output() -> None:
    assert "split_hints[1] of the EdgeFirst metadata is the second hint" in refused(*[hint(BOXES, SCORES)] * 2)


def test_refuses_hints_of_a_graph_that_selects_its_boxes() -> None:
    assert "model.end2end" in refused(hint(BOXES, SCORES), model={"end2end": True})
    assert read_hints(TrainerDocument(document(hint(BOXES, SCORES), model={"end2end": False})), OUTPUTS)


@pytest.mark.parametrize("hints", [{}, "x", [[]], [{"target": "output0"}]])
def test_refuses_what_is_no_array_of_objects(hints: Any) -> None:
    with pytest.raises(InputError, match="split_hints"):
        read_hints(TrainerDocument({"schema_version": 2, "split_hints": hints}), OUTPUTS)


def test_hints_for_outputs_that_are_left_out_are_passed_over() -> None:
    broken = {"type": "quantization_split", "target": "aux", "boundaries": "?"}
    with pytest.raises(InputError, match=r"split_hints\[0\].*names the target 'aux'"):
        read_hints(TrainerDocument(document(broken, hint(BOXES, SCORES))), OUTPUTS)
    (kept,) = read_hints(TrainerDocument(document(broken, hint(BOXES, SCORES))), OUTPUTS, ["aux"])
    assert kept.target == "output0"
    with pytest.raises(InputError, match=r"split_hints\[1\], boundary 'boxes' .* leaves a gap"):
        read_hints(TrainerDocument(document(broken, hint(("boxes", 1, 4), SCORES))), OUTPUTS, ["aux"])


def own_hint(*boundaries: tuple[str, tuple[int, int]], target: str = "output0", **members: Any) -> SplitHint:
    return SplitHint(target, tuple(SplitBoundary(*boundary) for boundary in boundaries), **members)


def test_hints_by_hand_get_their_axis() -> None:
    (found,) = check_hints([own_hint(("boxes", (0, 85)))], {"output0": (1, 25200, 85)}, "my table")
    assert found == own_hint(("boxes", (0, 85)))
    assert found.axis == 2


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ([own_hint(("boxes", (0, 84)), target="x")], "split_hints[0] of my table names the target 'x'"),
        ([own_hint(("boxes", (0, 84)))] * 2, "split_hints[1] of my table is the second hint"),
        ([own_hint(("boxes", (1, 84)))], "split_hints[0], boundary 'boxes' of my table leaves a gap"),
        ([own_hint(("boxes", (4, 0)))], "split_hints[0].boundaries[0] 'boxes' of my table has the empty"),
        ([own_hint((" ", (0, 84)))], "split_hints[0].boundaries[0] of my table needs a 'name', found ' '; correct it."),
        ([own_hint(("boxes", (0, 84)), strides=(8, 8))], "split_hints[0] of my table needs ascending 'strides'"),
        ([own_hint(("boxes", (0, 83)))], "ends at channel 83, but no axis"),
    ],
)
def test_hints_by_hand_are_held_against_the_same_rules(hints: list[SplitHint], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_hints(hints, OUTPUTS, "my table")
    assert message in str(caught.value)
