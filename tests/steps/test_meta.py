"""The step that describes: what it takes the description from, what it writes, and what it refuses to describe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from build_rules.errors import InputError
from build_rules.hef import embed_zip, read_hef, read_members, strip
from build_rules.presets import PRESETS
from build_rules.records.stage_report import StageReport, dump_report
from build_rules.steps import meta
from tests.graph.find.test_whole_outputs import segmenter
from tests.graph.graphs import CLASSES, DETECTION, detection
from tests.hef.samples import container_of
from tests.steps.test_pixels import Chain

NAMES = ["a", "b", "c", "d", "e"]
TRAINED = {
    **DETECTION,
    "name": "net",
    "decoder_version": "yolov8",
    "nms": "class_agnostic",
    "outputs": [{"type": "boxes", "encoding": "dfl"}, {"type": "scores"}],
}


def trained(*labels: str) -> onnx.ModelProto:
    """A small detector whose metadata name its classes."""
    model = detection(metadata=TRAINED)
    model.metadata_props.add(key="labels", value=json.dumps(labels))
    return model


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A small detector with labels in its metadata, compiled for hailo8l with the preset fast."""
    chain = Chain(tmp_path_factory.mktemp("chain"))
    chain.export(trained(*NAMES))
    (chain.folder / "labels.txt").write_text("\n".join("vwxyz") + "\n")
    chain.cut()
    chain.script()
    chain.quantize()
    chain.executable()
    return chain


@pytest.fixture
def describe(chain: Chain, tmp_path: Path) -> Any:
    """Run the step on the chain; what is named replaces what a plain build hands to it."""

    def run(**changes: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "hef": chain.folder / "model.hef",
            "split_json": chain.folder / "split.json",
            "calibrated": (chain.folder / "calibration.json",),
            "reports": (),
            "onnx": chain.folder / "model.onnx",
            "labels": (),
            "document": tmp_path / "edgefirst.json",
            "executable": tmp_path / "model+meta.hef",
            "hw_arch": "hailo8l",
            "preset": PRESETS["fast"],
            "compiler": "emulator 0.9",
            "embed": "append",
            "metadata": None,
            "source_date_epoch": None,
        }
        meta.run(**arguments | changes)
        written: dict[str, Any] = json.loads((tmp_path / "edgefirst.json").read_text())
        return written

    return run


def test_what_it_writes(describe: Any, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = describe()
    executable = tmp_path / "model+meta.hef"
    members = read_members(executable)
    assert members == {
        "edgefirst.json": (tmp_path / "edgefirst.json").read_bytes(),
        "labels.txt": "".join(f"{name}\n" for name in NAMES).encode(),
    }
    strip(executable, tmp_path / "bare.hef")
    assert (tmp_path / "bare.hef").read_bytes() == (chain.folder / "model.hef").read_bytes()
    section = document["hailo"]
    assert (section["hw_arch"], section["preset"], section["emulated"]) == ("hailo8l", "fast", True)
    assert (section["compiler"], section["compiler_version"]) == ("emulator", "0.9")
    assert section["calibration"].startswith("calibration-")
    assert section["calibration_geometry"] == {"resize": "letterbox", "input_shape": [32, 32]}
    assert "emulated: runs on this machine" in capsys.readouterr().out


def test_a_compiler_that_tells_no_version(describe: Any) -> None:
    section = describe(compiler="emulator")["hailo"]
    assert (section["compiler"], "compiler_version" in section) == ("emulator", False)


def test_a_hef_that_was_compiled_elsewhere(describe: Any) -> None:
    ours = describe()
    theirs = describe(preset=None, calibrated=(), compiler="prebuilt")
    assert theirs["outputs"] == ours["outputs"]
    assert not {"preset", "calibration", "calibration_geometry", "compiler_version"} & theirs["hailo"].keys()


@pytest.mark.parametrize(("embed", "embedding"), [("append", "append"), ("sealed", "sealed")])
def test_how_the_description_is_carried(describe: Any, tmp_path: Path, embed: str, embedding: str) -> None:
    describe(embed=embed)
    assert container_of(tmp_path / "model+meta.hef").embedding == embedding


def test_the_labels_file_comes_before_the_metadata(describe: Any, chain: Chain, tmp_path: Path) -> None:
    describe(labels=(chain.folder / "labels.txt",))
    assert read_members(tmp_path / "model+meta.hef")["labels.txt"] == b"v\nw\nx\ny\nz\n"


def test_labels_that_are_too_few_are_told_with_their_file(describe: Any, chain: Chain, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("a\nb\n")
    with pytest.raises(InputError, match=rf"few\.txt: .*2.*{CLASSES}"):
        describe(labels=(few,))
    onnx.save(trained("one"), tmp_path / "one.onnx")
    with pytest.raises(InputError, match=rf"one\.onnx: .*1.*{CLASSES}"):
        describe(onnx=tmp_path / "one.onnx")
    assert not (tmp_path / "model+meta.hef").exists()


@pytest.mark.parametrize("names", ["one\n", "one\ntwo\n", "one\ntwo\nthree\n"])
def test_where_nothing_scores_classes_any_labels_are_taken(describe: Any, tmp_path: Path, names: str) -> None:
    """Prototypes of masks, and nothing beside them, as a part of a larger model may have them."""
    chain = Chain(tmp_path)
    chain.export(segmenter(metadata={"schema_version": 2, "outputs": [{"name": "seg", "type": "protos"}]}))
    chain.cut()
    chain.script()
    chain.quantize()
    chain.executable()
    (tmp_path / "names.txt").write_text(names)
    here = {name: tmp_path / path for name, path in (("hef", "model.hef"), ("onnx", "model.onnx"))}
    record = {"split_json": tmp_path / "split.json", "calibrated": (tmp_path / "calibration.json",)}
    describe(labels=(tmp_path / "names.txt",), **here, **record)
    assert read_members(tmp_path / "model+meta.hef")["labels.txt"] == names.encode()


def test_no_labels_at_all(describe: Any, tmp_path: Path) -> None:
    onnx.save(detection(metadata=TRAINED), tmp_path / "unnamed.onnx")
    with pytest.raises(InputError, match=r"unnamed\.onnx: .*labels"):
        describe(onnx=tmp_path / "unnamed.onnx")


def test_metadata_of_the_repository_are_merged_over_those_of_the_export(describe: Any) -> None:
    assert describe(metadata=json.dumps({"name": "ours"}))["name"] == "ours"
    assert describe()["name"] == "net"


def test_a_hef_from_elsewhere_for_another_chip(describe: Any) -> None:
    with pytest.raises(
        InputError,
        match=r"model\.hef: was compiled for hailo8l, but the target is hailo15h; write hw_arch = \"hailo8l\"",
    ):
        describe(hw_arch="hailo15h", preset=None)


def test_what_the_stages_did_stands_in_a_member_of_its_own(describe: Any, tmp_path: Path) -> None:
    har, hef = tmp_path / "har.json", tmp_path / "hef.json"
    har.write_text(dump_report(StageReport()))
    hef.write_text(dump_report(StageReport()))
    assert "build" not in describe(reports=(har, hef))["hailo"]
    har.write_text(dump_report(StageReport({"optimization_level": 0, "compiler": "theirs"}, ("no GPU",))))
    hef.write_text(dump_report(StageReport({"contexts": 3, "utilization": {"compute": 0.4}}, ("slow",))))
    section = describe(reports=(har, hef))["hailo"]
    assert section["compiler"] == "emulator"
    assert section["build"] == {
        "optimize": {"optimization_level": 0, "compiler": "theirs"},
        "compile": {"contexts": 3, "utilization": {"compute": 0.4}},
        "warnings": ["no GPU", "slow"],
    }
    har.write_text("{}")
    with pytest.raises(InputError, match=r"har\.json: not a report"):
        describe(reports=(har, hef))


def test_the_time_is_never_that_of_the_clock(describe: Any, chain: Chain) -> None:
    assert describe(source_date_epoch=1_700_000_000)["hailo"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert describe(source_date_epoch=0)["hailo"]["timestamp"] == "1970-01-01T00:00:00Z"
    created = read_hef(chain.folder / "model.hef").created
    expected = "1980-01-01T00:00:00Z" if created is None else created.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert describe()["hailo"]["timestamp"] == expected


def test_what_was_written_is_read_back_and_checked(describe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that loses the labels on the way is noticed before anybody gets the file."""

    def losing(hef: Path, members: dict[str, bytes], output: Path, embedding: Any) -> None:
        embed_zip(hef, {**members, "labels.txt": b"one\n"}, output, embedding)

    monkeypatch.setattr(meta, "embed_zip", losing)
    with pytest.raises(InputError, match=r"model\+meta\.hef: is not described rightly: .*labels"):
        describe()
