"""`calibration-images.json`: which images are in a snapshot and why, and what became of the others.

Nothing is built from it; it is for people, and shown by `doit inspect` beside its snapshot. Format 1::

    {"format": 1, "snapshot": "calibration-local-6954670bc1c66a4a.safetensors", "pool": 5000, "requested": 1024,
     "images": [{"name": "a/001.jpg", "sha256": "...", "samples": 1, "order": 0, "why": "red minimum 0"}],
     "left_out": [{"name": "a/002.jpg", "kind": "duplicate", "reason": "the same file as a/001.jpg"}],
     "passed_over": "900 .dng, 2 without a suffix"}

`pool` counts the images that could be selected, `passed_over` those that nothing here decodes. Of a snapshot that was
given there is only its name, and `image_ids` when it has them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build_rules.calibration.pool.left_out import Outcome
from build_rules.calibration.pool.select import Choice
from build_rules.errors import InputError

__all__ = ["Chosen", "ChosenImage", "dump_chosen", "load_chosen", "reason"]

FORMAT = 1
CHANNELS = ("red", "green", "blue")
MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class ChosenImage:
    """An image of a snapshot, in the order of its samples; when it was chosen, from 0, and why, in words."""

    name: str
    sha256: str
    samples: int
    order: int
    why: str


@dataclass(frozen=True)
class Chosen:
    """What is told of a snapshot. `snapshot` is its conventional file name."""

    snapshot: str
    pool: int | None = None
    requested: int | None = None
    images: Sequence[ChosenImage] = ()
    left_out: Sequence[Outcome] = ()
    image_ids: Sequence[str] = ()
    passed_over: str = ""


def reason(choice: Choice) -> str:
    """Return in words why an image was chosen."""
    if choice.reason == "extremum":
        return ", ".join(f"{CHANNELS[extreme.channel]} {extreme.kind} {extreme.level}" for extreme in choice.extremes)
    if choice.reason == "gain":
        return f"closer to the pool's histogram: {choice.distance_before:.4f} -> {choice.distance_after:.4f}"
    return {"fill": "drawn at random", "all": "the pool has no more"}[choice.reason]


def dump_chosen(chosen: Chosen) -> str:
    """Return the text of the file, a line for each image; names that are not UTF-8 keep their bytes as surrogates."""
    document = {"format": FORMAT, **asdict(chosen)}
    members = [f'"{key}": {_lines(value)}' for key, value in document.items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def _lines(value: object) -> str:
    if not isinstance(value, (list, tuple)) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n]"


def load_chosen(path: Path) -> Chosen:
    """Read the file. Raises `InputError` when it is not one of format 1."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES} bytes; delete it and run doit again.")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise InputError(f"{path}: its format is not {FORMAT}; delete it and run doit again.")
        document["images"] = tuple(ChosenImage(**image) for image in document["images"])
        document["left_out"] = tuple(Outcome(**outcome) for outcome in document["left_out"])
        return Chosen(**document)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a calibration-images.json of this version ({error!r}); delete it.") from error
