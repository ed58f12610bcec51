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

__all__ = ["Calibrated", "Feed", "dump_calibrated", "dump_feed", "load_calibrated", "load_feed"]

FORMAT = 1


@dataclass(frozen=True)
class Calibrated:
    """The snapshot's conventional file name, its sample count, geometry (`input_shape` is H, W) and normalization.

    real = (pixel * scale - mean) / std, per channel.
    """

    file_name: str
    count: int
    resize: str
    input_shape: tuple[int, int]
    full_frame: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def mean_pixels(self) -> tuple[float, ...]:
        """Mean in pixel units: (pixel - mean_pixels) / std_pixels is the real value."""
        return tuple(mean / self.scale for mean in self.mean)

    @property
    def std_pixels(self) -> tuple[float, ...]:
        """Deviation in pixel units."""
        return tuple(std / self.scale for std in self.std)


def dump_calibrated(calibrated: Calibrated) -> str:
    """Return the text of `calibration.json`."""
    return json.dumps({"format": FORMAT, **asdict(calibrated)}, indent=2) + "\n"


def load_calibrated(path: Path) -> Calibrated:
    """Read a `calibration.json`. Raises `InputError` when the file is not one of format 1."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise InputError(f"{path}: its format is not {FORMAT}; delete it and run doit again.")
        for key in ("input_shape", "mean", "std"):
            document[key] = tuple(document[key])
        return Calibrated(**document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a calibration.json of this version ({error!r}); delete it.") from error


@dataclass(frozen=True)
class Feed:
    """What the exported graph takes of a sample: (pixel * scale - mean) / std, per channel in the sample's order.

    After that red and blue change places, if `swapped`.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    swapped: bool = False


def dump_feed(feed: Feed) -> str:
    """Return the text of `feed.json`."""
    return json.dumps({"format": FORMAT, **asdict(feed)}, indent=2) + "\n"


def load_feed(path: Path) -> Feed:
    """Read a `feed.json`. Raises `InputError` when the file is not one of format 1."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise InputError(f"{path}: its format is not {FORMAT}; delete it and run doit again.")
        return Feed(document["scale"], tuple(document["mean"]), tuple(document["std"]), document["swapped"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a feed.json of this version ({error!r}); delete it.") from error
