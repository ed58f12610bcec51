"""What is in the keys of a step: everything that an output may depend on, and no path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build_rules.engine.freshness.key import Kind, Step, variant_key

DIGESTS = {"models/net/net.onnx": "1", "pool/a.jpg": "2", "pool/b.jpg": "3"}


def step(**changes: Any) -> Step:
    members: dict[str, Any] = {
        "rule": Kind("make", "steps:make", ("errors.py",)),
        "inputs": {"onnx": Path("models/net/net.onnx"), "images": (Path("pool/a.jpg"), Path("pool/b.jpg"))},
        "outputs": {"out": Path("build/net/out")},
        "settings": {"count": 8},
        "paths": {"source": "pool", "named_in": None},
        "names": {"images": ("a.jpg", "b.jpg")},
        "tools": {"onnx": "1.16"},
        "passed": {"known": "build/.images.db"},
        "owner": "net",
        "name": "make:net",
    }
    return Step(**(members | changes))


KEY = step().cache_key(DIGESTS)
MOVED = {"/else/net.onnx": "1", "../x/a.jpg": "2", "/y/1.jpg": "3"}


def test_where_files_lie_is_not_in_the_cache_key() -> None:
    other = step(
        inputs={"onnx": Path("/else/net.onnx"), "images": (Path("../x/a.jpg"), Path("/y/1.jpg"))},
        outputs={"out": Path("build/team/net/out")},
        paths={"source": "/y", "named_in": "z"},
        passed={},
        owner="team/net",
        name="make:team/net",
    )
    assert other.cache_key(MOVED) == KEY
    assert other.key != step().key, "another place is a reason to run here"


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"count": 9}},
        {"settings": {}},
        {"names": {"images": ("b.jpg", "a.jpg")}},
        {"names": {}},
        {"tools": {"onnx": "1.17"}},
        {"rule": Kind("make", "steps:make", ("errors.py",), version=2)},
        {"rule": Kind("make", "steps:make", ("varint.py",))},
        {"inputs": {"onnx": Path("models/net/net.onnx"), "images": (Path("pool/b.jpg"), Path("pool/a.jpg"))}},
        {"inputs": {"onnx": Path("models/net/net.onnx"), "images": (Path("pool/a.jpg"),)}},
        {"inputs": {"onnx": Path("pool/a.jpg"), "images": (Path("models/net/net.onnx"), Path("pool/b.jpg"))}},
        {"inputs": {"onnx": Path("models/net/net.onnx"), "others": (Path("pool/a.jpg"), Path("pool/b.jpg"))}},
    ],
)
def test_everything_else_is(changes: dict[str, Any]) -> None:
    assert replace(step(), **changes).cache_key(DIGESTS) != KEY


@pytest.mark.parametrize("path", DIGESTS)
def test_content_is(path: str) -> None:
    assert step().cache_key({**DIGESTS, path: "4"}) != KEY


def test_further_inputs_have_keys_of_their_own() -> None:
    keys = {variant_key(KEY, further) for further in ([], [("onnx/w", "1")], [("onnx/w", "2")], [("onnx/v", "1")])}
    assert (len(keys), KEY in keys) == (4, True)


def test_places_are_those_of_any_checkout() -> None:
    here = step(paths={"named_in": "snapshots"})
    there = step(
        inputs={"onnx": Path("/a/team/net.onnx"), "images": ()}, paths={"named_in": "/b/calibration"}, names={}
    )
    for path, place, other in (
        ("models/net/w.bin", "onnx/w.bin", "/a/team/w.bin"),
        ("models/net/w/1.bin", "onnx/w/1.bin", "/a/team/w/1.bin"),
        ("snapshots/c.safetensors", "named_in/c.safetensors", "/b/calibration/c.safetensors"),
    ):
        assert here.place_of(Path(path)) == place
        assert there.find_place(place) == Path(other)


@pytest.mark.parametrize("path", ["models/other/w.bin", "/etc/passwd", "models/net/../../w.bin", "pool/a.jpg"])
def test_files_elsewhere_have_no_place(path: str) -> None:
    assert step(paths={}).place_of(Path(path)) is None


@pytest.mark.parametrize(
    "place", ["", "onnx", "w.bin", "other/w.bin", "onnx/../w.bin", "onnx//etc/passwd", "images/a.jpg", "onnx/a/../../b"]
)
def test_places_that_lead_nowhere(place: str) -> None:
    found = step(paths={}).find_place(place)
    assert found is None or found == Path("models/net"), "a folder, which is no file"
