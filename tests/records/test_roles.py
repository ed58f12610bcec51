"""No other table of roles or chips: these agree with presets, with the words of EdgeFirst and with the manual."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_rules.presets import PRESETS
from build_rules.records.hardware import HARDWARE
from build_rules.records.roles import ACTIVATIONS, ANCHOR, BOXES, ROLES, find_role, roles_of
from build_rules.trainer.vocabulary import DECODERS, DIMENSIONS, ENCODINGS, OUTPUT_TYPES, SPLIT_TYPES, UNDECODED_TYPES

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "build_rules"
TABLES = ("records/roles.py", "records/hardware.py")
ENCODED = {encoding for role in ROLES.values() for encoding in role.encodings}
OTHER_LANGUAGES = {
    "alls/wide_layers.py": "the HN's words for kinds of layers",
    "compilers/emulator/": "the model script's and the emulator's own words for what layers apply",
    "hef/schema.py": "a HEF's words for what the host computes",
}
"""Where the words for activations are not those of roles."""


def words(file: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module, without its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def literals(of: set[str], allowed: tuple[str, ...]) -> list[str]:
    """Where such a word is written: as a string, or in quotes in a longer one."""
    quoted = re.compile(rf"[\"']({'|'.join(of)})[\"']")
    names = {path: str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))}
    return [
        f"{name}:{line}: {word!r}"
        for path, name in names.items()
        if not name.startswith((*TABLES, *allowed))
        for line, word in words(path)
        if word in of or quoted.search(word)
    ]


def test_no_role_and_no_chip_is_written_down_anywhere_else() -> None:
    assert literals({*ROLES, *HARDWARE, *ENCODED}, ()) == []


def test_activations_are_written_down_once() -> None:
    assert literals(set(ACTIVATIONS), tuple(OTHER_LANGUAGES)) == []


def test_the_words_are_those_of_edgefirst() -> None:
    assert {role.type for role in ROLES.values()} <= {*OUTPUT_TYPES, None}
    assert {role.decoder for role in ROLES.values()} <= {*DECODERS, None}
    assert {role.channel_axis for role in ROLES.values()} <= {*DIMENSIONS}
    assert ENCODINGS == ("dfl", "direct", "anchor")
    assert SPLIT_TYPES == ("boxes", "scores", "mask_coefs")
    assert UNDECODED_TYPES == ("objectness", "landmarks")


def test_who_is_decoded_has_a_type_a_decoder_and_a_place() -> None:
    assert all(role.type and role.decoder for role in ROLES.values() if role.form in ("split", "grid"))
    assert roles_of("split", "whole", "map")[:5] == ("boxes", "scores", "mask_coefs", "protos", "segmentation")
    placed = [ROLES[name].order for name in roles_of("split", "whole", "map")]
    assert len(set(placed)) == len(placed)
    assert max(placed) < find_role("of the user's own").order


def test_only_anchor_grids_are_never_folded() -> None:
    assert [role.name for role in ROLES.values() if not role.folds] == [ANCHOR]


def test_a_role_of_the_users_own_is_carried_in_8_bits() -> None:
    own = find_role("raw_boxes")
    assert (own.name, own.form, own.type, own.decoder, own.formula) == ("raw_boxes", "carried", None, None, None)
    assert all(own.precision not in preset.wide for preset in PRESETS.values())


def test_presets_name_groups_that_roles_are_in() -> None:
    groups = {role.precision for role in ROLES.values()} - {""}
    assert {group for preset in PRESETS.values() for group in preset.wide} == groups


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_the_manual_says_which_roles_a_preset_gives_16_bits(preset: object) -> None:
    page = (REPOSITORY / "docs/model-toml.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(fast|balanced|accurate)` \| (.*?) \|", page, re.MULTILINE))
    rows["accurate"] = rows["accurate"].replace("these", rows["balanced"])
    said = set(re.findall(r"`(\w+)`", rows[preset.name]))  # type: ignore[attr-defined]
    assert said == {role.name for role in ROLES.values() if role.precision in preset.wide}  # type: ignore[attr-defined]


def test_the_manual_names_every_role_and_encoding() -> None:
    page = (REPOSITORY / "docs/cutting.md").read_text(encoding="utf-8")
    table = "".join(re.findall(r"^\| `.*$", page.split("## ")[0], re.MULTILINE)) or page
    # What only a hint can say, since no graph tells it from an objectness.
    assert {role for role in ROLES if f"`{role}`" not in table} == {"confidence"}
    assert f"# boxes: {' or '.join(ROLES[BOXES].encodings)}" in page
