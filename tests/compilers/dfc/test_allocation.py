"""The placement of layers that is kept for the next compile: of this network and chip alone, and whole."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.dfc.allocation import (
    ALLOCATION_BYTES,
    format_allocation,
    network_digest,
    read_allocation,
)
from build_rules.errors import InputError

HN: dict[str, Any] = {
    "name": "net",
    "layers": {
        "net/conv1": {"type": "conv", "input": [], "output": ["net/conv2"], "output_shapes": [[-1, 8, 8, 16]]},
        "net/conv2": {"type": "conv", "input": ["net/conv1"], "output": [], "original_names": ["/a/Conv"]},
    },
}
TEXT = "place(0, 1, net/conv1)\nplace(1, 0, net/conv2)\n"
NETWORK = network_digest(HN)


def kept(folder: Path, text: str) -> Path:
    path = folder / "allocation.alls"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def test_round_trip(tmp_path: Path) -> None:
    path = kept(tmp_path, format_allocation(TEXT, NETWORK, "hailo8l"))
    assert read_allocation(path, NETWORK, "hailo8l") == TEXT
    assert path.read_text().splitlines()[0].startswith("#")


def test_another_network_or_chip_is_none(tmp_path: Path) -> None:
    path = kept(tmp_path, format_allocation(TEXT, NETWORK, "hailo8l"))
    assert read_allocation(path, NETWORK, "hailo8") is None
    assert read_allocation(path, network_digest({"layers": {}}), "hailo8l") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "more()\n",
        lambda text: text.replace("place(0", "place(7"),
        lambda text: text.partition("\n")[2],
        lambda text: "",
        lambda text: TEXT,
        lambda text: text + "\ud800",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "#" * ALLOCATION_BYTES,
    ],
)
def test_a_damaged_file_is_none(tmp_path: Path, change: Any) -> None:
    path = kept(tmp_path, change(format_allocation(TEXT, NETWORK, "hailo8l")))
    assert read_allocation(path, NETWORK, "hailo8l") is None


def test_what_is_no_file_is_none(tmp_path: Path) -> None:
    assert read_allocation(tmp_path / "absent", NETWORK, "hailo8l") is None
    assert read_allocation(tmp_path, NETWORK, "hailo8l") is None
    os.mkfifo(tmp_path / "pipe")
    assert read_allocation(tmp_path / "pipe", NETWORK, "hailo8l") is None
    assert read_allocation(kept(tmp_path, format_allocation("\n", NETWORK, "hailo8l")), NETWORK, "hailo8l") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("type", "dw"),
        ("output_shapes", [[-1, 8, 8, 32]]),
        ("output", []),
        ("quantization_params", {"precision_mode": "a16_w16"}),
    ],
)
def test_what_a_network_is_known_by(key: str, value: Any) -> None:
    other = copy.deepcopy(HN)
    other["layers"]["net/conv1"][key] = value
    assert network_digest(other) != NETWORK


def test_names_and_bits_count_and_origins_do_not() -> None:
    renamed = {"layers": {name.replace("conv2", "conv3"): layer for name, layer in HN["layers"].items()}}
    assert network_digest(renamed) != NETWORK
    assert network_digest(HN, {"net/conv2": 16}) != NETWORK
    other = copy.deepcopy(HN)
    other["layers"]["net/conv2"]["original_names"] = ["/b/Conv"]
    other["layers"] = dict(reversed(other["layers"].items()))
    assert network_digest(other) == NETWORK


def test_an_hn_without_layers_is_refused() -> None:
    with pytest.raises(InputError, match="without layers"):
        network_digest({})
    network_digest({"layers": {"a": 3}})


@given(st.text(min_size=1), st.sampled_from(["hailo8", "hailo8l"]))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str, chip: str) -> None:
    path = kept(tmp_path_factory.mktemp("a"), format_allocation(text, NETWORK, chip))
    assert read_allocation(path, NETWORK, chip) == (text if text.strip() else None)
