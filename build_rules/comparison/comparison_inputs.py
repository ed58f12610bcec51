"""What a comparison reads, and the digest by which a former one is known to hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from build_rules.compilers.network_images import Images
from build_rules.errors import InputError
from build_rules.objects.found import Objects
from build_rules.records.calibration_json import Feed
from build_rules.records.split_json import Split, dump_split

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Compiler

__all__ = ["CheckFiles", "ComparisonInputs", "ImageSet", "PresetInputs", "digest_of", "files_digest"]

CHUNK = 1 << 20


@dataclass(frozen=True)
class ImageSet:
    """Images of one kind. `truth` is what is in each, in pixels of the input; `digest` stands for all of it."""

    name: Literal["calibration", "held-out"]
    images: Images
    digest: str
    truth: tuple[Objects, ...] | None = None


@dataclass(frozen=True)
class PresetInputs:
    """One quantized network: `har`, and `hef` where it is compiled.

    One that no target builds has none of them: `quantize` makes both in a folder and returns them. `digest` stands for
    what either is made from.
    """

    preset: str
    target: str
    compiler: Compiler
    digest: str
    har: Path | None = None
    hef: Path | None = None
    quantize: Callable[[Path], tuple[Path, Path]] | None = None


@dataclass(frozen=True)
class CheckFiles:
    """What the checklist looks into; `calibration` is what the model is calibrated from, where that is images.

    `statistics` are those of the emulator, which need not be there.
    """

    snapshot: Path
    chosen: Path
    statistics: Path
    count: int
    calibration: Path | None


@dataclass(frozen=True)
class ComparisonInputs:
    """One model and one chip. `split` is `split.json`, `endpoints` the same as objects are read by (`endpoints.json`).

    `exported` is `split.onnx`, which `feed` feeds. Presets come as they are made fastest first. `notes` are carried on.
    """

    model: str
    hw_arch: str
    split: Split
    endpoints: Split
    exported: Path
    feed: Feed
    presets: tuple[PresetInputs, ...]
    sets: tuple[ImageSet, ...]
    files: CheckFiles | None = None
    notes: tuple[str, ...] = ()


def digest_of(inputs: ComparisonInputs, code: str) -> str:
    """Return what a comparison depends on, as one digest; `code` stands for what compares."""
    parts = [
        code,
        inputs.model,
        inputs.hw_arch,
        dump_split(inputs.split),
        dump_split(inputs.endpoints),
        repr(asdict(inputs.feed)),
        files_digest([inputs.exported]),
        *(f"{each.preset} {each.target} {each.har is None} {each.digest}" for each in inputs.presets),
        *(f"{each.name} {each.digest}" for each in inputs.sets),
        "" if inputs.files is None else _files_part(inputs.files),
        *inputs.notes,
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _files_part(files: CheckFiles) -> str:
    """Return what the checklist depends on; what the statistics hold, the snapshot and the code decide."""
    return f"{files_digest([files.chosen])} {files.statistics.is_file()}"


def files_digest(paths: Iterable[Path]) -> str:
    """Return one digest of the content of files, in their order. Raises `InputError` for one that cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
        digest.update(b"\0end")
    return digest.hexdigest()
