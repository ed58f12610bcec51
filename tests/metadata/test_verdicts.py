"""What is said of a HEF whose outputs no description can tell: it is a problem of the file, and never a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.hef import HefSpec, Quantization, Stream, build_container, embed_zip, write_hef
from build_rules.hef.writer import build_proto
from build_rules.metadata.examine import MAX_DESCRIBED, MAX_DOCUMENT, Examined, examine, load_document
from build_rules.metadata.serialize import document_bytes
from build_rules.regular_file import LABELS_BYTES
from tests.commands.test_hef_commands import LABELS, document, streams
from tests.hef import hailort
from tests.hef.changes import extend, host_work

IMAGE = Stream("net/in", "input", (128, 128, 3), (128, 128, 3), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0))
SPEC = HefSpec("hailo8l", "0.1.0-emulated", 1_700_000_000_000, "net", (IMAGE,), streams())


def described(
    folder: Path, change: Callable[[Any], object] | None = None, spec: HefSpec = SPEC, **members: bytes
) -> Examined:
    """Examine a HEF of which `change` changes the message, with a sound description or `members` in it."""
    path = folder / "model.hef"
    if change is None:
        path.write_bytes(write_hef(spec, b"payload"))
    else:
        message = hailort.Hef()
        message.ParseFromString(build_proto(spec, 5))
        change(message)
        path.write_bytes(build_container(bytes(message.SerializeToString())))
    whole = {"edgefirst.json": document_bytes(document()), "labels.txt": LABELS}
    embed_zip(path, {**whole, **{name.replace("_", "."): data for name, data in members.items()}}, path)
    return examine(path)


def errors(found: Examined) -> list[tuple[str, str]]:
    return [(problem.path, problem.text) for problem in found.problems if problem.severity == "error"]


def two_groups(hef: Any) -> None:
    hef.groups.add().CopyFrom(hef.groups[0])
    hef.groups[1].metadata.name = "other"


def test_a_sound_file_has_no_problems(tmp_path: Path) -> None:
    found = described(tmp_path)
    assert (errors(found), found.is_sound, len(found.pairs)) == ([], True, 6)
    assert (found.labels, sorted(found.members)) == (("a", "b", "c"), ["edgefirst.json", "labels.txt"])


@pytest.mark.parametrize(
    ("change", "told"),
    [(two_groups, "holds 2 network groups"), (host_work, "post-processes its outputs on the host")],
)
def test_outputs_that_no_description_can_tell(tmp_path: Path, change: Callable[[Any], object], told: str) -> None:
    found = described(tmp_path, change)
    assert not found.is_sound
    assert [path for path, text in errors(found) if told in text] == ["outputs"]
    assert found.document is not None


def test_an_output_with_a_scale_for_each_feature(tmp_path: Path) -> None:
    *others, last = SPEC.outputs
    features = last.shape[2]
    scales = tuple(0.5 + number for number in range(features))
    numbers = replace(last.quantization, scales=scales, zero_points=(0.0,) * features)
    found = described(tmp_path, spec=replace(SPEC, outputs=(*others, replace(last, quantization=numbers))))
    assert not found.is_sound
    assert [path for path, text in errors(found) if f"{last.name}: is quantized per feature" in text] == ["outputs"]


@pytest.mark.parametrize("tensors", [MAX_DESCRIBED, MAX_DESCRIBED + 1])
def test_as_many_tensors_as_may_be_described(tmp_path: Path, tensors: int) -> None:
    many = {**document(), "outputs": [{"type": "boxes", "outputs": [{}] * (tensors - 1)}]}
    found = described(tmp_path, edgefirst_json=json.dumps(many).encode())
    told = [text for _, text in errors(found) if f"describe {tensors} tensors" in text]
    assert bool(told) == (tensors > MAX_DESCRIBED)


@pytest.mark.parametrize("size", [MAX_DOCUMENT, MAX_DOCUMENT + 1])
def test_as_many_bytes_as_a_document_may_have(size: int) -> None:
    content = b"{}".ljust(size)
    if size > MAX_DOCUMENT:
        with pytest.raises(InputError, match=f"more than {MAX_DOCUMENT} bytes"):
            load_document({"edgefirst.json": content})
    else:
        assert load_document({"edgefirst.json": content}) == {}
    assert load_document({"labels.txt": content}) is None


@pytest.mark.parametrize("size", [LABELS_BYTES, LABELS_BYTES + 1])
def test_as_many_bytes_as_labels_may_have(tmp_path: Path, size: int) -> None:
    found = described(tmp_path, labels_txt=b"a\nb\n".ljust(size, b"c"))
    told = [(path, text) for path, text in errors(found) if f"more than {LABELS_BYTES} bytes" in text]
    assert [path for path, _ in told] == (["labels.txt"] if size > LABELS_BYTES else [])


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf{}", b"{", b"[]", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 99999]
)
def test_a_document_that_strict_readers_refuse(tmp_path: Path, content: bytes) -> None:
    found = described(tmp_path, edgefirst_json=content)
    assert (found.document, found.pairs) == (None, ())
    assert [path for path, text in errors(found) if "is not " in text] == ["edgefirst.json"]


@pytest.mark.parametrize("claim", [True, False, None])
def test_a_file_of_the_emulator_says_so(tmp_path: Path, claim: bool | None) -> None:
    said = document()
    said["hailo"]["emulated"] = claim
    found = described(tmp_path, edgefirst_json=json.dumps(said).encode())
    assert ("hailo.emulated" in [problem.path for problem in found.problems]) == (claim is not True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [1, 3, 128, 96]}, "is 128x96 pixels, but the HEF's input 128x128"),
        ({"shape": [1, 3, 96, 128]}, "is 96x128 pixels, but the HEF's input 128x128"),
        ({"shape": [1, 4, 128, 128]}, "has 4 channels, but the HEF's input 3"),
        ({"shape": [1, 3, 128, 128]}, None),
    ],
)
def test_the_input_is_that_of_the_file(tmp_path: Path, change: dict[str, Any], told: str | None) -> None:
    axes = ("batch", "num_features", "height", "width")
    shape = {"dshape": [{name: size} for name, size in zip(axes, change["shape"], strict=True)]}
    said = {**document(), "input": {**document().get("input", {}), **change, **shape}}
    found = described(tmp_path, edgefirst_json=json.dumps(said).encode())
    assert [text for path, text in errors(found) if path == "input"] == ([] if told is None else [told])


@pytest.mark.parametrize(
    ("change", "version", "severity", "told"),
    [
        (None, 3, None, ""),
        (extend(1000), 3, "error", "no release of HailoRT loads it (HailoRT 4.x: "),
        (lambda hef: hef.ClearField("extensions"), 1, "warning", "only old releases of HailoRT load it (HailoRT 4.x: "),
    ],
)
def test_a_file_without_metadata_that_the_runtime_refuses(
    tmp_path: Path, change: Callable[[Any], object] | None, version: int, severity: str | None, told: str
) -> None:
    message = hailort.Hef()
    message.ParseFromString(build_proto(SPEC, 5))
    if change is not None:
        change(message)
    path = tmp_path / "a.hef"
    path.write_bytes(build_container(bytes(message.SerializeToString()), b"payload", version))
    found = examine(path)
    assert (found.document, found.labels, found.members) == (None, None, {})
    assert [problem.severity for problem in found.problems] == ([] if severity is None else [severity])
    assert all(problem.text.startswith(told) for problem in found.problems)
