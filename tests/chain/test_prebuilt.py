"""A HEF that somebody compiled elsewhere at the end of the chain: only the cut is found, and metadata are made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from build_rules.hef import HefSpec, Quantization, Stream, read_hef, read_members, strip, write_hef
from tests.chain.conftest import MODELS, make_small
from tests.decoders import DECODERS
from tests.doit_runs import doit
from tests.graph.heads import Head, head_model, hinted, truth
from tests.shared import SHARED, corpus_model, corpus_truth, needs_shared

SDK = "3.30.0"
OUTPUT = "build/m/hailo8l-prebuilt"


def workspace(folder: Path, onnx: Path, hef: Path, *lines: str) -> Path:
    """A repository with one model and its HEF, and nothing to calibrate from."""
    model = folder / "models/m"
    model.mkdir(parents=True)
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    shutil.copy(onnx, model / "net.onnx")
    shutil.copy(hef, model / "net.hef")
    (model / "model.toml").write_text("\n".join(['compiler = "prebuilt"', *lines]))
    return folder


def stream(name: str, direction: Any, shape: tuple[int, ...], numbers: Quantization, *nodes: str) -> Stream:
    height, width, features = shape
    padded = (height, width, -(-features // 8) * 8) if direction == "output" else (height, width, features)
    return Stream(name, direction, (height, width, features), padded, "NHWC", 1, numbers, nodes)


def compiled(known: dict[str, Any], folded: bool = True, hw_arch: str = "hailo8l") -> bytes:
    """A container such as the vendor's compiler writes for a corpus model, with streams in an order of its own."""
    logits = Quantization(0.1, 140.0, -14.0, 11.5)
    scores = Quantization(1 / 255, 0.0, 0.0, 1.0) if folded else Quantization(0.08, 200.0, -16.0, 4.4)
    streams = []
    for number, endpoint in enumerate(known["endpoints"]):
        _, channels, height, width = endpoint["shape"]
        numbers = scores if endpoint["role"] == "scores" else logits
        shape = (height, width, channels)
        streams.append(stream(f"net/conv{60 - number}", "output", shape, numbers, endpoint["node"]))
    size = known["input"][1][2:]
    image = stream("net/input_layer1", "input", (*size, 3), Quantization(1.0, 0.0, 0.0, 255.0), "images")
    return write_hef(HefSpec(hw_arch, SDK, 1_700_000_000_000, "net", (image,), tuple(streams[::-1])))


@pytest.fixture(scope="module")
def compiled_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a repository has built that compiles an example model itself."""
    folder = make_small(tmp_path_factory.mktemp("compiled"), '[[target]]\npreset = "balanced"')
    run = doit(folder)
    assert run.code == 0, run.err
    return folder / "build/shapes-det/hailo8l-balanced"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, compiled_here: Path) -> Path:
    """A repository with a HEF of an example model, as another repository compiled it."""
    hef = tmp_path_factory.mktemp("hef") / "compiled.hef"
    shutil.copy(compiled_here / "model.hef", hef)
    onnx = next((MODELS / "shapes-det").glob("*.onnx"))
    return workspace(tmp_path_factory.mktemp("prebuilt"), onnx, hef, 'hef = "net.hef"')


def test_only_the_cut_and_the_metadata_are_made(made: Path, compiled_here: Path) -> None:
    run = doit(made)
    assert run.code == 0, run.err
    assert [line.split()[0] for line in run.out.splitlines() if " done in " in line] == [
        "split:m",
        "meta:m:hailo8l-prebuilt",
    ]
    assert sorted(path.name for path in (made / "build/m").iterdir()) == [
        "endpoints.json",
        "hailo8l-prebuilt",
        "split.json",
        "split.onnx",
    ]
    assert sorted(path.name for path in (made / OUTPUT).iterdir()) == ["edgefirst.json", "model+meta.hef"]
    document = json.loads((made / OUTPUT / "edgefirst.json").read_text())
    ours = json.loads((compiled_here / "edgefirst.json").read_text())
    assert document["outputs"] == ours["outputs"]
    section = document["hailo"]
    assert (section["compiler"], section["emulated"]) == ("prebuilt", True)
    assert not {"preset", "compiler_version", "calibration", "calibration_geometry"} & section.keys()
    assert doit(made).out.startswith("2 up to date")


def test_the_hef_is_a_source_like_any_other(made: Path) -> None:
    assert doit(made).code == 0
    strip(made / OUTPUT / "model+meta.hef", made / "compiled.hef")
    assert (made / "compiled.hef").read_bytes() == (made / "models/m/net.hef").read_bytes()
    (made / "models/m/labels.txt").write_text("a\nb\nc\nd\ne\n")
    run = doit(made)
    assert (run.code, "meta:m:hailo8l-prebuilt done" in run.out) == (0, True)
    assert read_members(made / OUTPUT / "model+meta.hef")["labels.txt"] == b"a\nb\nc\nd\ne\n"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), 'needs hef = "FILE.hef"'),
        (('hef = "none.hef"',), "compiled for hailo8l; models/m/none.hef does not exist"),
        (('hef = "."',), "models/m is a folder and not a regular file"),
        (('hef = "net.hef"', '[[target]]\nhef = "nope.hef"'), "models/m/nope.hef does not exist"),
        (('hef = "net.hef"', '[[target]]\nhw_arch = "hailo8"'), 'write hw_arch = "hailo8l" into a'),
        (('hef = "net.hef"', '[[target]]\nhef = "net.hef"'), "no hef here, since every [[target]] names its own"),
        (
            ('[[target]]\nhef = "net.hef"', '[[target]]\nhef = "net.onnx"\npreset = "balanced"'),
            "one HEF for each hw_arch, but hailo8l has",
        ),
        (('compiler = "emulator"', 'hef = "net.hef"'), 'no hef, or compiler = "prebuilt" beside it'),
        (('compiler = "emulator"', '[[target]]\nhef = "net.hef"'), "no hef in it"),
    ],
)
def test_what_is_declared_wrongly_is_told(tmp_path: Path, made: Path, lines: tuple[str, ...], told: str) -> None:
    folder = workspace(tmp_path, made / "models/m/net.onnx", made / "models/m/net.hef")
    first = () if any("compiler" in line for line in lines) else ('compiler = "prebuilt"',)
    (folder / "models/m/model.toml").write_text("\n".join([*first, *lines]))
    run = doit(folder)
    assert run.code in (1, 3)
    assert told in run.err + run.out


def test_targets_of_the_repository_that_differ_in_presets_only_are_one(tmp_path: Path, made: Path) -> None:
    folder = workspace(tmp_path, made / "models/m/net.onnx", made / "models/m/net.hef", 'hef = "net.hef"')
    targets = '[[tool.build_rules.target]]\npreset = "fast"\n[[tool.build_rules.target]]\npreset = "balanced"\n'
    (folder / "pyproject.toml").write_text(targets)
    assert doit(folder).code == 0
    (folder / "pyproject.toml").write_text(targets + 'hef = "net.hef"\n')
    run = doit(folder)
    assert (run.code, "which HEF there is, the model.toml of each model says" in run.err) == (3, True)


def test_a_hef_that_fails_and_is_put_back(tmp_path: Path, made: Path) -> None:
    folder = workspace(tmp_path, made / "models/m/net.onnx", made / "models/m/net.hef", 'hef = "net.hef"')
    assert doit(folder).code == 0
    hef = folder / "models/m/net.hef"
    good = hef.read_bytes()
    hef.write_bytes(good[:-1])
    for _ in range(2):
        assert doit(folder).code == 3
    hef.write_bytes(good)
    # What it made of it stands as it was, and was recorded as that.
    run = doit(folder)
    assert (run.code, run.executed) == (0, [])
    assert doit(folder, "meta:m:hailo8l-prebuilt").code == 0


@pytest.mark.parametrize("moment", [1 << 63, 4 * 10**14])
def test_a_moment_that_no_clock_shows(tmp_path: Path, made: Path, moment: int) -> None:
    (group,) = read_hef(made / "models/m/net.hef").network_groups
    spec = HefSpec("hailo8l", SDK, moment, group.name, group.inputs, group.outputs)
    (tmp_path / "a.hef").write_bytes(write_hef(spec))
    folder = workspace(tmp_path / "w", made / "models/m/net.onnx", tmp_path / "a.hef", 'hef = "net.hef"')
    assert doit(folder).code == 0
    assert json.loads((folder / OUTPUT / "edgefirst.json").read_text())["hailo"]["timestamp"].startswith("1980")


@needs_shared
@pytest.mark.parametrize("folded", [True, False], ids=["sigmoid on the chip", "sigmoid left to the reader"])
def test_streams_are_matched_to_endpoints_by_original_names(tmp_path: Path, folded: bool) -> None:
    known = corpus_truth()["yolov8n"]
    hef = tmp_path / "compiled.hef"
    hef.write_bytes(compiled(known, folded))
    folder = workspace(tmp_path / "w", corpus_model("yolov8n"), hef, 'hef = "net.hef"', 'embed = "sealed"')
    run = doit(folder)
    assert run.code == 0, run.err
    executable = folder / OUTPUT / "model+meta.hef"
    assert read_hef(executable).container.embedding == "sealed"
    document = json.loads(read_members(executable)["edgefirst.json"])
    assert (document["hailo"]["emulated"], document["hailo"]["sdk_version"]) == (False, SDK)
    by_name = {s.name: s for s in read_hef(executable).network_groups[0].outputs}
    bound = [
        (output["name"], child["stride"], *by_name[child["name"]].original_names)
        for output in document["outputs"]
        for child in output["outputs"]
    ]
    assert sorted(bound) == sorted((one["role"], one["stride"], one["node"]) for one in known["endpoints"])
    place = "activation_applied" if folded else "activation_required"
    children = next(output for output in document["outputs"] if output["name"] == "scores")["outputs"]
    assert {child[place] for child in children} == {"sigmoid"}
    check_decoded(document, folded)


def check_decoded(document: dict[str, Any], folded: bool) -> None:
    """One cell says something; both decoders find it, and agree about it."""
    tensors = {}
    for output in document["outputs"]:
        for child in output["outputs"]:
            values = np.full(child["shape"], 140 if output["name"] == "boxes" else 0, np.uint8)
            if output["name"] == "scores" and child["stride"] == 16:
                values[0, 7, 9, 3] = 230
            tensors[child["name"]] = values
    for decode in DECODERS.values():
        found = decode(document, tensors, score=0.5, iou=0.7)
        assert found.classes.tolist() == [3]
        expected = 230 / 255 if folded else 1 / (1 + np.exp(-0.08 * 30))
        assert found.scores[0] == pytest.approx(expected, abs=1e-3)


REAL_NODES = {8: "Conv_209", 16: "Conv_249", 32: "Conv_289", 4: "Mul_208"}
"""The nodes, by stride, from which the outputs of the real HEF come."""


@needs_shared
def test_a_real_hef_gets_metadata_of_a_graph_like_its_own(tmp_path: Path) -> None:
    """Its own ONNX is not to be had; a graph with the same head, maps and names of nodes stands for it."""
    head = Head((640, 640), anchors=3, classes=80, coefficients=32, roles=("boxes", "scores", "mask_coefs"))
    model = head_model(head, {**hinted(head), "dataset": {"classes": [f"class {i}" for i in range(80)]}})
    nodes = {output: node for node in model.graph.node for output in node.output}
    for _, tensor, stride, _, _ in truth(head):
        nodes[tensor].name = REAL_NODES[stride]
    onnx.save(model, tmp_path / "net.onnx")
    hef = SHARED / "hefs/v1_yolov5n_seg_h8_rpicam.hef"
    (tmp_path / "labels.txt").write_text("".join(f"class {i}\n" for i in range(80)))
    lines = ('hef = "net.hef"', "[split]", "proof = false", '[[target]]\nhw_arch = "hailo8"')
    folder = workspace(tmp_path / "w", tmp_path / "net.onnx", hef, *lines)
    shutil.copy(tmp_path / "labels.txt", folder / "models/m")
    run = doit(folder)
    assert run.code == 0, run.err
    executable = folder / "build/m/hailo8-prebuilt/model+meta.hef"
    document = json.loads(read_members(executable)["edgefirst.json"])
    assert (document["hailo"]["sdk_version"], document["hailo"]["emulated"]) == ("3.29.0", False)
    grids = [output for output in document["outputs"] if output.get("anchors")]
    assert [(grid["name"], grid["dtype"], grid["quantization"]["zero_point"]) for grid in grids] == [
        ("yolov5n_seg/conv48", "uint16", 25797),
        ("yolov5n_seg/conv55", "uint16", 22930),
        ("yolov5n_seg/conv61", "uint16", 20458),
    ]
    assert doit(folder, "verify-hef", str(executable)).code == 0
    strip(executable, tmp_path / "stripped.hef")
    assert (tmp_path / "stripped.hef").read_bytes() == hef.read_bytes()


@needs_shared
def test_a_real_hef_of_another_graph_is_refused_with_what_it_has(tmp_path: Path) -> None:
    hef = SHARED / "hefs/v1_yolov5n_seg_h8_rpicam.hef"
    lines = ('hef = "net.hef"', '[[target]]\nhw_arch = "hailo8"')
    run = doit(workspace(tmp_path, corpus_model("yolov5n_anchor"), hef, *lines))
    assert run.code == 3
    assert "no output of the HEF comes from node '/model.24/m.0/Conv'" in run.err
    assert "yolov5n_seg/conv48 (Conv_209)" in run.err
