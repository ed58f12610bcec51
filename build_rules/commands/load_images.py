"""Images as a network takes them: fitted and coloured as the calibration images of what was built were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from build_rules.errors import InputError

__all__ = ["fitted_by", "loader"]


def loader(hef: Path, shape: tuple[int, int, int]) -> Callable[[Path], Any]:
    """Return a function from an image file to the uint8 [H, W, C] input of the network, whose `shape` that is.

    A HEF tells by its metadata how images are fitted, a HAR by what the build has left beside it.
    """
    document = _document(hef)
    return fitted_by(_resize(hef, document), _color(hef, document, shape[2]), shape)


def fitted_by(resize: str, color: str, shape: tuple[int, ...]) -> Callable[[Path], Any]:
    """Return a function from an image file to the uint8 [H, W, C] input of a network, whose `shape` that is."""
    from build_rules.calibration.pixels.adaptor import convert
    from build_rules.calibration.pixels.images import decode
    from build_rules.calibration.pixels.letterbox import fit, place

    def load(path: Path) -> Any:
        image = decode(path)
        fitted = fit(image, place((image.shape[0], image.shape[1]), (shape[0], shape[1]), resize))
        return convert(fitted, color).transpose(1, 2, 0)

    return load


def _document(hef: Path) -> Mapping[str, Any]:
    """Return the metadata that a HEF carries, none without a document; of a HAR, the same as the build knows it."""
    if hef.suffix.lower() == ".har":
        return _known_beside(hef)
    from build_rules.hef import read_members
    from build_rules.metadata.examine import load_document

    try:
        return load_document(read_members(hef)) or {}
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(f"{hef}: ") else f"{hef}: {error}") from error


def _known_beside(har: Path) -> Mapping[str, Any]:
    """Return what metadata would say of the pixels, from what a build has left in the folder of the HAR's model."""
    from build_rules.commands.left_beside import find_calibrated, find_split

    calibrated, split = find_calibrated(har), find_split(har)
    if calibrated is None or split is None:
        return {}
    color = split.preprocessing.color
    told = {} if color is None else {"cameraadaptor": color}
    return {"hailo": {"calibration_geometry": {"resize": calibrated.geometry.resize}}, "input": told}


def _resize(hef: Path, document: Mapping[str, Any]) -> str:
    """Return how the calibration images were fitted; letterbox where the file does not tell."""
    from build_rules.calibration.pixels.letterbox import RESIZES
    from build_rules.metadata.examine import DOCUMENT

    section: Any = document
    for name in ("hailo", "calibration_geometry"):
        section = section.get(name, {})
        if not isinstance(section, dict):
            raise InputError(f"{hef}: '{name}' in its {DOCUMENT} is not an object; append the metadata again.")
    resize = section.get("resize", "letterbox")
    if resize not in RESIZES:
        raise InputError(
            f"{hef}: its calibration images were fitted by {str(resize)[:40]!r}; doit infer can fit images by "
            f"{' or '.join(RESIZES)}."
        )
    return str(resize)


def _color(hef: Path, document: Mapping[str, Any], channels: int) -> str:
    """Return the camera adaptor of the network's input."""
    from build_rules.trainer.preprocessing import read_color

    try:
        color = read_color(document, channels)
    except InputError as error:
        raise error.within(hef) from error
    if color is None:
        raise InputError(
            f"{hef}: its input has {channels} channels, and its metadata do not say of which colours "
            "(input.cameraadaptor); build it with metadata that do."
        )
    return color
