"""`doit inspect --map`: the names of a network's layers, from whatever of its files is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from build_rules.commands import layer_map
from build_rules.commands.describe import describe
from build_rules.commands.inspect import Inspect
from build_rules.commands.layer_map import map_layers, read_sources, show_map
from build_rules.commands.left_beside import RECORD_BYTES
from build_rules.commands.render import render_table
from build_rules.errors import InputError
from build_rules.hef import embed_zip
from build_rules.records.split_json import Endpoint, ModelInput, Split, dump_split
from tests.commands.test_hostile import call
from tests.compilers.nets import NORMAL, Build, detector
from tests.shared import SHARED, needs_shared

ROLES = ("boxes", "scores", "protos")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build leaves of a detector: `net/split.json`, `net/hailo8l/parsed.har`, the rest in `net/hailo8l-fast`."""
    build = Build(tmp_path_factory.mktemp("map"), *detector()).parse()
    scores = next(row for row in map_layers(read_sources(build.parsed)).rows if row.onnx_nodes == (build.ends[1],))
    build.optimize(
        f"{NORMAL}change_output_activation({scores.hn_layer}, sigmoid)\n"
        "quantization_param(output_layer1, precision_mode=a16_w16)\n"
    ).compile()
    folder = build.folder / "net"
    for path, place in ((build.parsed, "hailo8l/parsed.har"), (build.har, "hailo8l-fast/model.har"),
                        (build.hef, "hailo8l-fast/model.hef")):  # fmt: skip
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / place)
    endpoints = tuple(
        Endpoint(role, role, 0, 2 if role == "protos" else 4, "t", node, (1, 1, 1, 1), None, None)
        for role, node in zip(ROLES, build.ends, strict=True)
    )
    split = Split("net", ModelInput("images", (1, 3, 32, 32)), endpoints, (), None)
    (folder / "split.json").write_text(dump_split(split))
    return folder


def outputs(path: Path) -> list[Any]:
    return [row for row in map_layers(read_sources(path)).rows if row.stream is not None]


@pytest.mark.parametrize("name", ["hailo8l-fast/model.hef", "hailo8l-fast/model.har"])
def test_everything_that_is_known_of_a_built_network(built: Path, name: str) -> None:
    found = map_layers(read_sources(built / name))
    assert found.missing == ()
    rows = [row for row in found.rows if row.stream is not None]
    assert [(row.role, row.bits, row.activation) for row in rows] == [
        ("boxes", 16, None),
        ("scores", 8, "sigmoid"),
        ("protos", 8, "silu"),
    ]
    assert [row.output_layer for row in rows] == [f"net/output_layer{number}" for number in (1, 2, 3)]
    assert all(row.hn_layer == row.stream for row in rows)
    first = next(row for row in found.rows if row.onnx_nodes[:1] == ("/n0/Conv",))
    assert (first.scale, first.shape, first.bits, first.activation) == (2, (1, 16, 16, 16), 8, "silu")
    assert (first.stream, first.output_layer, first.role) == (None, None, None)
    assert not any(row.hn_layer and "output_layer" in row.hn_layer for row in found.rows)


def test_a_parsed_network_has_no_bits_yet(built: Path) -> None:
    found = map_layers(read_sources(built / "hailo8l/parsed.har"))
    assert [row.role for row in found.rows if row.stream] == list(ROLES)
    assert {row.bits for row in found.rows} == {None}
    assert found.missing == ("net is a hailo_model here: bits and folded activations are decided later",)


def test_a_hef_beside_which_only_the_parsed_network_lies(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "net")
    (tmp_path / "net/hailo8l-fast/model.har").unlink()
    found = map_layers(read_sources(tmp_path / "net/hailo8l-fast/model.hef"))
    assert [row.bits for row in found.rows if row.stream] == [16, 8, 8]
    assert len(found.rows) > 10


def test_a_bare_hef_shows_what_it_holds(built: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copy(built / "hailo8l-fast/model.hef", tmp_path / "a.hef"))
    found = map_layers(read_sources(bare))
    assert [(row.bits, row.role, row.scale) for row in found.rows] == [
        (16, None, None),
        (8, None, None),
        (8, None, None),
    ]
    assert [row.onnx_nodes[-1] for row in found.rows] == [
        row.onnx_nodes[-1] for row in outputs(built / "hailo8l-fast/model.hef")
    ]
    assert found.missing == (
        "no HAR of this network beside it (model.har, parsed.har): only its outputs are shown",
        "no split.json of this network and no metadata: nobody tells the roles of its outputs",
    )


def test_metadata_tell_the_roles_where_no_split_does(built: Path, tmp_path: Path) -> None:
    streams = [row.stream for row in outputs(built / "hailo8l-fast/model.hef")]
    child = {"name": streams[1], "stride": 4, "activation_applied": "sigmoid"}
    document = {"outputs": [{"type": "scores", "outputs": [child]}, {"type": "protos", "name": streams[2]}, {}, 3]}
    members = {"edgefirst.json": json.dumps(document).encode(), "labels.txt": b"a\n"}
    embed_zip(built / "hailo8l-fast/model.hef", members, tmp_path / "a.hef", "append")
    rows = outputs(tmp_path / "a.hef")
    assert [(row.role, row.scale, row.activation) for row in rows] == [
        (None, None, None),
        ("scores", 4, "sigmoid"),
        ("protos", None, None),
    ]


def test_files_of_another_network_beside_it_are_not_taken(built: Path, tmp_path: Path) -> None:
    other = Build(tmp_path / "other", *detector(), name="other").all(NORMAL)
    shutil.copy(built / "hailo8l-fast/model.hef", tmp_path / "other/model.hef")
    shutil.copy(built / "split.json", tmp_path / "split.json")
    assert "no HAR of this network" in read_sources(tmp_path / "other/model.hef").missing[0]
    document = json.loads((built / "split.json").read_text())
    document["endpoints"][0]["node"] = "/elsewhere/Conv"
    (tmp_path / "split.json").write_text(json.dumps(document))
    assert {row.role for row in outputs(other.har)} == {None}


def test_records_that_no_build_writes_are_left_out(built: Path, tmp_path: Path) -> None:
    har = Path(shutil.copy(built / "hailo8l-fast/model.har", tmp_path / "model.har"))
    split, text = tmp_path / "split.json", (built / "split.json").read_text()
    split.write_text(text)
    assert [row.role for row in outputs(har)] == list(ROLES)
    split.write_text(text + " " * RECORD_BYTES)
    assert {row.role for row in outputs(har)} == {None}
    split.write_text("{}")
    assert {row.role for row in outputs(har)} == {None}
    split.unlink()
    os.mkfifo(split)
    os.mkfifo(tmp_path / "har.log")
    assert {row.role for row in outputs(har)} == {None}
    assert describe(har)["times"] == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"--map shows the layers of a \.hef or \.har"):
        read_sources(tmp_path / "a.onnx")


def test_as_json_and_through_the_command(built: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = built / "hailo8l-fast/model.hef"
    facts = json.loads(show_map(path, as_json=True))
    assert list(facts) == ["file", "layers", "missing"]
    assert list(facts["layers"][0]) == [
        *("onnx_nodes", "hn_layer", "output_layer", "stream", "role", "scale", "shape", "bits", "activation")
    ]
    assert call(Inspect, path, "--map", "--json") == 0
    assert json.loads(capfd.readouterr().out) == facts
    assert call(Inspect, path, "--map") == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 1 + len(facts["layers"])
    assert all(node in lines[-1] for node in facts["layers"][-1]["onnx_nodes"]), "nothing is cut in a pipe"


def test_a_terminal_gets_lines_that_fit(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(layer_map, "get_terminal_size", lambda: type("Size", (), {"columns": 110}))
    lines = show_map(built / "hailo8l-fast/model.hef", as_json=False).splitlines()
    assert max(map(len, lines)) <= 110
    assert any(line.startswith("...") for line in lines), "the end of a name tells more than its beginning"


def test_a_narrow_terminal_gets_what_tells_layers_apart(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(layer_map, "get_terminal_size", lambda: type("Size", (), {"columns": 80}))
    lines = show_map(built / "hailo8l-fast/model.hef", as_json=False).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["onnx", "nodes", "hn", "layer", "stream", "role", "scale", "bits", "activation"]
    layers = [line.split()[1] for line in lines[1:-2]]
    assert len(set(layers)) == len(layers)
    assert lines[-2].startswith("layers and streams are called ")
    assert lines[-1].startswith("shape, output layer: left out")


def test_columns_are_cut_no_further_than_they_can_be_read() -> None:
    rows = [{"long": "a" * 40 + "end", "short": "s" * 30}]
    header, line = render_table(rows, 20, ("long",)).splitlines()
    assert line.split() == ["..." + "a" * 6 + "end", "s" * 30]
    assert header.split() == ["long", "short"]
    assert render_table(rows).splitlines()[1].split() == ["a" * 40 + "end", "s" * 30]
    assert "\x1b" not in render_table([{"x\x1b": "\x1b[31m"}], 20, ())


@needs_shared
def test_a_real_hef(tmp_path: Path) -> None:
    path = Path(shutil.copy(SHARED / "hefs/v1_yolov5n_seg_h8_rpicam.hef", tmp_path / "a.hef"))
    rows = map_layers(read_sources(path)).rows
    assert [(row.stream, row.bits) for row in rows] == [
        ("yolov5n_seg/conv63", 8),
        ("yolov5n_seg/conv61", 16),
        ("yolov5n_seg/conv55", 16),
        ("yolov5n_seg/conv48", 16),
    ]
