"""The table `[split]` of `model.toml`: where to cut, when neither metadata nor graph are to decide.

[split]
proof = true

[[split.hint]]                # either hints, as trainers write them ...
target = "output0"
strides = [8, 16, 32]
boundaries = [{ name = "boxes", channels = [0, 4] },
              { name = "scores", channels = [4, 84], activation = "sigmoid" }]

[[split.endpoint]]            # ... or the endpoints themselves, one table for each role
role = "boxes"
tensors = ["/model.22/cv2.0/cv2.0.2/Conv_output_0", "..."]
encoding = "dfl"
"""

from __future__ import annotations

import re
from pathlib import Path

from build_rules.endpoints import EndpointGroup, SplitBoundary, SplitChoice, SplitHint
from build_rules.toml_table import Table, read_toml

__all__ = ["read_split", "split_beside"]

ACTIVATIONS = ("sigmoid", "softmax", "tanh", "none")
ENCODINGS = ("dfl", "direct", "none")
MAX_CHANNELS = 1 << 20
ROLE = re.compile(r"[a-z][a-z0-9_]*")
ROLES = ("boxes", "scores", "objectness", "mask_coefs", "protos", "landmarks", "angle", "anchor", "segmentation")


def read_split(table: Table) -> SplitChoice:
    """Read the sub-table `split` of a model. Raises `InputError` for what is not possible in it."""
    inner = table.table("split")
    if inner is None:
        return SplitChoice()
    prove = inner.flag("proof", True)
    hints = tuple(map(_hint, inner.tables("hint")))
    groups = tuple(map(_group, inner.tables("endpoint")))
    inner.close()
    if hints and groups:
        inner.fail("endpoint", "either [[split.hint]] or [[split.endpoint]], not both")
    roles = [group.role for group in groups]
    if twice := next((role for role in roles if roles.count(role) > 1), None):
        inner.lack(f'one [[split.endpoint]] for each role, with all its tensors; "{twice}" has {roles.count(twice)}')
    return SplitChoice(prove, hints, groups)


def split_beside(onnx: Path) -> SplitChoice:
    """Return what the `model.toml` beside an ONNX file says about cutting it; automatic when there is none.

    Raises `InputError` for what is not possible in its table `split`.
    """
    where = onnx.parent / "model.toml"
    content = read_toml(where) if where.is_file() else {}
    if content.get("onnx", onnx.name) != onnx.name:
        return SplitChoice()
    return read_split(Table(content, str(where)))


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
    activation = table.choice("activation", ACTIVATIONS, "none")
    table.close()
    if name is None or len(channels) != 2:
        table.lack("name and channels = [first, end]")
    return SplitBoundary(name, (channels[0], channels[1]), _or_none(activation))


def _group(table: Table) -> EndpointGroup:
    role = table.text("role")
    tensors = table.texts("tensors")
    encoding = table.choice("encoding", ENCODINGS, "none")
    activation = table.choice("activation", ACTIVATIONS, "" if role == "scores" else "none")
    table.close()
    if role is not None and not ROLE.fullmatch(role):  # such as the question mark of a proposal
        table.fail("role", "what the tensors are: boxes, scores, mask_coefs, protos, anchor, segmentation, ...")
    if role is None or not tensors:
        table.lack("role and tensors")
    if meant := _meant(role):
        table.fail("role", f'"{meant}", which is like it, or a role of your own that is not like any known one')
    if role == "boxes" and encoding == "none":
        table.lack('encoding = "dfl" (bins) or "direct" (distances), because the role is boxes')
    if role != "boxes" and encoding != "none":
        table.lack(f'no encoding, which only boxes have; the role is "{role}"')
    if role == "boxes" and activation not in ("none", ""):
        table.lack("no activation, because the role is boxes, whose bins or distances are decoded as they are")
    if not activation:
        table.lack('activation = "sigmoid" (or "none", when the graph has applied it), because the role is scores')
    return EndpointGroup(role, tensors, _or_none(encoding), _or_none(activation))


def _meant(role: str) -> str | None:
    """Return the known role that somebody mistyped; a known one with a word before it is meant as it stands."""
    if role.endswith(ROLES):
        return None
    import difflib

    return next(iter(difflib.get_close_matches(role, ROLES, n=1, cutoff=0.75)), None)


def _or_none(word: str) -> str | None:
    return None if word == "none" else word
