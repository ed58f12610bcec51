"""One model: from what is told and lies below `build/` to its view."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from build_rules.calibration.chosen import Chosen, load_chosen
from build_rules.comparison.measured import Comparison, PresetMeasure
from build_rules.errors import InputError
from build_rules.records.calibration_json import load_calibrated
from build_rules.records.split_json import Split, load_split
from build_rules.regular_file import find_fault, read_small
from build_rules.report_page.comparison_view import agreement_of, view_comparison
from build_rules.report_page.cut_picture import draw_cut, shape_text
from build_rules.report_page.hef_view import view_hef
from build_rules.report_page.jpeg import as_uri, sheet_picture
from build_rules.report_page.page_names import home_link
from build_rules.report_page.told import Detected, DetectedImage, DetectedObject, ToldModel, ToldTarget
from build_rules.report_page.views import (
    CalibrationView,
    DetectedView,
    EndpointRow,
    Fact,
    FindingsView,
    FoundView,
    ImageRow,
    ModelView,
    Picture,
    SideView,
    TargetRow,
)

__all__ = ["HEF_NAMES", "gather_model", "target_row"]

HEF_NAMES = ("model+meta.hef", "model.hef")
"""The executable of a target: with its metadata, else as the compiler wrote it."""
DOCUMENT = "edgefirst.json"
DOCUMENT_BYTES = 1 << 20
HOUR = 3600
ROUND_SECONDS = (10, 60, 600, HOUR)
LISTED = 400
"""Calibration images that a page names; the file names all."""


def gather_model(told: ToldModel) -> ModelView:
    """Return the page of a model; whatever is not there, or cannot be read, is said in its place."""
    split, not_cut = _split(told.folder / "split.json")
    document = _document(told)
    classes = _texts(document.get("dataset", {}), "classes")
    findings, pictures = _findings(told.detected, classes)
    return ModelView(
        name=told.name,
        home=home_link(told.name),
        description=_text(document.get("description")),
        facts=tuple(_facts(told, split, document, len(classes))),
        labels=classes,
        faults=told.faults,
        targets=tuple(target_row(target, told.comparisons) for target in told.targets),
        comparisons=tuple(view_comparison(comparison, classes) for comparison in told.comparisons),
        not_compared=told.not_compared,
        findings=findings,
        pictures=pictures,
        cut=None if split is None else draw_cut(split, told.network),
        not_cut=not_cut,
        presets=tuple(preset for preset, _ in told.frame_bytes),
        endpoints=() if split is None else tuple(_endpoints(split, told)),
        calibration=_calibration(told.folder),
        layers=told.layers,
        hefs=tuple(
            view_hef(target.name, hef, target.emulated, target.warnings)
            for target in told.targets
            if (hef := find_hef(target)) is not None
        ),
        built_from=told.built_from,
        tools=told.tools,
        emulated=any(target.emulated for target in told.targets),
    )


def target_row(target: ToldTarget, comparisons: tuple[Comparison, ...]) -> TargetRow:
    """Return a target as a row of a table, with what comparisons say of it."""
    measured, comparison = _measured(target, comparisons)
    agreement, on = (None, "") if measured is None else agreement_of(measured)
    hef = find_hef(target)
    return TargetRow(
        name=target.name,
        hw_arch=target.hw_arch,
        preset=target.preset,
        compiler=target.compiler,
        emulated=target.emulated,
        state=target.state,
        because=target.because,
        hef_bytes=None if hef is None else hef.stat().st_size,
        agreement=agreement,
        agreement_on=on,
        take=comparison is not None and comparison.take == target.preset,
        frame_bytes=None if measured is None else measured.frame_bytes,
        most_seconds=_at_most(target.seconds),
        warnings=target.warnings,
    )


def _at_most(seconds: float | None) -> int | None:
    """Return a round number of seconds above a measured one, so that two builds of the same are told alike."""
    if seconds is None:
        return None
    return next((bound for bound in ROUND_SECONDS if seconds < bound), (math.floor(seconds / HOUR) + 1) * HOUR)


def find_hef(target: ToldTarget) -> Path | None:
    """Return the executable of a target, None when there is none."""
    return next((path for name in HEF_NAMES if find_fault(path := target.folder / name) is None), None)


def _measured(
    target: ToldTarget, comparisons: tuple[Comparison, ...]
) -> tuple[PresetMeasure | None, Comparison | None]:
    for comparison in comparisons:
        for measured in comparison.presets:
            if comparison.hw_arch == target.hw_arch and measured.preset == target.preset:
                return measured, comparison
    return None, None


def _split(path: Path) -> tuple[Split | None, str]:
    if find_fault(path) is not None:
        return None, "The graph has not been cut yet."
    try:
        return load_split(path), ""
    except InputError as error:
        return None, str(error)


def _document(told: ToldModel) -> dict[str, Any]:
    """Return the compiled metadata of the first target that has some: of what a model is, all of them say the same."""
    for target in told.targets:
        path = target.folder / DOCUMENT
        if find_fault(path) is None:
            try:
                document = json.loads(read_small(path, DOCUMENT_BYTES, "metadata"))
            except (InputError, OSError, ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                return document
    return {}


def _facts(told: ToldModel, split: Split | None, document: dict[str, Any], classes: int) -> Iterator[Fact]:
    yield Fact("export", told.onnx.as_posix())
    if told.is_prebuilt:
        yield Fact("compiled", "elsewhere (prebuilt): only metadata are made here")
    if split is not None:
        image = split.input
        color = split.preprocessing.color or "colours not known"
        yield Fact("input", f"{image.width} x {image.height} x {image.channels}, {color}, {split.preprocessing.resize}")
        yield Fact("endpoints found by", split.found_by)
        proof = split.proof
        yield Fact(
            "proof of the cut",
            "switched off"
            if proof is None
            else f"largest difference {proof.max_abs_error:g} on {proof.inputs} inputs, tail and all",
        )
    if classes:
        yield Fact("classes", str(classes))
    yield from _document_facts(document)


def _document_facts(document: dict[str, Any]) -> Iterator[Fact]:
    """Return what the trainer said of the model, as far as it said something."""
    for section, name, key in (
        ("model", "task", "task"),
        ("model", "size", "size"),
        ("dataset", "data set", "name"),
        ("host", "trained at", "studio_server"),
        ("host", "project", "project_id"),
        ("host", "session", "session"),
    ):
        members = document.get(section)
        if isinstance(members, dict) and (text := _text(members.get(key))):
            yield Fact(name, text)
    for key in ("name", "author", "decoder_version", "nms"):
        if text := _text(document.get(key)):
            yield Fact(key.replace("_", " "), text)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else ""


def _texts(members: Any, key: str) -> tuple[str, ...]:
    values = members.get(key) if isinstance(members, dict) else None
    return tuple(map(_text, values)) if isinstance(values, list) else ()


def _endpoints(split: Split, told: ToldModel) -> Iterator[EndpointRow]:
    for number, endpoint in enumerate(split.endpoints):
        place = "on the chip" if endpoint.name in split.folded else "on the host"
        yield EndpointRow(
            name=endpoint.name,
            role=endpoint.role,
            stride="" if endpoint.stride is None else str(endpoint.stride),
            shape=shape_text(endpoint.shape),
            encoding=endpoint.encoding or "",
            activation=f"{endpoint.activation} {place}" if endpoint.activation else "",
            frame_bytes=tuple(sizes[number] for _, sizes in told.frame_bytes),
            node=endpoint.node,
        )


def _calibration(folder: Path) -> CalibrationView | None:
    """Return what a model is calibrated on; None when that is not known yet."""
    try:
        calibrated = load_calibrated(folder / "calibration.json")
        chosen = load_chosen(folder / "calibration-images.json")
        sheet = sheet_picture(folder / "calibration.png", f"{calibrated.count} calibration samples, in their order")
    except (InputError, OSError):
        return None
    height, width = calibrated.geometry.input_shape
    facts = [
        Fact("samples", f"{calibrated.count:,}"),
        Fact("snapshot", calibrated.file_name),
        Fact("fitted to", f"{width} x {height} by {calibrated.geometry.resize}"),
    ]
    if chosen.pool is not None:
        facts.append(Fact("chosen from", f"{chosen.pool:,} images"))
    if chosen.passed_over:
        facts.append(Fact("not decoded here", chosen.passed_over))
    images, left_out = _images(chosen), Counter(outcome.kind for outcome in chosen.left_out)
    return CalibrationView(tuple(facts), sheet, images[:LISTED], len(images[LISTED:]), tuple(sorted(left_out.items())))


def _images(chosen: Chosen) -> tuple[ImageRow, ...]:
    """Return the images in the order of the contact sheet."""
    if chosen.images:
        return tuple(ImageRow(image.name, image.why) for image in chosen.images)
    return tuple(ImageRow(name, "in the snapshot that was given") for name in chosen.image_ids)


def _findings(
    detected: Sequence[Detected], classes: Sequence[str]
) -> tuple[tuple[FindingsView, ...], tuple[Picture, ...]]:
    """Return what is found by chip, and the pictures: chips have the same ones, and a page holds each once."""
    places: dict[bytes, int] = {}
    pictures: list[Picture] = []
    findings = []
    for chip in detected:
        for image in chip.images:
            if image.jpeg not in places:
                places[image.jpeg] = len(pictures)
                pictures.append(
                    Picture(as_uri(image.jpeg), image.width, image.height, f"{image.name}, as the network sees it")
                )
        images = tuple(
            _detected(image, places[image.jpeg], pictures[places[image.jpeg]], classes) for image in chip.images
        )
        findings.append(FindingsView(chip.hw_arch, images, chip.drawn_from, chip.fault))
    return tuple(findings), tuple(pictures)


def _detected(image: DetectedImage, place: int, picture: Picture, classes: Sequence[str]) -> DetectedView:
    fates = Counter(found.fate for side in image.sides for found in side.objects)
    sides = tuple(
        SideView(side.by, side.emulated, tuple(_found(found, classes) for found in side.objects))
        for side in image.sides
    )
    emulated = any(side.emulated for side in sides)
    return DetectedView(image.name, place, picture, sides, fates["lost"], fates["invented"], emulated)


def _found(found: DetectedObject, classes: Sequence[str]) -> FoundView:
    x1, y1, x2, y2 = found.box
    name = classes[found.label] if found.label < len(classes) else str(found.label)
    return FoundView(x1, y1, max(0.0, x2 - x1), max(0.0, y2 - y1), name, found.score, found.fate)
