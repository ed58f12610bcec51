"""What is told of a snapshot's images comes back as it was, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.calibration.chosen import MAX_BYTES, Chosen, ChosenImage, dump_chosen, load_chosen
from build_rules.calibration.pool.left_out import Outcome
from build_rules.errors import InputError

FULL = Chosen(
    snapshot="calibration-local-0123456789abcdef.safetensors",
    pool=3,
    requested=2,
    images=(ChosenImage("a.jpg", "0" * 64, 1, 1, "red minimum 0"), ChosenImage("b\udcff.jpg", "1" * 64, 2, 0, "")),
    left_out=(Outcome("c.jpg", "duplicate", "the same file as a.jpg"),),
)


@pytest.mark.parametrize("chosen", [FULL, Chosen("given.safetensors", image_ids=("s-1", "s-2"))])
def test_it_comes_back(tmp_path: Path, chosen: Chosen) -> None:
    path = tmp_path / "calibration-images.json"
    text = dump_chosen(chosen)
    path.write_text(text, encoding="ascii")
    loaded = load_chosen(path)
    assert dump_chosen(loaded) == text
    assert (loaded.snapshot, tuple(loaded.images), tuple(loaded.left_out)) == (
        chosen.snapshot,
        tuple(chosen.images),
        tuple(chosen.left_out),
    )


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_anything_else_is_refused(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    path = tmp_path_factory.mktemp("chosen") / "x.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"x\.json"):
        load_chosen(path)


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"format": 2}', '{"format": 1}', '{"format": 1, "images": [{}]}'])
def test_what_is_no_such_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        load_chosen(tmp_path / "x.json")


def test_no_more_is_read_than_any_pool_needs(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match=r"x\.json: larger than"):
        load_chosen(tmp_path / "x.json")
