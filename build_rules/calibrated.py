"""`calibration.json`: what later steps need to know of the calibration snapshot without reading its pixels.

It stands beside `calibration.safetensors`, so that new pixels alone do not run the steps that only need the count or
the normalization. Format 1::

    {"format": 1, "file_name": "calibration-local-6954670bc1c66a4a.safetensors", "count": 256, "resize": "letterbox",
     "input_shape": [256, 256], "full_frame": false,
     "scale": 0.00392156862745098, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from build_rules.errors import InputError

__all__ = ["Calibrated", "dump_calibrated", "load_calibrated"]

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
