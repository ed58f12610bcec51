"""The parts of a trainer's document: each is read when it is asked for, whatever is wrong with the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import build_rules
from build_rules.errors import InputError
from build_rules.records.split_json import Tiling
from build_rules.trainer.document import DescribedOutput, TrainerDocument
from build_rules.trainer.hints import read_hints
from build_rules.trainer.image_size import image_sizes
from build_rules.trainer.preprocessing import read_preprocessing
from build_rules.trainer.read_document import parse_document

WHOLE: dict[str, Any] = {
    "schema_version": 2,
    "input": {"shape": [1, 3, 64, 96], "cameraadaptor": "bgr"},
    "model": {"end2end": True},
    "calibration": "calibration-a.safetensors",
    "tiling": {"version": 1, "mode": "tiled"},
    "split_hints": [{"type": "quantization_split"}, {"type": "other"}, 5],
    "outputs": [
        {"name": "output0", "type": "detection", "encoding": "anchor", "dshape": [{"batch": 1}, ["num_boxes", 9], 7]},
        {"name": 5, "type": "boxes"},
        {"name": "output1", "type": None},
    ],
}


def test_every_part_from_the_file_on() -> None:
    document = parse_document([("edgefirst", json.dumps(WHOLE)), ("imgsz", "[64, 96]"), ("labels", '["a"]')])
    assert document.content == WHOLE
    assert (document.key, document.labels) == ("edgefirst", ("a",))
    assert document.snapshot == "calibration-a.safetensors"
    assert document.selects_boxes
    assert document.tiling == Tiling("tiled")
    assert document.has_hints
    assert document.hint_types == {"quantization_split", "other"}
    assert document.outputs == (
        DescribedOutput("output0", "detection", True, ("batch", "num_boxes", None)),
        DescribedOutput("output1", None, False, None),
    )
    assert image_sizes(document) == (
        ((64, 96), "input.shape in the EdgeFirst metadata"),
        ((64, 96), "imgsz in the metadata"),
    )


@pytest.mark.parametrize("junk", [None, 5, "x", [], [5], {}])
def test_a_document_without_a_part_says_nothing_of_it(junk: Any) -> None:
    keys = ("input", "model", "calibration", "outputs", "validation")
    document = TrainerDocument({**dict.fromkeys(keys, junk), **({"calibration": 5} if junk == "x" else {})})
    assert document.snapshot is None
    assert not document.selects_boxes
    assert document.outputs == ()
    assert document.tiling is None
    assert document.hint_types == frozenset()
    assert image_sizes(document) == ()
    assert read_preprocessing(document, 3) == read_preprocessing(TrainerDocument(), 3)


def test_what_is_wrong_with_a_part_is_told_by_who_asks_for_it() -> None:
    """The last step needs neither hints nor a normalization, so it is not stopped by them."""
    wrong = {"tiling": {"version": 2}, "split_hints": {}, "validation": {"normalization": "?"}, "labels": 5}
    document = parse_document([("edgefirst", json.dumps({"schema_version": 2, **wrong}))])
    with pytest.raises(InputError, match="section tiling has version 2"):
        _ = document.tiling
    with pytest.raises(InputError, match="split_hints of the EdgeFirst metadata must be an array"):
        read_hints(document, {"output0": (1, 84, 8400)})
    with pytest.raises(InputError, match=r"validation\.normalization = '\?'"):
        read_preprocessing(document, 3)


@pytest.mark.parametrize(
    ("section", "size"),
    [
        ({"shape": [1, 3, 64, 96]}, (64, 96)),
        ({"shape": [1, 64, 96, 3]}, (64, 96)),
        ({"shape": [1, 96, 64, 3], "dshape": [{"batch": 1}, {"width": 96}, {"height": 64}, {"c": 3}]}, (64, 96)),
        ({"shape": [1, 96, 64, 3], "dshape": [["batch", 1], ["width", 96], ["height", 64], ["c", 3]]}, (64, 96)),
        ({"shape": [1, 3, 64, 96], "dshape": [{"batch": 1}]}, (64, 96)),
        ({"shape": [1, 3, 64]}, None),
        ({"shape": [1, 3, 64, True]}, None),
        ({"shape": [1, 3, 64, 0]}, None),
        ({"shape": [1, 3, 64, 1 << 15]}, None),
        ({"shape": "64x96"}, None),
    ],
)
def test_the_size_in_the_document(section: dict[str, Any], size: tuple[int, int] | None) -> None:
    assert [stated for stated, _ in image_sizes(TrainerDocument({"input": section}))] == (
        [] if size is None else [size]
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("[64, 96]", (64, 96)),
        ("(64, 96)", (64, 96)),
        ("64", (64, 64)),
        ("[64]", (64, 64)),
        ("", None),
        ("[64, 96, 3]", None),
        ("64.5", None),
        ("__import__('os')", None),
        ("[" * 101, None),
    ],
)
def test_the_size_that_ultralytics_writes(text: str, size: tuple[int, int] | None) -> None:
    assert [stated for stated, _ in image_sizes(TrainerDocument(imgsz=text))] == ([] if size is None else [size])


def test_nobody_outside_this_room_looks_into_the_document() -> None:
    """It is copied into the compiled one."""
    package = Path(build_rules.__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"\.content\b(?!\()", path.read_text(encoding="utf-8"))
    }
    assert {name for name in users if not name.startswith("trainer/")} == {
        "metadata/bare.py",
        "metadata/compiled_document.py",
    }
