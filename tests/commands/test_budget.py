"""What endpoints weigh per frame, computed, and as `doit inspect` tells it of an ONNX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest

from build_rules.commands.budget import budget_facts, endpoint_bytes
from build_rules.commands.describe import describe
from build_rules.commands.render import render_json, render_text
from build_rules.onnx_file.weights import FileRange
from build_rules.presets import PRESETS
from build_rules.records.split_json import Endpoint
from tests.doit_runs import doit
from tests.graph.graphs import BINS, CLASSES, Builder, detection, document, save
from tests.shared import corpus_model, needs_shared

STRIDES = (8, 16, 32)
OUTPUT = {"output0": (1, 84, 8400)}
ROW = ["preset", "endpoints_bytes", "largest_endpoint_bytes", "largest_row_bytes", "uncut_held_whole_bytes"]


def role(name: str, channels: int, strides: Sequence[int] = STRIDES) -> list[Endpoint]:
    """Maps of a 640x640 input."""
    return [
        Endpoint(f"{name}_{i}", name, i, s, f"{name}{s}", f"{name}{s}", (1, channels, 640 // s, 640 // s), None, None)
        for i, s in enumerate(strides)
    ]


YOLOV8N = [*role("boxes", 64), *role("scores", 80)]


def widths(name: str) -> dict[str, int]:
    (endpoint,) = role(name, 1, [640])
    return {preset: endpoint_bytes(endpoint, PRESETS[preset]) for preset in PRESETS}


@pytest.mark.parametrize(
    ("index", "fast", "balanced", "accurate"),
    [
        (0, 409_600, 819_200, 819_200),
        (1, 102_400, 204_800, 204_800),
        (2, 25_600, 51_200, 51_200),
        (3, 512_000, 512_000, 1_024_000),
        (4, 128_000, 128_000, 256_000),
        (5, 32_000, 32_000, 64_000),
    ],
)
def test_every_endpoint_of_a_yolov8n(index: int, fast: int, balanced: int, accurate: int) -> None:
    found = [endpoint_bytes(YOLOV8N[index], PRESETS[name]) for name in ("fast", "balanced", "accurate")]
    assert found == [fast, balanced, accurate]


def test_all_endpoints_of_a_yolov8n_against_its_output() -> None:
    fast, balanced, accurate = (tuple(row.values()) for row in budget_facts(YOLOV8N, OUTPUT))
    assert fast == ("fast", 144 * 8400, 512_000, 80 * 80, 84 * 8400)
    assert balanced == ("balanced", (2 * 64 + 80) * 8400, 819_200, 2 * 64 * 80, 2 * 84 * 8400)
    assert accurate == ("accurate", 2 * 144 * 8400, 1_024_000, 2 * 80 * 80, 2 * 84 * 8400)


def test_rows_have_stable_keys() -> None:
    assert [list(row) for row in budget_facts(YOLOV8N, OUTPUT)] == [ROW] * len(PRESETS)


@pytest.mark.parametrize("name", ["boxes", "landmarks", "angle"])
def test_coordinates_are_wide_from_balanced_on(name: str) -> None:
    assert widths(name) == {"fast": 1, "balanced": 2, "accurate": 2}


@pytest.mark.parametrize("name", ["scores", "objectness", "confidence"])
def test_confidences_are_wide_in_accurate(name: str) -> None:
    assert widths(name) == {"fast": 1, "balanced": 1, "accurate": 2}


@pytest.mark.parametrize("name", ["mask_coefs", "protos", "segmentation", "anchor", "whatever"])
def test_everything_else_is_always_narrow(name: str) -> None:
    assert widths(name) == {"fast": 1, "balanced": 1, "accurate": 1}


def test_a_row_is_that_of_the_widest_map() -> None:
    """Few channels over many columns may weigh more than many channels over few."""
    protos = Endpoint("protos", "protos", None, 4, "p", "p", (1, 32, 160, 160), None, None)
    assert budget_facts([*YOLOV8N, protos], OUTPUT)[0]["largest_row_bytes"] == 80 * 80
    assert budget_facts([protos, *role("scores", 10)], OUTPUT)[0]["largest_row_bytes"] == 32 * 160


def test_outputs_that_are_endpoints_are_not_joined() -> None:
    protos = Endpoint("protos", "protos", None, 4, "output1", "p", (1, 32, 160, 160), None, None)
    outputs = OUTPUT | {"output1": (1, 32, 160, 160)}
    with_protos = budget_facts([*YOLOV8N, protos], outputs)
    assert [row["uncut_held_whole_bytes"] for row in with_protos] == [84 * 8400, 2 * 84 * 8400, 2 * 84 * 8400]
    assert budget_facts([protos], {"output1": (1, 32, 160, 160)}) == []


def test_without_endpoints_there_is_nothing_to_tell() -> None:
    assert budget_facts([], OUTPUT) == []


# As told of a file.


def shown(path: Path) -> dict[str, Any]:
    """What `doit inspect --json` prints, which is what programs read."""
    facts: dict[str, Any] = json.loads(render_json(describe(path)))
    assert len(render_text(facts).splitlines()) > 10
    return facts


def test_endpoints_are_told_with_their_bytes(tmp_path: Path) -> None:
    facts = shown(save(detection(), tmp_path))
    assert facts["found_by"] == "hints"
    assert "endpoints_not_found" not in facts
    assert facts["endpoints"][0] == {
        "name": "boxes_0",
        "role": "boxes",
        "stride": 8,
        "shape": [1, 4 * BINS, 4, 4],
        "encoding": "dfl",
        "activation": None,
        "fast_bytes": 256,
        "balanced_bytes": 512,
        "accurate_bytes": 512,
        "node": "box_map_8",
    }
    cells, fast = 20, facts["bytes_per_frame"][0]
    assert fast["endpoints_bytes"] == (4 * BINS + CLASSES) * cells
    assert fast["uncut_held_whole_bytes"] == (4 + CLASSES) * cells
    assert sum(endpoint["fast_bytes"] for endpoint in facts["endpoints"]) == fast["endpoints_bytes"]


@pytest.mark.parametrize("metadata", [None, document()], ids=["bare", "without hints"])
def test_what_the_graph_tells_is_told(tmp_path: Path, metadata: Any) -> None:
    facts = shown(save(detection(metadata=metadata), tmp_path))
    assert (facts["found_by"], len(facts["endpoints"])) == ("structure", 4)


TABLE = """
[[split.endpoint]]
role = "own"
tensors = ["score_map_8", "score_map_16"]

[[split.endpoint]]
role = "boxes"
tensors = ["box_map_8", "box_map_16"]
encoding = "dfl"
"""


def test_the_table_split_beside_the_file_is_followed(tmp_path: Path) -> None:
    path = save(detection(), tmp_path)
    (tmp_path / "model.toml").write_text(TABLE)
    facts = shown(path)
    assert facts["found_by"] == "model.toml"
    assert [endpoint["name"] for endpoint in facts["endpoints"]] == ["own_0", "own_1", "boxes_0", "boxes_1"]
    (tmp_path / "model.toml").write_text('onnx = "other.onnx"\n' + TABLE)
    assert shown(path)["found_by"] == "hints"
    (tmp_path / "model.toml").write_text(TABLE.replace('"boxes"', '"box"'))
    assert "role = 'box' is not possible" in shown(path)["endpoints_not_found"]


def test_what_is_not_found_is_told_and_why(tmp_path: Path) -> None:
    b = Builder()
    b.op("Tanh", b.reshape(b.conv("image", 3, 2, 8), 1, 2, -1), name="output0")
    facts = shown(save(b.model("output0"), tmp_path))
    assert facts["endpoints"] == []
    assert "there is no way to tell where to cut" in facts["endpoints_not_found"]
    assert not {"bytes_per_frame", "found_by"} & facts.keys()


def test_a_broken_document_does_not_hide_the_rest(tmp_path: Path) -> None:
    model = detection()
    model.metadata_props[0].value = "{"
    facts = shown(save(model, tmp_path))
    assert "'edgefirst' is not valid JSON" in facts["endpoints_not_found"]
    assert (facts["nodes"], facts["opset"]) == (len(model.graph.node), 17)


def test_several_images_are_told_as_one(tmp_path: Path) -> None:
    """The frame is one image, whatever the export takes at once."""
    per_frame = []
    for batch in (1, 4):
        b = Builder(image=(batch, 3, 32, 32))
        b.op("Sigmoid", b.reshape(b.conv("image", 3, CLASSES, 8, "map"), batch, CLASSES, -1), name="output0")
        per_frame.append(shown(save(b.model("output0"), tmp_path))["bytes_per_frame"])
    assert per_frame[0] == per_frame[1]
    assert per_frame[0][0]["uncut_held_whole_bytes"] == CLASSES * 16


def beside(folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save_model(detection(), path, save_as_external_data=True, location="w.bin", size_threshold=2048)
    return path


def test_weights_beside_the_model_need_not_be_there(tmp_path: Path) -> None:
    """A person may have copied the ONNX alone; where it is cut hangs on no large weight."""
    expected = shown(beside(tmp_path))
    (tmp_path / "w.bin").unlink()
    facts = shown(tmp_path / "model.onnx")
    assert facts["external_files"] == ["w.bin"]
    assert facts == expected
    assert len(facts["endpoints"]) == 4


def test_weights_that_a_file_names_elsewhere_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile model may name any file of the machine: a device that never ends, a pipe that waits."""
    (tmp_path / "models").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    path = beside(tmp_path / "models")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../secret.bin" if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    read: list[str] = []

    def noted(place: FileRange) -> bytes:
        read.append(place.location)
        return bytes(place.length)

    monkeypatch.setattr(FileRange, "read", noted)
    shown(path)
    assert read == []


def test_attention_is_told_by_its_nodes(tmp_path: Path) -> None:
    b = Builder()
    features = b.conv("image", 3, 8, 8, "before")
    query, key, values = (b.reshape(b.conv(features, 8, 8, 1, name), 1, 8, -1) for name in ("q", "k", "v"))
    scores = b.op("MatMul", b.op("Transpose", query, perm=[0, 2, 1]), key, name="scores")
    weights = b.op("Softmax", scores, axis=-1, name="softmax")
    mixed = b.op("MatMul", values, b.op("Transpose", weights, perm=[0, 2, 1]), name="mixed")
    b.op("Sigmoid", b.reshape(b.conv(b.reshape(mixed, 1, 8, 4, 4), 8, CLASSES, 1, "after"), 1, CLASSES, -1), name="o")
    facts = shown(save(b.model("o"), tmp_path))
    assert [list(block) for block in facts["attention"]] == [
        ["scores", "softmax", "mixed", "fed_by", "feeds", "beside"]
    ]
    assert facts["attention"][0] == {
        "scores": "scores",
        "softmax": "softmax",
        "mixed": "mixed",
        "fed_by": ["q", "k", "v"],
        "feeds": ["after"],
        "beside": [],
    }


def test_inspect_prints_it(tmp_path: Path) -> None:
    save(detection(), tmp_path)
    run = doit(tmp_path, "inspect", "model.onnx", "--json")
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out)["bytes_per_frame"] == shown(tmp_path / "model.onnx")["bytes_per_frame"]
    text = doit(tmp_path, "inspect", "model.onnx")
    assert "bytes per frame:" in text.out
    assert "uncut held whole bytes" in text.out


@needs_shared
def test_a_real_yolov8n(tmp_path: Path) -> None:
    run = doit(tmp_path, "inspect", str(corpus_model("yolov8n")), "--json")
    assert run.code == 0, run.err
    facts = json.loads(run.out)
    assert (facts["found_by"], facts["attention"]) == ("hints", [])
    bytes_of = {endpoint["name"]: endpoint["fast_bytes"] for endpoint in facts["endpoints"]}
    assert bytes_of == {endpoint.name: endpoint_bytes(endpoint, PRESETS["fast"]) for endpoint in YOLOV8N}
    assert facts["bytes_per_frame"] == budget_facts(YOLOV8N, OUTPUT)


@needs_shared
@pytest.mark.parametrize(("name", "blocks"), [("yolo11n", 1), ("yolo26n", 2)])
def test_real_attention_blocks(name: str, blocks: int) -> None:
    facts = shown(corpus_model(name))
    assert len(facts["attention"]) == blocks
    assert all(block["fed_by"] and block["feeds"] for block in facts["attention"])
