"""Heads of every make: exactly the endpoints that they were built with, by hints and by structure, and a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from build_rules.records.split_hint import SplitHint
from build_rules.records.split_json import Proof, Split
from tests.graph.graphs import save, split
from tests.graph.heads import NOISE, ROLES, Head, Truth, anchors_of, head_model, hinted, truth
from tests.profiles import either

IMAGES = ((64, 64), (64, 96), (96, 64), (128, 64), (96, 96))
STRIDES = (4, 8, 12, 16, 24, 32, 48, 64)

per_example = settings(
    max_examples=either(60, 300), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


CHOICES: dict[str, tuple[Any, ...]] = {
    "image": IMAGES,
    "batch": (1, 1, 1, 2, 3, 4),
    "classes": (1, 2, 3, 4, 5, 16, 32, 64),
    "scored": ("Sigmoid", "Sigmoid", "Softmax"),
    "bins": (1, *range(2, 17)),
    "decode": ("centre and size", "corners"),
    "anchors": (0, 0, 0, 2, 3),
    "coefficients": (2, 4, 8, 32),
    "turned": ("Sigmoid", ""),
    "picked": (0, 0, 0, 1, 3),
    "opset": tuple(range(11, 21)),
    "body": ("SiLU", "Relu"),
    "after": ("", "", "Scale", "Relu"),
    "grid": ("stored", "computed"),
    "first": ("scales", "roles"),
    "apart": ("Slice", "Split", "SplitToSequence"),
    "average": ("Conv", "MatMul", "MatMul, column", "MatMul, row", "ReduceSum"),
    "bins_axis": (1, 2, 3),
    **dict.fromkeys(("channels_last", "one_output", "protos_last", "constants", "anonymous"), (False, True)),
}
"""What each member of a head is drawn from; more often what stands there more often."""
EXTRAS = sorted({*ROLES} - {"boxes", "scores"})


@st.composite
def heads(draw: st.DrawFn, /, **fixed: Any) -> Head:
    made = {name: fixed[name] if name in fixed else draw(st.sampled_from(values)) for name, values in CHOICES.items()}
    image = made["image"]
    fitting = [stride for stride in STRIDES if not any(size % stride for size in image)]
    extras = draw(st.lists(st.sampled_from(EXTRAS), unique=True, max_size=3))
    strides = draw(st.lists(st.sampled_from(fitting), unique=True, min_size=1, max_size=5))
    if made["anchors"]:
        made.update(bins=1, picked=0)
    if "angle" in extras:
        made.update(decode="centre and size")
    made["picked"] = min(made["picked"], sum(image[0] // s * (image[1] // s) for s in strides))
    return Head(
        **made,
        strides=tuple(strides),
        roles=_objectness_first(draw(st.permutations(("boxes", "scores", *extras)))),
        landmarks=(draw(st.integers(1, 6)), draw(st.sampled_from((2, 3)))),
        noise=tuple(draw(st.lists(st.sampled_from(("", *NOISE)), min_size=1, max_size=7))),
    )


def _objectness_first(roles: Sequence[str]) -> tuple[str, ...]:
    """Put the objectness before the scores, as every head does: of two sigmoids nothing else tells which is which."""
    if "objectness" not in roles or roles.index("objectness") < roles.index("scores"):
        return tuple(roles)
    return tuple({"objectness": "scores", "scores": "objectness"}.get(role, role) for role in roles)


def structure_cannot_tell(head: Head) -> bool:
    """Grids of one or two cells differ too little from place to place; of two single channels nothing tells which is
    the objectness.
    """
    alike = not head.anchors and head.classes == 1 and "objectness" in head.roles and head.scored == "Sigmoid"
    return head.rows <= 2 * max(head.anchors, 1) or alike


def told(found: Split) -> list[Truth]:
    return [(e.role, e.tensor, e.stride or 0, e.encoding, e.activation) for e in found.endpoints]


def _ranges(hint: SplitHint) -> tuple[Any, ...]:
    return hint.target, [(b.name, b.channels) for b in hint.boundaries], hint.strides, hint.anchors_per_cell


def hint_ranges(head: Head) -> list[tuple[Any, ...]]:
    """What the trainer writes, apart from activations."""
    entries = hinted(head)["split_hints"]
    return [
        (
            entry["target"],
            [(b["name"], tuple(b["channels"])) for b in entry["boundaries"]],
            tuple(entry["strides"]),
            entry.get("anchors_per_cell", 1),
        )
        for entry in entries
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("head")


tried: list[Head] = []
"""Every head that was cut here."""


def check(head: Head, metadata: Any, folder: Path) -> Split:
    tried.append(head)
    path = save(head_model(head, metadata), folder)
    found = split(path)
    assert told(found) == truth(head)
    assert found.proof == Proof(max_abs_error=0.0, inputs=1)
    cut = path.with_suffix(".cut")
    onnx.checker.check_model(cut, full_check=True)
    assert [value.name for value in onnx.load(cut).graph.output] == [e.tensor for e in found.endpoints]
    assert [_ranges(hint) for hint in found.hints] == ([] if head.picked else hint_ranges(head))
    anchors = [[tuple(map(float, pair)) for pair in anchors_of(head, stride)] for stride in sorted(head.strides)]
    assert [list(level) for level in found.anchors or ()] == (anchors if head.anchors else [])
    return found


@per_example
@given(head=heads(picked=0))
def test_with_hints(folders: Callable[[], Path], head: Head) -> None:
    check(head, hinted(head), folders())


@per_example
@given(head=heads())
def test_by_structure(folders: Callable[[], Path], head: Head) -> None:
    assume(not structure_cannot_tell(head))
    check(head, None, folders())


def test_whatever_was_drawn_a_head_of_every_kind_was_cut() -> None:
    """A plain run tries fewer heads, and not fewer kinds."""
    if len(tried) < per_example.max_examples:
        pytest.skip("the heads were not cut in this run")
    for name, values in CHOICES.items():
        drawn = {getattr(head, name) for head in tried}
        assert drawn == set(values) if name != "bins" else len(drawn) > 8, name
    assert {role for head in tried for role in head.roles} == set(ROLES)
    assert {noise for head in tried for noise in head.noise} == {"", *NOISE}
    assert {stride for head in tried for stride in head.strides} == set(STRIDES)
    assert {len(head.strides) for head in tried} == {1, 2, 3, 4, 5}
    assert {head.landmarks[1] for head in tried} == {2, 3}
