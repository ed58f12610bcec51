"""The HAR archive: round trip, determinism, hostile files, resolving outputs."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_rules.compilers.har_file import MAX_JSON_BYTES, Har, dump_npz, output_layers, read_har, write_har
from build_rules.errors import InputError
from tests.shared import SHARED, needs_shared

HN: dict[str, Any] = {
    "name": "net",
    "net_params": {"output_layers_order": ["net/conv2", "net/conv1"]},
    "layers": {
        "net/conv1": {"type": "conv", "input": [], "output": ["net/output_layer2"], "original_names": ["/a/Conv"]},
        "net/conv2": {"type": "conv", "input": [], "output": ["net/output_layer1"], "original_names": ["/b/Conv"]},
        "net/output_layer1": {"type": "output_layer", "input": ["net/conv2"], "output_shapes": [[-1, 8, 8, 64]]},
        "net/output_layer2": {"type": "output_layer", "input": ["net/conv1"], "output_shapes": [[-1, 8, 8, 64]]},
    },
}


def make_har() -> Har:
    weights = {"net/conv1/kernel:0": np.arange(6, dtype=np.float32), "net/conv1/bits:0": np.asarray(8)}
    return Har("net", HN, "hailo_model", "0-emulated", "hailo8", {"net.npz": dump_npz(weights), "net.x": b"PK\3\4"})


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_round_trip(tmp_path: Path) -> None:
    write_har(tmp_path / "a.har", make_har())
    har = read_har(tmp_path / "a.har")
    assert (har.name, har.hn, har.state, har.hw_arch) == ("net", HN, "hailo_model", "hailo8")
    assert har.member(".x") == b"PK\3\4"
    weights = np.load(io.BytesIO(har.member(".npz")))
    assert weights["net/conv1/kernel:0"].tolist() == [0, 1, 2, 3, 4, 5]
    assert weights["net/conv1/bits:0"].shape == ()
    write_har(tmp_path / "b.har", har)
    assert (tmp_path / "a.har").read_bytes() == (tmp_path / "b.har").read_bytes()


def test_archive_carries_no_time_or_owner(tmp_path: Path) -> None:
    write_har(tmp_path / "a.har", make_har())
    with tarfile.open(tmp_path / "a.har") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_compressed_archives_are_read(tmp_path: Path, mode: str) -> None:
    path = write_tar(tmp_path / "a.har", {"./net.hn": json.dumps(HN).encode(), "../../evil": b"x"}, mode)
    assert read_har(path).name == "net"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.har"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "exactly one .hn"),
        ({"a.hn": b"{}", "b.hn": b"{}"}, "exactly one .hn"),
        ({"a.hn": b"{"}, "not JSON"),
        ({"a.hn": b"[" * 200_000}, "not JSON"),
        ({"a.hn": b"[]"}, "not a JSON object"),
        ({"a.hn": b" " * (MAX_JSON_BYTES + 1)}, "a.hn is larger than 8 MiB"),
        ({"a.hn": b"{}"}, "not an HN"),
        ({str(i): b"" for i in range(300)}, "256 members"),
    ],
)
def test_hostile_archives_are_input_errors(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_har(write_tar(tmp_path / "a.har", members))


def test_a_claimed_size_is_judged_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("net.hn")
    info.size = 1 << 40
    (tmp_path / "a.har").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(InputError, match="more than 32 MiB"):
        read_har(tmp_path / "a.har")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_damage_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("har") / "a.har"
    write_har(path, make_har())
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] if cut else data[:at] + junk + data[at + len(junk) :])
    try:
        har = read_har(path)
        har.member(".npz")
        output_layers(har.hn)
    except InputError as error:
        assert str(error)  # noqa: PT017


def test_outputs_follow_the_order_and_the_links() -> None:
    first, second = output_layers(HN)
    assert (first.output_layer, first.producer, first.original_names) == (
        "net/output_layer1",
        "net/conv2",
        ("/b/Conv",),
    )
    assert second.producer == "net/conv1"
    assert second.shape == (-1, 8, 8, 64)


def test_broken_links_are_input_errors() -> None:
    broken = {**HN, "net_params": {"output_layers_order": ["net/conv9"]}}
    with pytest.raises(InputError, match="linked"):
        output_layers(broken)


def test_more_outputs_than_any_chip_has() -> None:
    with pytest.raises(InputError, match="more than 256 outputs"):
        output_layers({**HN, "net_params": {"output_layers_order": ["net/conv1"] * 257}})


def test_npz_is_the_same_bytes_whatever_the_order() -> None:
    a, b = np.ones(3), np.zeros((2, 2), dtype=np.int8)
    assert dump_npz({"a": a, "b": b}) == dump_npz({"b": b, "a": a})


@needs_shared
@pytest.mark.parametrize(("name", "outputs"), [("mobilenet_v2", 1), ("yolov4", 12)])
def test_real_hn_files(name: str, outputs: int) -> None:
    hn = json.loads((SHARED / "hars" / f"{name}.hn").read_text(encoding="utf-8"))
    found = output_layers(hn)
    assert [each.producer for each in found] == hn["net_params"]["output_layers_order"]
    assert len(found) == outputs
