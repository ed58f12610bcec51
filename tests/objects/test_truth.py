"""What people say is in images, in the two formats they say it in, and in the pixels of the input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.errors import InputError
from build_rules.objects import coco_truth, yolo_truth
from build_rules.objects.found import Objects
from build_rules.objects.truth import ImagePlace, read_truth

LABELS = ("cat", "dog", "bird")
AS_IS = ImagePlace(200, 100, 1.0, 1.0, 0.0, 0.0)
SCENES = Path(__file__).resolve().parents[2] / "models/scenes/heldout"


def read(source: Path, *names: str, place: ImagePlace = AS_IS, labels: tuple[str, ...] = LABELS) -> list[Objects]:
    images = [Path("pictures") / name for name in names or ("a.jpg",)]
    return [*read_truth(source, images, [place] * len(images), labels, 3)]


def yolo(folder: Path, text: str, name: str = "a") -> Path:
    (folder / f"{name}.txt").write_text(text)
    return folder


def coco(folder: Path, **changes: Any) -> Path:
    document = {
        "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}],
        "images": [
            {"id": 5, "file_name": "a.jpg", "width": 200, "height": 100},
            {"id": 6, "file_name": "b.jpg", "width": 200, "height": 100},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 7, "bbox": [10, 20, 30, 40]},
            {"id": 2, "image_id": 6, "category_id": 3, "bbox": [0, 0, 5.5, 6], "iscrowd": 0},
            {"id": 3, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }
    file = folder / "truth.json"
    file.write_text(json.dumps(document | changes))
    return file


def test_a_line_is_a_box(tmp_path: Path) -> None:
    (found,) = read(yolo(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.2 0.2\n"))
    np.testing.assert_allclose(found.boxes, [[80, 30, 120, 70], [0, 0, 40, 20]])
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == [1, 1]


def test_a_polygon_has_the_box_around_it(tmp_path: Path) -> None:
    (found,) = read(yolo(tmp_path, "2 0.1 0.5 0.3 0.2 0.2 0.9\n"))
    np.testing.assert_allclose(found.boxes, [[20, 20, 60, 90]])


def test_labels_lie_below_and_an_image_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    yolo(tmp_path / "labels", "1 0.5 0.5 0.2 0.4")
    first, second = read(tmp_path, "a.jpg", "b.png")
    assert (len(first.labels), second.boxes.shape) == (1, (0, 4))


def test_names_beside_the_labels_tell_the_classes(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("bird\nhorse\ncat\n")
    (found,) = read(yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.2 0.4"))
    assert found.labels.tolist() == [2, 0]
    with pytest.raises(InputError, match=r"a\.txt:1: the class 1 is none of the network's"):
        read(yolo(tmp_path, "1 0.5 0.5 0.2 0.4"))
    (tmp_path / "classes.txt").write_text("horse\ncow\n")
    with pytest.raises(InputError, match=r"classes\.txt: none of its classes \('horse'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("3 0.5 0.5 0.2 0.4", "class 3 is none of the network's, which has 3"),
        ("-1 0.5 0.5 0.2 0.4", "class -1"),
        ("0.5 0.5 0.5 0.2 0.4", "class 0.5"),
        ("nan 0.5 0.5 0.2 0.4", "class nan"),
        ("inf 0.5 0.5 0.2 0.4", "class inf"),
        ("1 80 30 120 70", "fractions of the picture"),
        ("1 nan 0.5 0.2 0.4", "fractions of the picture"),
        ("1 0.5 0.5 0.2", "4 numbers are neither"),
        ("1 0.5 0.5 0.2 0.4 0.9", "6 numbers are neither"),
        ("1", "1 numbers are neither"),
        ("cat 0.5 0.5 0.2 0.4", "'cat 0.5 0.5 0.2 0.4' holds something else"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"a\.txt:2: .*{words}"):
        read(yolo(tmp_path, f"0 0.5 0.5 0.1 0.1\n{line}\n"))


def test_no_labels_at_all_are_no_empty_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no labels of the images.*such as a\.txt"):
        read(yolo(tmp_path, "", "other"))


def test_labels_of_two_images_of_one_name_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two of the images are called 'a'"):
        read(yolo(tmp_path, ""), "a.jpg", "more/a.jpg")


def test_labels_that_are_no_text_or_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe0 1")
    with pytest.raises(InputError, match="is no text"):
        read(tmp_path)
    monkeypatch.setattr(yolo_truth, "MAX_LABEL_BYTES", 20)
    with pytest.raises(InputError, match="too much for the labels of an image"):
        read(yolo(tmp_path, "0 0.5 0.5 0.1 0.1\n" * 2))
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device"):
        read(tmp_path)


def test_annotations_are_found_by_file_and_category_name(tmp_path: Path) -> None:
    second, first = read(coco(tmp_path), "b.jpg", "a.jpg")
    np.testing.assert_allclose(first.boxes, [[10, 20, 40, 60]])  # a crowd is none
    np.testing.assert_allclose(second.boxes, [[0, 0, 5.5, 6]])
    assert (first.labels.tolist(), second.labels.tolist()) == ([0], [1])


def test_categories_beyond_those_of_the_network_are_left_out(tmp_path: Path) -> None:
    (found,) = read_truth(coco(tmp_path), [Path("b.jpg")], [AS_IS], ("cat",), 1)
    assert len(found.labels) == 0


def test_without_names_of_the_network_categories_are_in_their_order(tmp_path: Path) -> None:
    (found,) = read_truth(coco(tmp_path), [Path("a.jpg")], [AS_IS], (), 2)
    assert found.labels.tolist() == [1]
    with pytest.raises(InputError, match="2 categories, and the network, whose classes have no names, 3"):
        read_truth(coco(tmp_path), [Path("a.jpg")], [AS_IS], (), 3)


def test_folders_tell_images_of_one_name_apart(tmp_path: Path) -> None:
    images = [{"id": 5, "file_name": "x/a.jpg"}, {"id": 6, "file_name": "y/a.jpg"}]
    (found,) = read(coco(tmp_path, images=images), "y/a.jpg")
    assert found.labels.tolist() == [1]
    with pytest.raises(InputError, match="is 2 of its images"):
        read(coco(tmp_path, images=images), "z/a.jpg")


ANNOTATION = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [10, 20, 30, 40]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": []}, "is not among its images"),
        (
            {"images": [{"id": 5, "file_name": "a.jpg", "width": 100, "height": 200}]},
            "has 100 x 200 pixels, and it has",
        ),
        ({"images": [{"id": "x", "file_name": "a.jpg"}]}, "TypeError"),
        ({"images": [{"id": 5}]}, "KeyError"),
        ({"images": None}, "needs the lists"),
        (
            {"categories": [{"id": 7, "name": "tac"}]},
            "'3', 'tac' of the file are none of them, and 'bird', 'cat', 'dog'",
        ),
        ({"annotations": [ANNOTATION | {"bbox": [1, 2, 3]}]}, "ValueError"),
        ({"annotations": [ANNOTATION | {"bbox": [1, 2, -3, 4]}]}, r"annotations\[0\]: the bbox"),
        ({"annotations": [ANNOTATION | {"bbox": [1, float("nan"), 3, 4]}]}, r"annotations\[0\]: the bbox"),
        ({"annotations": [ANNOTATION | {"bbox": [10**400, 1, 3, 4]}]}, "OverflowError"),
        ({"annotations": [ANNOTATION | {"bbox": {"x": 1}}]}, "ValueError"),
        ({"annotations": [ANNOTATION | {"category_id": [7]}]}, "TypeError"),
        ({"annotations": [5]}, "TypeError"),
    ],
)
def test_wrong_annotations_are_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as told:
        read(coco(tmp_path, **changes))
    assert "truth.json" in str(told.value)
    assert len(str(told.value)) < 700


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{}", "[]", "1" * 5000, '{"images": 5}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "truth.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"truth\.json: is (no COCO JSON|neither)"):
        read(file)


def test_a_file_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_truth, "MAX_COCO_BYTES", 100)
    with pytest.raises(InputError, match="too much for the labels of images"):
        read(coco(tmp_path))
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "absent.json")


@pytest.mark.parametrize("form", ["yolo", "coco"])
def test_boxes_are_brought_into_the_input(tmp_path: Path, form: str) -> None:
    source = yolo(tmp_path, "0 0.125 0.4 0.15 0.4") if form == "yolo" else coco(tmp_path)
    (found,) = read(source, place=ImagePlace(200, 100, 1.6, 1.5, 0, 80))
    np.testing.assert_allclose(found.boxes, [[16, 110, 64, 170]])


def test_the_truth_of_the_example_scenes_is_read() -> None:
    names = ("circle", "square", "triangle", "star", "cross")
    images = [SCENES / "0000.jpg", SCENES / "0001.jpg"]
    places = [ImagePlace(320, 180, 1, 1, 0, 0), ImagePlace(256, 192, 1, 1, 0, 0)]
    first, second = read_truth(SCENES / "truth.json", images, places, names, 5)
    assert first.boxes.tolist() == [[127, 83, 163, 127], [87, 138, 121, 171]]
    assert (first.labels.tolist(), second.labels.tolist()) == ([2, 1], [3, 4, 2])
