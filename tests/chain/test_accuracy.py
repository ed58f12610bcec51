"""Do the compiled files find the objects? Judged by the decoders of the field and by the scenes' truth.

Every executable is run on the held-out scenes with `doit infer`; the physical tensors and the document from inside
the file go to `edgefirst-hal` and `edgefirst-decoder`, and so do the float tensors of the cut ONNX, with a document
that calls them float.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from PIL import Image

from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import fit, place
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.har_file import read_har
from build_rules.hef import read_members
from build_rules.objects.coco_truth import read_coco
from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import precision
from build_rules.objects.read_objects import ObjectReader
from build_rules.objects.suppress import box_iou
from build_rules.records.split_json import load_split
from tests.chain.conftest import MODELS, make_workspace
from tests.decoders import DECODERS, Detections, physical_outputs, resolve_model_config
from tests.doit_runs import doit
from tests.judges.same_numbers import of_document, of_har, of_hef
from tests.judges.validator import needs_validator, validate, write_yolo

EXAMPLES = ("shapes-det", "shapes-seg", "shapes-attn")
PRESETS = ("fast", "balanced", "accurate")
SCORE, IOU = 0.001, 0.7  # as the models' own metadata says of their validation
CLASSES = 5
INPUT = (256, 256)

Tensors = dict[str, npt.NDArray[Any]]


NAMES = ("circle", "square", "triangle", "star", "cross")


@cache
def truth() -> tuple[tuple[str, Objects], ...]:
    """File name and objects (boxes in source pixels) of every held-out scene."""
    files = sorted((MODELS / "scenes/heldout").glob("*.jpg"))
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    found = read_coco(MODELS / "scenes/heldout/truth.json", files, sizes, NAMES, CLASSES)
    return tuple(
        (file.name, Objects(boxes, np.ones(len(labels)), labels))
        for file, (boxes, labels) in zip(files, found, strict=True)
    )


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All example models with all their targets, built."""
    folder = make_workspace(tmp_path_factory.mktemp("examples"), EXAMPLES)
    run = doit(folder)
    assert run.code == 0, run.err
    return folder


@pytest.fixture(scope="module")
def quantized(examples: Path) -> dict[tuple[str, str], tuple[dict[str, Any], Tensors]]:
    """Document and physical tensors [scenes, H, W, C] of every example and preset, by `doit infer`."""
    scenes = [str(MODELS / "scenes/heldout" / name) for name, _ in truth()]
    results = {}
    for model in EXAMPLES:
        for preset in PRESETS:
            hef = examples / f"build/{model}/hailo8l-{preset}/model+meta.hef"
            output = examples / f"{model}-{preset}.npz"
            run = doit(examples, "infer", str(hef), *scenes, "--output", str(output))
            assert run.code == 0, run.err
            with np.load(output) as arrays:
                results[model, preset] = (json.loads(read_members(hef)["edgefirst.json"]), dict(arrays))
    return results


@pytest.fixture(scope="module")
def floats(examples: Path, quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]]) -> dict[str, Tensors]:
    """Float tensors of the cut ONNX, NHWC, sigmoid applied where it was folded, keyed by the physical name."""
    results = {}
    for model in EXAMPLES:
        split = load_split(examples / f"build/{model}/split.json")
        session = onnxruntime.InferenceSession(str(examples / f"build/{model}/split.onnx"))
        document, _ = quantized[model, "fast"]
        names = [physical["name"] for physical in physical_outputs(document)]
        rows: list[list[npt.NDArray[Any]]] = []
        for name, _ in truth():
            image = decode(MODELS / "scenes/heldout" / name)
            pixels = fit(image, place((image.shape[0], image.shape[1]), INPUT)).transpose(2, 0, 1)[None]
            rows.append(session.run([e.tensor for e in split.endpoints], {split.input.name: pixels / np.float32(255)}))
        stacked = [np.concatenate(column).transpose(0, 2, 3, 1) for column in zip(*rows, strict=True)]
        for index, endpoint in enumerate(split.endpoints):
            if endpoint.name in split.folded:
                stacked[index] = 1 / (1 + np.exp(-stacked[index]))
        results[model] = dict(zip(names, stacked, strict=True))
    return results


def as_float(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same document for float tensors."""
    changed = copy.deepcopy(dict(document))
    for physical in physical_outputs(changed):
        physical["dtype"] = "float32"
        physical["quantization"] = {"scale": 1.0, "zero_point": 0, "dtype": "float32"}
    return changed


def detect(decoder: str, document: Mapping[str, Any], tensors: Tensors) -> list[Detections]:
    """Decode every scene."""
    count = len(next(iter(tensors.values())))
    slices = ({name: array[i : i + 1] for name, array in tensors.items()} for i in range(count))
    return [DECODERS[decoder](document, one, score=SCORE, iou=IOU) for one in slices]


def in_pixels_of(scene: tuple[int, int], boxes: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Boxes (fractions of the input) in pixels of the scene (height, width) that was placed there; unclipped."""
    placed = place(scene, INPUT)
    corners = boxes.astype(np.float64) * np.array([INPUT[1], INPUT[0]] * 2) - [placed.left, placed.top] * 2
    return np.asarray(corners / np.array([placed.width / scene[1], placed.height / scene[0]] * 2))


def map50(found: list[Detections]) -> float:
    """mAP50 of detections (fractions of the input) against the truth (pixels of the scene)."""
    in_source = []
    for one, (name, _) in zip(found, truth(), strict=True):
        with Image.open(MODELS / "scenes/heldout" / name) as image:
            boxes = in_pixels_of((image.height, image.width), one.boxes)
        in_source.append(Objects(boxes, one.scores.astype(np.float64), one.classes))
    result = precision([objects for _, objects in truth()], in_source, CLASSES).map50
    assert result is not None
    return result


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("model", EXAMPLES)
def test_quantized_finds_what_float_finds(
    model: str,
    decoder: str,
    quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]],
    floats: Mapping[str, Tensors],
) -> None:
    reference = map50(detect(decoder, as_float(quantized[model, "fast"][0]), floats[model]))
    reached = {preset: map50(detect(decoder, *quantized[model, preset])) for preset in PRESETS}
    print(f"{model} mAP50 with {decoder}: float {reference:.4f}, {reached}")
    assert reference >= 0.90
    for preset, value in reached.items():
        assert value >= reference - 0.02, preset


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("model", EXAMPLES)
def test_our_objects_are_those_of_the_decoders(
    examples: Path,
    model: str,
    decoder: str,
    quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]],
    floats: Mapping[str, Tensors],
) -> None:
    reader = ObjectReader(split := load_split(examples / f"build/{model}/split.json"), score=0.05, overlap=IOU)
    document, codes = quantized[model, "fast"]
    real = {}
    for physical in physical_outputs(document):
        numbers = physical["quantization"]
        real[physical["name"]] = (codes[physical["name"]].astype(np.float32) - numbers["zero_point"]) * numbers["scale"]
    aware = {"nms": "class_aware"}
    for described, theirs, ours, least in (
        (as_float(document) | aware, floats[model], floats[model], 1),
        # In 8 bits many scores are equal, and which box of two is the better one is left to chance.
        (document | aware, codes, real, 0.97),
    ):
        same = []
        for index, found in enumerate(detect(decoder, described, theirs)):
            values = [array[index].astype(np.float32) for array in ours.values()]
            own = reader.read(dict(zip((e.name for e in split.endpoints), values, strict=True)))
            kept = found.scores > 0.05
            boxes = found.boxes[kept] * np.array([INPUT[1], INPUT[0]] * 2)
            close = np.abs(own.boxes[:, None] - boxes[None]).max(axis=2) < 0.01
            close &= np.abs(own.scores[:, None] - found.scores[kept][None]) < 1e-5
            close &= own.labels[:, None] == found.classes[kept]
            same += [*close.any(axis=1), *close.any(axis=0)]
        assert len(same) > 300
        assert np.mean(same) >= least


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", EXAMPLES)
def test_edgefirst_resolves_the_executable_itself(examples: Path, model: str, preset: str) -> None:
    resolved = resolve_model_config(str(examples / f"build/{model}/hailo8l-{preset}/model+meta.hef"))
    assert list(resolved.labels) == ["circle", "square", "triangle", "star", "cross"]
    told = resolved.describe()
    assert any("normalize=unsigned [embedded edgefirst.json" in line for line in told)
    assert any("resize=letterbox-center" in line for line in told)
    assert any(f"size={INPUT[1]}x{INPUT[0]}" in line for line in told)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", EXAMPLES)
def test_executable_metadata_archive_and_inference_tell_the_same_numbers(
    examples: Path, model: str, preset: str, quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]]
) -> None:
    folder = examples / f"build/{model}/hailo8l-{preset}"
    document, delivered = quantized[model, preset]
    grids = of_hef(folder / "model.hef")
    assert of_hef(folder / "model+meta.hef") == of_document(document) == of_har(folder / "model.har") == grids
    assert grids.keys() == delivered.keys()
    scenes = [decode(MODELS / "scenes/heldout" / name) for name, _ in truth()[:3]]
    images = np.stack([fit(scene, place((scene.shape[0], scene.shape[1]), INPUT)) for scene in scenes])
    computed = Emulator().simulate(folder / "model.har", images)
    for name, grid in grids.items():
        stored = delivered[name][: len(scenes)]
        assert stored.dtype == np.dtype(f"uint{grid.bits}")
        real = grid.scale * (stored.astype(np.float32) - np.float32(grid.zero_point))
        np.testing.assert_array_equal(real, computed[name])


@needs_validator
@pytest.mark.parametrize("preset", PRESETS)
def test_edgefirsts_validator_measures_what_we_measure(
    examples: Path,
    tmp_path: Path,
    preset: str,
    quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]],
) -> None:
    images = [MODELS / "scenes/heldout" / name for name, _ in truth()]
    data_set = write_yolo(tmp_path, images, [objects for _, objects in truth()], NAMES)
    hef = examples / f"build/shapes-det/hailo8l-{preset}/model+meta.hef"
    theirs = validate(hef, data_set, tmp_path)
    ours = map50(detect(next(iter(DECODERS)), *quantized["shapes-det", preset]))
    print(f"shapes-det {preset}: EdgeFirst's validator {theirs}, ours {ours:.4f}")
    assert abs(theirs.map50 - ours) < 0.02  # it fits pictures with OpenCV, and integrates in another way


def rms_errors(document: Mapping[str, Any], tensors: Tensors, reference: Tensors) -> dict[str, float]:
    """Root mean square of dequantized minus float, per physical output, at the cells that hold objects.

    A cell counts by the best score that the float network gives it; a map without scores of its size, everywhere alike.
    """
    errors = {}
    scores = [
        child["name"] for output in document["outputs"] if output["type"] == "scores" for child in output["outputs"]
    ]
    cells = {reference[name].shape[1:3]: reference[name].max(axis=-1, keepdims=True) for name in scores}
    for physical in physical_outputs(document):
        numbers = physical["quantization"]
        real = (tensors[physical["name"]].astype(np.float64) - numbers["zero_point"]) * numbers["scale"]
        squares = (real - reference[physical["name"]]) ** 2
        weights = np.broadcast_to(cells.get(squares.shape[1:3], np.ones(1)), squares.shape)
        errors[physical["name"]] = float(np.sqrt(np.average(squares, weights=weights)))
    return errors


@pytest.mark.parametrize("preset", ["balanced", "accurate"])
@pytest.mark.parametrize("model", EXAMPLES)
def test_no_output_is_worse_than_fast_where_objects_are(
    model: str,
    preset: str,
    quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]],
    floats: Mapping[str, Tensors],
) -> None:
    fast = rms_errors(*quantized[model, "fast"], floats[model])
    better = rms_errors(*quantized[model, preset], floats[model])
    assert {name: (fast[name], better[name]) for name in fast if better[name] > fast[name]} == {}
    boxes = next(output for output in quantized[model, preset][0]["outputs"] if output["type"] == "boxes")
    for child in boxes["outputs"]:
        assert child["dtype"] == "uint16"


@pytest.mark.parametrize(("preset", "bits"), [("fast", 8), ("balanced", 8), ("accurate", 16)])
def test_what_leads_values_past_the_attention_has_the_bits_of_the_preset(
    examples: Path, preset: str, bits: int
) -> None:
    har = read_har(examples / f"build/shapes-attn/hailo8l-{preset}/model.har")
    with np.load(io.BytesIO(har.member(".q.npz"))) as stored:
        found = {layer: int(stored[f"shapes-attn/{layer}/output_activation_bits:0"]) for layer in ("dw1", "softmax1")}
        assert found == {"dw1": bits, "softmax1": 8}
        assert int(stored["shapes-attn/dw1/weight_bits:0"]) == bits


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_masks_cover_their_objects(
    preset: str, decoder: str, quantized: Mapping[tuple[str, str], tuple[dict[str, Any], Tensors]]
) -> None:
    found = detect(decoder, *quantized["shapes-seg", preset])
    overlaps = [
        overlap
        for one, (name, objects) in zip(found, truth(), strict=True)
        for overlap in mask_overlaps(one, objects, MODELS / "scenes/heldout" / name)
    ]
    print(f"masks with {decoder}, {preset}: {len(overlaps)} objects, mean overlap {np.mean(overlaps):.3f}")
    assert len(overlaps) > 100
    assert np.mean(overlaps) > 0.7


def mask_overlaps(found: Detections, objects: Objects, scene: Path) -> list[float]:
    """Intersection over union of predicted and true mask for every object that a detection matches (IoU 0.5)."""
    with Image.open(MODELS / "scenes/instances" / f"{scene.stem}.png") as image:
        instances = np.asarray(image)
    boxes = in_pixels_of((instances.shape[0], instances.shape[1]), found.boxes)
    results = []
    for index in range(len(objects.boxes)):
        if not len(boxes):
            continue
        overlap = box_iou(objects.boxes[index : index + 1], boxes)[0] * (found.classes == objects.labels[index])
        best = int(np.argmax(overlap))
        if overlap[best] < 0.5:
            continue
        predicted = paint(found.masks[best], boxes[best], instances.shape)
        true = instances == index + 1
        results.append(float((predicted & true).sum() / (predicted | true).sum()))
    return results


def paint(mask: npt.NDArray[np.uint8], box: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Put a mask that fills its box back into the scene."""
    left, top = (max(round(v), 0) for v in box[:2])
    right, bottom = min(round(box[2]), shape[1]), min(round(box[3]), shape[0])
    canvas = np.zeros(shape, np.bool_)
    if right > left and bottom > top:
        patch = Image.fromarray(mask[..., 0]).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        canvas[top:bottom, left:right] = np.asarray(patch) > 127
    return canvas
