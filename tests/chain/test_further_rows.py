"""A chip and an output role more are one row each: nothing else in the package is changed for them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.chain.conftest import REPOSITORY, make_workspace, single_target
from tests.doit_runs import Run, doit

ROLE = '        Role("depth", order=5, precision="regression", form="map"),\n'
CHIP = '        Hardware("hailo99", "Hailo-99", (99,), 5, (), (99,), is_target=True),\n'
TARGET = "build/shapes-det/hailo99-balanced"


def with_row(file: Path, before: str, row: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1
    file.write_text(text.replace(before, row + before), encoding="utf-8")


def add_depth(path: Path) -> None:
    """Give a model one more output, a depth for each cell of the finest scale, and the split hint for it."""
    model = onnx.load(path)
    hint = {"type": "quantization_split", "target": "depth"}
    for entry in model.metadata_props:
        if entry.key == "edgefirst":
            document = json.loads(entry.value)
            document["split_hints"] += [hint | {"boundaries": [{"name": "depth", "channels": [0, 1]}]}]
            entry.value = json.dumps(document)
    feature = next(node.input[0] for node in model.graph.node if node.name == "/model.22/cv2.0/cv2.0.2/Conv")
    weights = helper.make_tensor("depth.weight", TensorProto.FLOAT, (1, 32, 1, 1), [0.1] * 32)
    model.graph.initializer.append(weights)
    model.graph.node.append(helper.make_node("Conv", [feature, "depth.weight"], ["depth_map"], name="/depth/Conv"))
    model.graph.node.append(helper.make_node("Sigmoid", ["depth_map"], ["depth"], name="/depth/Sigmoid"))
    model.graph.output.append(helper.make_tensor_value_info("depth", TensorProto.FLOAT, (1, 1, 32, 32)))
    onnx.save(model, path)


@dataclass(frozen=True)
class Built:
    """The workspace, built by a package with one row more in each table."""

    folder: Path
    package: Path
    run: Run

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    package = tmp_path_factory.mktemp("package")
    shutil.copytree(REPOSITORY / "build_rules", package / "build_rules", ignore=shutil.ignore_patterns("__pycache__"))
    with_row(package / "build_rules/records/roles.py", "        Role(SEGMENTATION", ROLE)
    with_row(package / "build_rules/records/hardware.py", '        Hardware("hailo15m"', CHIP)
    folder = make_workspace(tmp_path_factory.mktemp("rows"), ("shapes-det",), images=12)
    add_depth(folder / "models/shapes-det/shapes-det.onnx")
    single_target(folder, "shapes-det", *TABLES)
    return Built(folder, package, doit(folder, PYTHONPATH=str(package)))


TABLES = ("calibration_count = 8", "[[target]]", 'hw_arch = "hailo99"', 'preset = "balanced"')


def test_both_are_built(built: Built) -> None:
    assert built.run.code == 0, built.run.err
    assert built.run.executed[-1] == "meta:shapes-det:hailo99-balanced"


def test_the_role_is_cut_and_gets_the_bits_of_its_group(built: Built) -> None:
    split = built.json("build/shapes-det/split.json")
    depth = next(endpoint for endpoint in split["endpoints"] if endpoint["role"] == "depth")
    assert (depth["node"], depth["encoding"], depth["activation"]) == ("/depth/Conv", None, "sigmoid")
    script = (built.folder / TARGET / "model.alls").read_text().splitlines()
    assert sum(line.startswith("quantization_param(") and "a16_w16" in line for line in script) == 4  # three of boxes
    assert sum(line.startswith("change_output_activation(") for line in script) == 4  # three of scores


def test_the_role_is_described_as_its_row_says(built: Built) -> None:
    outputs = built.json(f"{TARGET}/edgefirst.json")["outputs"]
    assert [output["name"] for output in outputs[:2]] == ["boxes", "scores"]
    depth = outputs[2]
    assert (depth["shape"], depth["dtype"], depth["activation_applied"]) == ([1, 32, 32, 1], "uint16", "sigmoid")
    assert depth["dshape"][3] == {"num_features": 1}
    # What really differs: EdgeFirst's schema has no word for it, so that programs have to bind it by name.
    assert not {"type", "decoder", "encoding"} & depth.keys()
    assert f"outputs[2].type of '{depth['name']}' is absent; the output is carried, but not decoded" in built.run.out


def test_the_chip_is_named_in_the_hef_and_in_the_metadata(built: Built) -> None:
    assert built.json(f"{TARGET}/edgefirst.json")["hailo"]["hw_arch"] == "hailo99"
    seen = doit(built.folder, "inspect", "--json", f"{TARGET}/model+meta.hef", PYTHONPATH=str(built.package))
    facts = json.loads(seen.out)
    assert (facts["hw_arch"], facts["hailort_architectures"]) == ("hailo99", ["HAILO99"])
    assert facts["silicon"] == "none: it runs on a host (doit infer), as Hailo-99 would"
    verified = doit(built.folder, "verify-hef", f"{TARGET}/model+meta.hef", PYTHONPATH=str(built.package))
    assert verified.code == 0, verified.out


def test_without_its_row_the_chip_is_refused_and_those_of_the_table_are_named(built: Built) -> None:
    stranger = doit(built.folder, "inspect", "--json", f"{TARGET}/model+meta.hef")
    assert json.loads(stranger.out)["hw_arch"] == "unknown(99)"
    refused = doit(built.folder)
    assert refused.code == 3
    assert 'hw_arch = \'hailo99\' is not possible; expected one of: "hailo8l", "hailo8"' in refused.err
