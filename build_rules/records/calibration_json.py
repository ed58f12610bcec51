"""`calibration.json`: what later steps need to know of the calibration snapshot without reading its pixels.

It stands beside `calibration.safetensors`, so that new pixels alone do not run the steps that only need the count or
the normalization. Format 1::

    {"format": 1, "file_name": "calibration-local-6954670bc1c66a4a.safetensors", "count": 256, "resize": "letterbox",
     "input_shape": [256, 256], "full_frame": false,
     "scale": 0.00392156862745098, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}

`feed.json`: how a calibration sample becomes the input of the graph as it was exported, its front included, so that the
graph can be compared with what the chip makes of the same sample. It stands apart from the model script, which it is
to prove. Format 1::

    {"format": 1, "scale": 0.00392156862745098, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "swapped": false}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from build_rules.errors import InputError
from build_rules.records.normalization import Normalization, read_normalization

__all__ = ["Calibrated", "Feed", "Geometry", "dump_calibrated", "dump_feed", "load_calibrated", "load_feed"]

FORMAT = 1


@dataclass(frozen=True)
class Geometry:
    """How frames were brought to the input; a converter records it as `calibration_geometry`.

    `resize` is `letterbox`, `stretch` or `tiled`, `input_shape` the samples' (height, width) in pixels; `full_frame`
    says that whole frames are samples beside the tiles.
    """

    resize: str
    input_shape: tuple[int, int]
    full_frame: bool = False

    def as_mapping(self) -> dict[str, object]:
        """Return the JSON members `resize`, `input_shape` and, only when true, `full_frame`."""
        members: dict[str, object] = {"resize": self.resize, "input_shape": list(self.input_shape)}
        return {**members, "full_frame": True} if self.full_frame else members


@dataclass(frozen=True)
class Calibrated:
    """The snapshot's conventional file name, its sample count, how samples were fitted, and what the model expects."""

    file_name: str
    count: int
    geometry: Geometry
    normalization: Normalization


def dump_calibrated(calibrated: Calibrated) -> str:
    """Return the text of `calibration.json`."""
    named = {"format": FORMAT, "file_name": calibrated.file_name, "count": calibrated.count}
    facts = named | asdict(calibrated.geometry) | asdict(calibrated.normalization)
    return json.dumps(facts, indent=2) + "\n"


def load_calibrated(path: Path) -> Calibrated:
    """Read a `calibration.json`. Raises `InputError` when the file is not one of format 1."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{path}: its format is not {FORMAT}; delete it and run doit again.")
        height, width = document["input_shape"]
        geometry = Geometry(document["resize"], (height, width), document["full_frame"])
        return Calibrated(document["file_name"], document["count"], geometry, read_normalization(document))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a calibration.json of this version ({error!r}); delete it.") from error


@dataclass(frozen=True)
class Feed:
    """What the exported graph takes of a sample, per channel in the sample's order.

    After that red and blue change places, if `swapped`.
    """

    normalization: Normalization
    swapped: bool = False


def dump_feed(feed: Feed) -> str:
    """Return the text of `feed.json`."""
    return json.dumps({"format": FORMAT, **asdict(feed.normalization), "swapped": feed.swapped}, indent=2) + "\n"


def load_feed(path: Path) -> Feed:
    """Read a `feed.json`. Raises `InputError` when the file is not one of format 1."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{path}: its format is not {FORMAT}; delete it and run doit again.")
        return Feed(read_normalization(document), document["swapped"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a feed.json of this version ({error!r}); delete it.") from error
