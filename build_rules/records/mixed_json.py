"""`mixed.json`: which layers of a network work in 16 bits, which were measured, and what they bring.

Format 1 (JSON, UTF-8, two-space indent, members in the order of the dataclasses below)::

    {"format": 1, "outcome": "found", "because": "2 layers in 16 bits: ...", "measured_by": "emulator 0.1.0 (...)",
     "images": {"chosen_by": 12, "proven_on": 40, "proven_set": "calibration"},
     "layers": [{"node": "/model.1/conv/Conv", "layer": "net/conv2", "kind": "conv", "mode": "a8_w8_a16",
                 "share": 0.37, "because": "makes 36.8% of the noise at objects, 1% of that by its weights"}],
     "loudest": [...],
     "before": {"map50": 0.97, "map50_95": 0.85, "mean_iou": 0.95, "score_shift": -0.01, "objects": 200, "lost": 3,
                "invented": 1, "snr": 18.2, "frame_bytes": 1209600, "wide_layers": 0},
     "after": {...}, "all": {...}}

`loudest` are the layers that make most noise, whether they were taken or not. `all` is what every layer that may have
16 bits would bring. Layers are told by the ONNX node, since compilers count them differently.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build_rules.errors import InputError

__all__ = ["Mixed", "MixedImages", "MixedLayer", "MixedResult", "dump_mixed", "load_mixed"]

FORMAT = 1


@dataclass(frozen=True)
class MixedLayer:
    """A layer: the ONNX `node` that it begins with, the name that the measuring compiler gave it, the mode it is for.

    `mode` is empty for a layer that may have no 16 bits, or gets nothing from them. `share` is that of all noise.
    """

    node: str
    layer: str
    kind: str
    mode: str
    share: float
    because: str


@dataclass(frozen=True)
class MixedImages:
    """How many images layers were chosen by and the set was proven on; no image is among both."""

    chosen_by: int
    proven_on: int
    proven_set: str


@dataclass(frozen=True)
class MixedResult:
    """What one set gives: objects against those of the float network, see `objects.agreement.Agreement`.

    `snr` is the signal-to-noise ratio at objects in dB, `frame_bytes` what one frame delivers, `wide_layers` the number
    of layers that make 16 bits.
    """

    map50: float | None
    map50_95: float | None
    mean_iou: float | None
    score_shift: float | None
    objects: int
    lost: int
    invented: int
    snr: float
    frame_bytes: int
    wide_layers: int


@dataclass(frozen=True)
class Mixed:
    """The whole of `mixed.json`. `outcome`: `found`, `not needed`, `spread`, `no objects` or `not judged`.

    `because` says it in a sentence.

    `layers` are the set, empty unless one was found; `before` and the others are None where nothing was tried.
    """

    outcome: str
    because: str
    measured_by: str
    images: MixedImages
    layers: tuple[MixedLayer, ...]
    loudest: tuple[MixedLayer, ...]
    before: MixedResult | None = None
    after: MixedResult | None = None
    all: MixedResult | None = None


def dump_mixed(mixed: Mixed) -> str:
    """Return the text of `mixed.json`; equal records give equal text."""
    return json.dumps({"format": FORMAT, **asdict(mixed)}, indent=2, allow_nan=False) + "\n"


def load_mixed(path: Path) -> Mixed:
    """Read a `mixed.json`. Raises `InputError` when it is not one of format 1."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{path}: format {document['format']!r} is not known (expected {FORMAT}); rebuild it.")
        return Mixed(
            outcome=str(document["outcome"]),
            because=str(document["because"]),
            measured_by=str(document["measured_by"]),
            images=MixedImages(**document["images"]),
            layers=tuple(MixedLayer(**layer) for layer in document["layers"]),
            loudest=tuple(MixedLayer(**layer) for layer in document["loudest"]),
            before=_result(document["before"]),
            after=_result(document["after"]),
            all=_result(document["all"]),
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a mixed.json of this version ({error!r}); delete it and run doit again."
        ) from error


def _result(members: dict[str, Any] | None) -> MixedResult | None:
    return None if members is None else MixedResult(**members)
