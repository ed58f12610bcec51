"""`doit inspect`, `verify-hef` and `strip` on HEFs: what disagrees is marked, what is damaged is told."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from build_rules.commands.command import BuildCommand
from build_rules.commands.inspect import Inspect
from build_rules.commands.strip import Strip
from build_rules.commands.verify_hef import VerifyHef
from build_rules.hef import HefSpec, Quantization, Stream, build_container, embed_zip, read_members, write_hef
from build_rules.hef.writer import build_proto
from build_rules.metadata.compiled_document import BuildFacts, compile_document
from build_rules.metadata.examine import MAX_DOCUMENT
from build_rules.metadata.serialize import document_bytes
from build_rules.trainer.document import TrainerDocument
from tests.hef.changes import host_work, vectors
from tests.hef.samples import message
from tests.metadata.synthetic import Head, tensors_of
from tests.shared import SHARED, needs_shared

Captured = pytest.CaptureFixture[str]
HEAD = Head(nc=3, size=(128, 128))
FACTS = BuildFacts("0.1.0", "2026-01-02T03:04:05Z", "hailo8l", "fast", "emulator", "1", emulated=True)
LABELS = b"a\nb\nc\n"


def call(command: type[BuildCommand], *arguments: str | Path) -> int:
    return int(command().parse_execute([str(argument) for argument in arguments]))


def facts(capfd: Captured, path: Path) -> dict[str, Any]:
    assert call(Inspect, path) == 0
    assert all(line.isprintable() for line in capfd.readouterr().out.splitlines())
    assert call(Inspect, "--json", path) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def streams() -> tuple[Stream, ...]:
    made = []
    for tensor in tensors_of(HEAD):
        assert tensor.scale is not None
        assert tensor.zero_point is not None
        numbers = Quantization(tensor.scale, float(tensor.zero_point), *(tensor.limits or tensor.range))
        shape = (tensor.shape[1], tensor.shape[2], tensor.shape[3])
        made.append(Stream(tensor.name, "output", shape, shape, "NHWC", 1, numbers, tensor.original_names))
    return tuple(made)


def bare(path: Path, sdk: str = "0.1.0-emulated", size: int = 128) -> Path:
    image = Stream("net/in", "input", (size, size, 3), (size, size, 3), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0))
    path.write_bytes(write_hef(HefSpec("hailo8l", sdk, 1_700_000_000_000, "net", (image,), streams()), b"payload"))
    return path


SINCE = ", HailoRT from 5.0 (which drives no Hailo-8), without the ZIP from 4.21"  # of version 3


def document() -> dict[str, Any]:
    source = {"schema_version": 2, "decoder_version": "yolov8", "nms": "class_agnostic", "name": "net"}
    return compile_document(TrainerDocument(source), HEAD.split, tensors_of(HEAD), FACTS, HEAD.folded).document


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = bare(tmp_path / "model.hef")
    embed_zip(path, {"edgefirst.json": document_bytes(document()), "labels.txt": LABELS}, path)
    return path


def changed(path: Path, change: Any) -> Path:
    described = document()
    change(described)
    embed_zip(path, {"edgefirst.json": json.dumps(described).encode(), "labels.txt": LABELS}, path)
    return path


def test_a_sound_file(whole: Path, capfd: Captured) -> None:
    found = facts(capfd, whole)
    assert found["problems"] == []
    assert [pair["differs"] for pair in found["described"]] == [""] * 6
    assert found["created"] == "2023-11-14T22:13:20Z"
    assert call(VerifyHef, whole) == 0
    assert capfd.readouterr().out == f"{whole}: sound, hailo8l, metadata of 6 outputs (append){SINCE}\n"


def first(described: dict[str, Any]) -> dict[str, Any]:
    child: dict[str, Any] = described["outputs"][0]["outputs"][0]
    return child


def rename(described: dict[str, Any]) -> None:
    first(described)["name"] = "net/other"


def reshape(described: dict[str, Any]) -> None:
    first(described).update(
        shape=[1, 8, 8, 64], dshape=[{"batch": 1}, {"height": 8}, {"width": 8}, {"num_features": 64}]
    )


def widen(described: dict[str, Any]) -> None:
    first(described)["dtype"] = "uint16"


def rescale(described: dict[str, Any]) -> None:
    first(described)["quantization"]["scale"] *= 1.0001


def move_zero(described: dict[str, Any]) -> None:
    first(described)["quantization"]["zero_point"] += 1


def activate(described: dict[str, Any]) -> None:
    first(described)["activation_applied"] = "sigmoid"


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (rename, "name"),
        (reshape, "shape"),
        (widen, "quantization"),
        (rescale, "quantization"),
        (move_zero, "quantization"),
        (activate, "activation"),
    ],
)
def test_every_disagreement_is_marked(whole: Path, capfd: Captured, change: Any, differs: str) -> None:
    found = facts(capfd, changed(whole, change))
    assert found["described"][0]["differs"] == differs
    assert all(pair["differs"] == "" for pair in found["described"][1:6])
    assert any(problem["severity"] == "error" for problem in found["problems"])
    assert call(VerifyHef, whole) == 1
    told = capfd.readouterr().out
    assert f"{whole}: error: outputs[0].outputs[0]" in told


def test_an_output_that_nobody_describes(whole: Path, capfd: Captured) -> None:
    found = facts(capfd, changed(whole, lambda described: described["outputs"][0]["outputs"].pop()))
    assert [pair["differs"] for pair in found["described"]] == ["", "", "", "", "", "name"]
    assert found["described"][-1]["hef_name"] is not None
    assert found["described"][-1]["name"] is None


def test_the_input_is_compared(tmp_path: Path, capfd: Captured) -> None:
    path = changed(bare(tmp_path / "a.hef", size=160), lambda described: None)
    assert call(VerifyHef, path) == 1
    assert "input is 128x128 pixels, but the HEF's input 160x160" in capfd.readouterr().out


def test_labels_are_counted(whole: Path, capfd: Captured) -> None:
    embed_zip(whole, {"edgefirst.json": document_bytes(document()), "labels.txt": b"a\nb\n"}, whole)
    assert call(VerifyHef, whole) == 1
    assert "2" in capfd.readouterr().out


def test_an_emulated_file_has_to_say_so(whole: Path, capfd: Captured) -> None:
    assert call(VerifyHef, changed(whole, lambda described: described["hailo"].update(emulated=False))) == 0
    assert "hailo.emulated does not say that the file is emulated" in capfd.readouterr().out


def test_a_document_of_a_gigabyte_is_not_read(tmp_path: Path, capfd: Captured) -> None:
    path = bare(tmp_path / "a.hef")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("edgefirst.json", b"[" + b"{}," * (MAX_DOCUMENT // 3) + b"{}]")
    assert call(VerifyHef, path) == 1
    assert "more than 1048576 bytes" in capfd.readouterr().out
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(64 << 20))
    assert call(VerifyHef, path) == 1
    assert "unpacks to more than" in capfd.readouterr().out


def test_a_damaged_file_fails_and_the_others_are_checked(whole: Path, tmp_path: Path, capfd: Captured) -> None:
    damaged = tmp_path / "damaged.hef"
    data = bytearray(whole.read_bytes())
    data[1000] ^= 1
    damaged.write_bytes(data)
    assert call(VerifyHef, damaged, whole) == 1
    assert [line.split(": ")[1] for line in capfd.readouterr().out.splitlines()] == [
        "its checksum does not match its contents; it is damaged, copy or compile it again.",
        f"sound, hailo8l, metadata of 6 outputs (append){SINCE}",
    ]


def test_who_can_load_it(tmp_path: Path, capfd: Captured) -> None:
    def verdicts(path: Path) -> list[tuple[bool, str]]:
        return [(one["loads"], one["why"]) for one in facts(capfd, path)["loaders"]]

    members = {"edgefirst.json": document_bytes(document()), "labels.txt": LABELS}
    path = bare(tmp_path / "a.hef", sdk="3.30.0")
    assert verdicts(path) == [
        (True, "from 4.21"),
        (True, "but 5.x drives no Hailo-8"),
        (True, "but finds no metadata to decode the outputs with"),
    ]
    embed_zip(path, members, path)
    assert [loads for loads, _ in verdicts(path)] == [False, True, True]
    embed_zip(path, members, path, "sealed")
    assert [loads for loads, _ in verdicts(path)] == [True, True, False]
    path.write_bytes(path.read_bytes() + b"junk")
    assert [loads for loads, _ in verdicts(path)] == [False, True, False]


def test_a_file_that_the_runtime_refuses_is_refused_by_all(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(b""))
    embed_zip(path, {"labels.txt": LABELS}, path)
    assert [one["loads"] for one in facts(capfd, path)["loaders"]] == [False, False, False]


def test_an_empty_zip_is_no_zip(tmp_path: Path, capfd: Captured) -> None:
    path = bare(tmp_path / "a.hef")
    with zipfile.ZipFile(path, "a"):
        pass
    assert facts(capfd, path)["embedding"] == "unknown"
    assert call(VerifyHef, path) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["hailo"].update(hw_arch="hailo8"), "is 'hailo8', but the HEF was compiled for hailo8l"),
        (
            lambda d: d["input"].update(
                shape=[1, 128, 128, 1], dshape=[{"batch": 1}, {"height": 128}, {"width": 128}, {"num_features": 1}]
            ),
            "has 1 channels, but the HEF's input 3",
        ),
        (
            lambda d: [child.update(activation_required=child.pop("activation_applied")) for child in scores(d)],
            "leaves the sigmoid to the reader, but the chip has applied it",
        ),
    ],
    ids=["chip", "channels", "sigmoid twice"],
)
def test_statements_that_are_not_true(whole: Path, capfd: Captured, change: Any, told: str) -> None:
    assert call(VerifyHef, changed(whole, change)) == 1
    assert told in capfd.readouterr().out


def scores(described: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(o for o in described["outputs"] if o["name"] == "scores")["outputs"]
    return found


def test_metadata_of_outputs_that_a_hef_without_any_has(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "a.hef"
    group = b"\x0a\x05\x0a\x03net"
    path.write_bytes(build_container(b"\x0a\x02\x08\x03" + b"\x12" + bytes([len(group)]) + group))
    embed_zip(path, {"edgefirst.json": document_bytes(document()), "labels.txt": LABELS}, path)
    assert call(VerifyHef, path) == 1
    assert "is not an output of the HEF" in capfd.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"schema_version": 2}).encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"nms": 1, "nms": 2}',
    ],
)
def test_what_strict_readers_refuse_is_refused(tmp_path: Path, capfd: Captured, content: bytes) -> None:
    path = bare(tmp_path / "a.hef")
    embed_zip(path, {"edgefirst.json": content}, path)
    assert call(VerifyHef, path) == 1
    assert "is not JSON" in capfd.readouterr().out


BOMBS = {
    "children": b'{"outputs":[{"type":"boxes","outputs":[' + b"{}," * 250_000 + b"{}]}]}",
    "axes": json.dumps(
        {"outputs": [{"type": "boxes", "dshape": [{"a": 1}] * 50_000, "outputs": [{"shape": [1] * 4}] * 500}]}
    ).encode(),
    "shape": json.dumps({"outputs": [{"type": "boxes", "shape": [1] * 200_000}]}).encode(),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_documents_that_describe_without_end(tmp_path: Path, capfd: Captured, bomb: str) -> None:
    path = bare(tmp_path / "a.hef")
    embed_zip(path, {"edgefirst.json": BOMBS[bomb]}, path)
    started = time.monotonic()
    assert call(VerifyHef, path) == 1
    assert call(Inspect, "--json", path) == 0
    assert len(capfd.readouterr().out) < 16 << 20
    assert time.monotonic() - started < 30


def test_what_is_not_there_does_not_hide_the_others(whole: Path, tmp_path: Path, capfd: Captured) -> None:
    assert call(VerifyHef, tmp_path / "none.hef", whole) == 3
    assert [line.endswith(f"(append){SINCE}") for line in capfd.readouterr().out.splitlines()] == [False, True]


def test_a_file_of_a_version_to_come_is_shown_as_far_as_it_is_known(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(b"\x01HEF" + (9).to_bytes(4, "big") + bytes(100))
    found = facts(capfd, path)
    assert found["header_version"] == 9
    assert "sections cannot be told" in found["unknown"][0]
    assert call(VerifyHef, path) == 1


def test_a_chip_that_is_not_known_is_shown(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(b"\x0a\x02\x08\x4d"))
    found = facts(capfd, path)
    assert (found["hw_arch"], found["silicon"], found["unknown"]) == ("unknown(77)", "not known", ["architecture 77"])


# Extract and strip.


def test_extract_writes_what_the_file_carries(whole: Path, tmp_path: Path, capfd: Captured) -> None:
    assert call(Inspect, whole, "--extract", tmp_path / "new/folder") == 0
    folder = tmp_path / "new/folder"
    assert capfd.readouterr().out.splitlines() == [
        str(folder / name) for name in ("edgefirst.json", "labels.txt", "compiled.hef")
    ]
    assert (folder / "labels.txt").read_bytes() == LABELS
    assert (folder / "compiled.hef").read_bytes() == bare(tmp_path / "again.hef").read_bytes()


def test_extract_overwrites_nothing(whole: Path, tmp_path: Path, capfd: Captured) -> None:
    (tmp_path / "labels.txt").write_text("mine")
    assert call(Inspect, whole, "--extract", tmp_path) == 3
    assert "labels.txt: is there already" in capfd.readouterr().err
    assert (tmp_path / "labels.txt").read_text() == "mine"
    assert not (tmp_path / "edgefirst.json").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b", "..", "compiled.hef", "a\\b", "x\ny"])
def test_extract_leaves_its_folder_never(tmp_path: Path, capfd: Captured, name: str) -> None:
    path = bare(tmp_path / "a.hef")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", LABELS)
        archive.writestr(name, b"evil")
    assert call(Inspect, path, "--extract", tmp_path / "out") == 3
    assert "which is not written anywhere" in capfd.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.hef"]


@pytest.mark.parametrize("embedding", ["append", "sealed"])
def test_strip_gives_the_compilers_file(tmp_path: Path, capfd: Captured, embedding: Any) -> None:
    path = bare(tmp_path / "a.hef")
    original = path.read_bytes()
    embed_zip(path, {"labels.txt": LABELS}, path, embedding)
    added = path.stat().st_size - len(original)
    assert call(Strip, path, "-o", tmp_path / "b.hef") == 0
    assert capfd.readouterr().out == f"{tmp_path / 'b.hef'}: {len(original)} bytes, {added} less\n"
    assert (tmp_path / "b.hef").read_bytes() == original
    assert call(Strip, path, "-o", path) == 0
    assert path.read_bytes() == original


def test_strip_wants_to_know_where_to(whole: Path, tmp_path: Path, capfd: Captured) -> None:
    assert call(Strip, whole) == 3
    assert "--output" in capfd.readouterr().err
    assert call(Strip, whole, "-o", tmp_path / "no/such.hef") == 3
    assert "cannot be written" in capfd.readouterr().err


@needs_shared
def test_a_real_file_with_metadata(tmp_path: Path, capfd: Captured) -> None:
    """Metadata of another network on a real file: everything is marked, nothing fails."""
    path = tmp_path / "a.hef"
    path.write_bytes((SHARED / "hefs/v3_scrfd_2.5g.hef").read_bytes())
    embed_zip(path, {"edgefirst.json": document_bytes(document()), "labels.txt": LABELS}, path)
    found = facts(capfd, path)
    assert [pair["differs"] for pair in found["described"]] == ["name"] * (6 + 9)
    assert found["unknown"] == ["field 5 of the header"]
    assert call(VerifyHef, path) == 1


def test_members_of_a_message_that_ends_like_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(
        build_container(
            build_proto(HefSpec("hailo8", "3", 0, "n", (_in(),), (_out(),)), 5), b"PK\x05\x06" + bytes(18), 1
        )
    )
    assert read_members(path) == {}


def _in() -> Stream:
    return Stream("n/in", "input", (8, 8, 3), (8, 8, 3), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0))


def _out() -> Stream:
    return Stream("n/out", "output", (8, 8, 8), (8, 8, 8), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0))


# Asked for a device and a release.


@pytest.mark.parametrize(
    ("options", "code", "answers"),
    [
        (("--device", "hailo8l", "--hailort", "4.23"), 1, ["HailoRT 4.23 on a Hailo-8L refuses it: "]),
        (("--hailort=5.2",), 0, ["HailoRT 5.2 loads it"]),
        (("--device=hailo8l",), 1, ["HailoRT 4.23 on a Hailo-8L refuses it: "]),
        (("--device=hailo15h", "--hailort=5.2"), 1, ["it was compiled for a Hailo-8L (architecture 3)"]),
    ],
)
def test_a_device_and_a_release(
    whole: Path, capfd: Captured, options: tuple[str, ...], code: int, answers: list[str]
) -> None:
    assert call(VerifyHef, *options, whole) == code
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"{whole}: sound, ")
    assert [answer in line for answer, line in zip(answers, lines[1:], strict=True)] == [True] * len(answers)
    call(VerifyHef, "--json", *options, whole)
    (file,) = json.loads(capfd.readouterr().out)["files"]
    assert [one["loads"] for one in file["asked"]] == [code == 0]


def test_what_is_asked_of_a_sealed_file(whole: Path, capfd: Captured) -> None:
    embed_zip(whole, read_members(whole), whole, "sealed")
    assert call(VerifyHef, "--device", "hailo8l", "--hailort", "4.21", whole) == 0
    assert capfd.readouterr().out.splitlines() == [
        f"{whole}: sound, hailo8l, metadata of 6 outputs (sealed), HailoRT from 4.21",
        f"{whole}: HailoRT 4.21 on a Hailo-8L loads it",
    ]
    assert call(VerifyHef, "--device", "hailo8l", "--hailort", "4.20", whole) == 1
    assert "refuses it: header version 3 came with 4.21" in capfd.readouterr().out


@pytest.mark.parametrize("option", ["--hailort=4.x", "--device=hailo9", "--hailort=6.1", "--release=4.20"])
def test_questions_that_make_no_sense(whole: Path, capfd: Captured, option: str) -> None:
    assert call(VerifyHef, option, whole) == 3
    told = capfd.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert option.split("=")[0] in told.err


def test_everything_for_programs(whole: Path, tmp_path: Path, capfd: Captured) -> None:
    broken = tmp_path / "broken.hef"
    broken.write_bytes(whole.read_bytes()[:500])
    assert call(VerifyHef, "--json", whole, broken, tmp_path / "none.hef") == 3
    sound, damaged, missing = json.loads(capfd.readouterr().out)["files"]
    assert list(sound) == [
        *("file", "sound", "hw_arch", "embedding", "described_outputs", "oldest_hailort", "oldest_hailort_without_zip"),
        *("asked", "loaders", "problems"),
    ]
    assert (sound["sound"], sound["described_outputs"], sound["asked"]) == (True, 6, [])
    assert (sound["oldest_hailort"], sound["oldest_hailort_without_zip"]) == ("5.0", "4.21")
    assert ("is cut off" in damaged["error"], "no such file" in missing["error"]) == (True, True)
    assert [damaged["sound"], missing["sound"]] == [False, False]


def test_a_file_that_no_release_loads_is_not_sound(tmp_path: Path, capfd: Captured) -> None:
    def unlisted(hef: Any) -> None:
        hef.groups[0].sorted.remove("net/fc1")

    path = tmp_path / "a.hef"
    path.write_bytes(build_container(message("hailo8", unlisted)))
    assert call(VerifyHef, path) == 1
    assert "no release of HailoRT loads it" in capfd.readouterr().out
    path.write_bytes(build_container(message("hailo8", lambda hef: hef.ClearField("extensions")), b"", 1))
    assert call(VerifyHef, path) == 0
    assert "warning: only old releases of HailoRT load it" in capfd.readouterr().out


def test_inspect_shows_what_the_host_does(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(message("hailo8", host_work)))
    found = facts(capfd, path)
    assert found["networks"][0]["host_ops"] == [
        {
            "name": "net/nms",
            "kind": "nms-yolov8",
            "classes": 80,
            "max_proposals_per_class": 100,
            "score_threshold": 0.2,
            "iou_threshold": 0.7,
            "boxes_only": False,
            "inputs": ["net/conv42", "net/conv41"],
        }
    ]
    assert call(Inspect, path) == 0
    table = [line.split() for line in capfd.readouterr().out.splitlines() if "iou" in line or "nms-yolov8" in line]
    assert table[1][:7] == ["net/nms", "nms-yolov8", "80", "100", "0.2", "0.7", "no"]


def test_inspect_shows_one_scale_or_many(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(message("hailo8", vectors)))
    streams = facts(capfd, path)["networks"][0]["outputs"]
    assert [(one["scale"], one["zero_point"], one["per_feature"]) for one in streams] == [
        (None, None, features) for features in (3, 63, 63)
    ]
    assert streams[0]["scale_range"] == [0.5, 0.5]
    path.write_bytes(build_container(message("hailo8")))
    assert [one["per_feature"] for one in facts(capfd, path)["networks"][0]["outputs"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (103, ["HAILO15H", "HAILO10H"]),
        (3, ["HAILO8L", "HAILO8"]),
        (4, ["HAILO15M", "HAILO15H", "HAILO10H"]),
        (5, []),
        (1, ["HAILO8"]),
    ],
)
def test_inspect_shows_all_names_of_the_chip(tmp_path: Path, capfd: Captured, code: int, names: list[str]) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(message("hailo8l", lambda hef: setattr(hef.header, "arch", code))))
    found = facts(capfd, path)
    assert found["hailort_architectures"] == names
    assert ("5.2 does not know its chip" in found["loaders"][1]["why"]) == (code == 5)
