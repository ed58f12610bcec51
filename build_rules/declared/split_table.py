"""The table `[split]` of `model.toml`: where to cut, when neither metadata nor graph are to decide.

[split]
proof = true
outputs = ["output0"]         # the graph's outputs that are built

[[split.hint]]                # either hints, as trainers write them ...
target = "output0"
strides = [8, 16, 32]
boundaries = [{ name = "boxes", channels = [0, 4] },
              { name = "scores", channels = [4, 84], activation = "sigmoid" }]

[[split.endpoint]]            # ... or the endpoints themselves, one table for each role
role = "boxes"
tensors = ["/model.22/cv2.0/cv2.0.2/Conv_output_0", "..."]
encoding = "dfl"

Both kinds of table may have the `anchors` of an anchor head: for each level, finest first, (width, height) in pixels.
"""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path
from typing import Any

from build_rules.records.choices import EndpointGroup, SplitChoice
from build_rules.records.roles import (
    ACTIVATIONS,
    ANCHOR,
    BOXES,
    DECODED,
    DFL,
    DIRECT,
    ROLES,
    SCORES,
    SIGMOID,
    find_role,
)
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.records.split_json import Anchors
from build_rules.toml_table import Table, table_beside
from build_rules.trainer.anchors import MAX_SIDE

__all__ = ["read_split", "split_beside"]

NONE = "none"
ANCHORS = (
    "an array of levels, finest first, each an array of [width, height] in pixels of the input, such as "
    "[[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]"
)
MAX_ANCHORS = 64
MAX_CHANNELS = 1 << 20
ROLE = re.compile(r"[a-z][a-z0-9_]*")


def read_split(table: Table) -> SplitChoice:
    """Read the sub-table `split` of a model. Raises `InputError` for what is not possible in it."""
    inner = table.table("split")
    if inner is None:
        return SplitChoice()
    prove = inner.flag("proof", True)
    outputs = inner.texts("outputs")
    of_hints, of_groups = inner.tables("hint"), inner.tables("endpoint")
    anchors = tuple(level for table in (*of_hints, *of_groups) for level in _anchors(table))
    hints, groups = tuple(map(_hint, of_hints)), tuple(map(_group, of_groups))
    inner.close()
    if not outputs and "outputs" in inner.names():
        inner.fail("outputs", "the name of at least one of the graph's outputs; without the key all are built")
    if twice := next((name for name in outputs if outputs.count(name) > 1), None):
        inner.fail("outputs", f'each output once; "{twice}" is there {outputs.count(twice)} times')
    if hints and groups:
        inner.fail("endpoint", "either [[split.hint]] or [[split.endpoint]], not both")
    roles = [group.role for group in groups]
    if twice := next((role for role in roles if roles.count(role) > 1), None):
        inner.lack(f'one [[split.endpoint]] for each role, with all its tensors; "{twice}" has {roles.count(twice)}')
    return SplitChoice(prove, hints, groups, anchors, outputs)


def split_beside(onnx: Path) -> SplitChoice:
    """Return what the `model.toml` beside an ONNX file says about cutting it; automatic when there is none.

    Raises `InputError` for what is not possible in its table `split`.
    """
    return read_split(table_beside(onnx))


def _anchors(table: Table) -> Anchors:
    levels = table.array("anchors", ANCHORS)
    if not all(isinstance(level, list) and 0 < len(level) <= MAX_ANCHORS for level in levels):
        table.fail("anchors", ANCHORS)
    pairs = [pair for level in levels for pair in level]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in pairs):
        table.fail("anchors", ANCHORS)
    if any(not 0 < size <= MAX_SIDE for pair in pairs for size in pair):
        table.fail("anchors", f"widths and heights above 0 and up to {MAX_SIDE}, in pixels of the input")
    if pairs and all(size <= 1 for pair in pairs for size in pair):
        table.fail("anchors", "pixels of the input; these are fractions of it: multiply them with its width and height")
    return tuple(tuple((float(width), float(height)) for width, height in level) for level in levels)


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _hint(table: Table) -> SplitHint:
    target = table.text("target")
    boundaries = tuple(map(_boundary, table.tables("boundaries")))
    strides = table.integers("strides", 1, 4096)
    anchors = table.integer("anchors_per_cell", 1, 1, 64)
    table.close()
    if target is None or not boundaries:
        table.lack("target and boundaries")
    return SplitHint(target, boundaries, strides, anchors)


def _boundary(table: Table) -> SplitBoundary:
    name = table.text("name")
    channels = table.integers("channels", 0, MAX_CHANNELS)
    activation = table.choice("activation", (*ACTIVATIONS, NONE), NONE)
    table.close()
    if name is None or len(channels) != 2:
        table.lack("name and channels = [first, end]")
    return SplitBoundary(name, (channels[0], channels[1]), _or_none(activation))


def _group(table: Table) -> EndpointGroup:
    role = table.text("role")
    tensors = table.texts("tensors")
    encoding = table.choice("encoding", (*ROLES[BOXES].encodings, NONE), NONE)
    activation = table.choice("activation", (*ACTIVATIONS, NONE), "" if role == SCORES else NONE)
    has_anchors = bool(table.array("anchors", ANCHORS))
    table.close()
    if role is not None and not ROLE.fullmatch(role):  # such as the question mark of a proposal
        table.fail("role", f"what the tensors are: {', '.join(DECODED)}, ...")
    if role is None or not tensors:
        table.lack("role and tensors")
    if meant := _meant(role):
        table.fail("role", f'"{meant}", which is like it, or a role of your own that is not like any known one')
    kind = find_role(role)
    has_choice = len(kind.encodings) > 1
    if has_anchors and kind.form != "grid":
        table.lack(f'no anchors, which only role = "{ANCHOR}" has; the role is "{role}"')
    if has_choice and encoding == NONE:
        table.lack(f'encoding = "{DFL}" (bins) or "{DIRECT}" (distances), because the role is {role}')
    if not has_choice and encoding != NONE:
        table.lack(f'no encoding, which only {BOXES} have; the role is "{role}"')
    if kind.formula == "box" and activation not in (NONE, ""):
        table.lack(f"no activation, because the role is {role}, whose bins or distances are decoded as they are")
    if not activation:
        table.lack(f'activation = "{SIGMOID}" (or "none", when the graph has applied it), because the role is {role}')
    return EndpointGroup(role, tensors, _or_none(encoding), _or_none(activation))


def _meant(role: str) -> str | None:
    """Return the known role that somebody mistyped; a known one with a word before it is meant as it stands."""
    if role.endswith(tuple(ROLES)):
        return None
    import difflib

    return next(iter(difflib.get_close_matches(role, ROLES, n=1, cutoff=0.75)), None)


def _or_none(word: str) -> str | None:
    return None if word == NONE else word
