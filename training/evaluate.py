"""How good is an ONNX detector on the held-out scenes? Its own outputs are decoded with plain `numpy`, so nothing but
the file itself is measured; the ruler is the build's (`build_rules.objects`), and its average precision COCO's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from build_rules.objects.average_precision import average_precisions
from build_rules.objects.coco_truth import read_coco
from build_rules.objects.found import Objects
from build_rules.objects.suppress import box_iou, suppress
from training.letterbox import Letterbox, fit, letterbox, resize_bilinear
from training.scenes import CLASSES

__all__ = ["Evaluation", "HeldOut", "evaluate", "load_held_out"]

LEAST_SCORE = 0.001
NMS_OVERLAP = 0.7
MOST_DETECTIONS = 300
SHOWN_SCORE = 0.25  # from here on a detection would be shown to somebody; masks are judged on these

Floats = NDArray[np.float64]
Outputs = list[NDArray[np.float32]]


@dataclass(frozen=True)
class HeldOut:
    """One held-out picture with its truth, in its own pixels."""

    image: NDArray[np.uint8]
    truth: Objects
    instances: NDArray[np.uint8]


@dataclass(frozen=True)
class Evaluation:
    """Average precision at 0.5 overlap, of each class; mean mask IoU over all objects (a missed one counts 0; None
    without masks)."""

    boxes: tuple[float, ...]
    mask_iou: float | None

    @property
    def mean(self) -> float:
        """Mean over the classes that have objects."""
        return float(np.nanmean(self.boxes))


def load_held_out(folder: Path) -> list[HeldOut]:
    """Read what `training.scenes` wrote: pictures and truth in `folder`, and the instance maps beside it, if any."""
    files = sorted(folder.glob("*.jpg"))
    images = []
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        instances = np.zeros(pixels.shape[:2], np.uint8)
        if (known := folder.parent / "instances" / f"{file.stem}.png").exists():
            with Image.open(known) as drawn:
                instances = np.asarray(drawn)
        images.append((pixels, instances))
    sizes = [(image.shape[1], image.shape[0]) for image, _ in images]
    truths = read_coco(folder / "truth.json", files, sizes, CLASSES, len(CLASSES))
    return [
        HeldOut(image, Objects(boxes, np.ones(len(labels)), labels), instances)
        for (image, instances), (boxes, labels) in zip(images, truths, strict=True)
    ]


def _decode(output: NDArray[np.float32]) -> tuple[Objects, Floats]:
    """`output0` without its batch axis (channels x cells) to detections in input pixels and their mask coefficients."""
    cells = output.astype(np.float64).T
    scores, labels = cells[:, 4 : 4 + len(CLASSES)].max(1), cells[:, 4 : 4 + len(CLASSES)].argmax(1)
    cells, labels, scores = cells[scores > LEAST_SCORE], labels[scores > LEAST_SCORE], scores[scores > LEAST_SCORE]
    boxes = np.concatenate((cells[:, :2] - cells[:, 2:4] / 2, cells[:, :2] + cells[:, 2:4] / 2), 1)
    labels = labels.astype(np.int64)
    kept = suppress(boxes, scores, labels, NMS_OVERLAP, MOST_DETECTIONS)
    return Objects(boxes[kept], scores[kept], labels[kept]), cells[kept, 4 + len(CLASSES) :]


def _mask(logits: Floats, box: Floats, place: Letterbox, picture: HeldOut, size: int) -> NDArray[np.bool_]:
    """A detection's mask in native pixels: enlarged, taken out of the letterbox, thresholded, cropped to the box."""
    height, width = picture.instances.shape
    square = resize_bilinear(logits, size, size)
    inner = square[place.top : place.top + place.height, place.left : place.left + place.width]
    mask = resize_bilinear(inner, width, height) > 0
    x1, y1, x2, y2 = np.rint(box).astype(int)
    window = np.zeros_like(mask)
    window[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
    return np.asarray(mask & window)


def _mask_ious(found: Objects, logits: Floats, place: Letterbox, picture: HeldOut, size: int) -> list[float]:
    """For every object of the truth the mask IoU of the detection that overlaps it best, 0 when there is none."""
    shown = np.flatnonzero(found.scores >= SHOWN_SCORE)
    overlaps = box_iou(picture.truth.boxes, found.boxes[shown])
    overlaps *= picture.truth.labels[:, None] == found.labels[shown][None]
    ious = []
    for number, row in enumerate(overlaps):
        if not len(row) or row.max() < 0.5:
            ious.append(0.0)
            continue
        best = shown[row.argmax()]
        ours, theirs = _mask(logits[best], found.boxes[best], place, picture, size), picture.instances == number + 1
        ious.append(float((ours & theirs).sum() / (ours | theirs).sum()))
    return ious


def evaluate(run: Callable[[NDArray[np.float32]], Outputs], pictures: list[HeldOut], size: int) -> Evaluation:
    """`run` takes 1 x 3 x size x size in 0..1 and answers output0 and, with masks, output1."""
    everything, masks = [], list[float]()
    for picture in pictures:
        place = fit(picture.image.shape[1], picture.image.shape[0], size)
        pixels = letterbox(picture.image, size).transpose(2, 0, 1)[None]
        outputs = run(pixels.astype(np.float32) / np.float32(255))
        in_square, coefficients = _decode(outputs[0][0])
        found = Objects(place.to_native(in_square.boxes), in_square.scores, in_square.labels)
        everything.append(found)
        if len(outputs) > 1:
            masks += _mask_ious(
                found, np.tensordot(coefficients, outputs[1][0].astype(np.float64), 1), place, picture, size
            )
    precisions = average_precisions([picture.truth for picture in pictures], everything, len(CLASSES))
    return Evaluation(tuple(precisions[:, 0].tolist()), float(np.mean(masks)) if masks else None)


def report(result: Evaluation) -> str:
    """One line for a person."""
    classes = " ".join(f"{name} {value:.3f}" for name, value in zip(CLASSES, result.boxes, strict=True))
    masks = "" if result.mask_iou is None else f", mean mask IoU {result.mask_iou:.3f}"
    return f"mAP50 {result.mean:.4f} ({classes}){masks}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure ONNX detectors on the held-out scenes.")
    parser.add_argument("onnx", nargs="+", type=Path)
    parser.add_argument("--scenes", type=Path, default=Path("models/scenes/heldout"))
    arguments = parser.parse_args()
    pictures = load_held_out(arguments.scenes)
    for file in arguments.onnx:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        result = evaluate(lambda x, s=session, n=entry.name: s.run(None, {n: x}), pictures, entry.shape[2])  # type: ignore[misc]
        print(f"{file}: {report(result)}")


if __name__ == "__main__":
    main()
