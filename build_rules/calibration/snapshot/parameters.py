"""The parameter set of a calibration snapshot: everything but the pool that decides its bytes, and its file name.

Source: EdgeFirst Studio manual, page "Calibration Snapshot", section "Parameter Hash and Caching".
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from build_rules.calibration.pixels.adaptor import check_width
from build_rules.calibration.pixels.letterbox import PAD, RESIZES
from build_rules.calibration.snapshot.snapshot_file import canonical_json, hash_params
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import CAMERA_ADAPTORS, ModelInput, Preprocessing, TileGrid

__all__ = ["Parameters", "file_name", "normalization_members", "parameters_for"]

SELECTION = "max_dynamic_range_v1"
GRID = ("evendist", 1)


@dataclass(frozen=True)
class Parameters:
    """The parameter set of a snapshot: everything but the pool that decides its bytes.

    `input_shape` is (height, width) in pixels; `normalization` is recorded, not applied; `dataset_id` None means a pool
    that is not a Studio data set; `count` is how many images to select (Hailo recommends 1024). `color` is a camera
    adaptor and `channels` its number of channels; `grid` is there exactly when `resize` is `tiled`; `full_frame` says
    that whole frames are samples, too. `layout`, `dtype` and `selection` are what this producer can make. Raises
    `InputError` for values that it cannot.
    """

    input_shape: tuple[int, int]
    normalization: Normalization
    dataset_id: str | None = None
    annotation_set_id: str | None = None
    split: str = "train"
    resize: str = "letterbox"
    count: int = 1024
    seed: int = 42
    channels: int = 3
    layout: str = "NCHW"
    dtype: str = "uint8"
    color: str = "rgb"
    selection: str = SELECTION
    grid: TileGrid | None = None
    full_frame: bool = False

    def __post_init__(self) -> None:
        for key, allowed in _ALLOWED.items():
            if getattr(self, key) not in allowed:
                raise InputError(
                    f"calibration {key} {getattr(self, key)!r} is not possible "
                    f"(allowed: {', '.join(map(repr, allowed))})."
                )
        if len(self.input_shape) != 2 or not all(type(side) is int and side > 0 for side in self.input_shape):
            raise InputError(
                f"calibration input_shape {self.input_shape!r} is not possible (two positive integers: height, width)."
            )
        if type(self.count) is not int or self.count < 1:
            raise InputError(f"calibration count {self.count!r} is not possible (a positive integer).")
        # It becomes part of a file name.
        if self.dataset_id is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.dataset_id):
            raise InputError(
                f"calibration dataset_id {self.dataset_id!r} is not possible (letters, digits, '.', '_' and '-')."
            )
        _check_colors(self)
        _check_grid(self)

    @property
    def param_hash(self) -> str:
        """The 16 hexadecimal digits that name this parameter set."""
        return hash_params(self.canonical())

    def canonical(self) -> str:
        """Return the parameter set as the JSON text that is hashed and stored."""
        return canonical_json(self.as_mapping())

    def as_mapping(self) -> dict[str, Any]:
        """Return the members of `params`; those that do not apply are absent: every one counts for the hash."""
        members: dict[str, Any] = {
            "annotation_set_id": self.annotation_set_id,
            "channels": self.channels,
            "color": self.color,
            "count": self.count,
            "dataset_id": self.dataset_id,
            "dtype": self.dtype,
            "input_shape": list(self.input_shape),
            "layout": self.layout,
            "normalization": _nine_digits(normalization_members(self.normalization)),
            "resize": self.resize,
            "seed": self.seed,
            "selection": self.selection,
            "split": self.split,
        }
        if self.resize != "stretch":
            members["letterbox"] = _LETTERBOX
        if self.grid is not None:
            members["grid"] = {**asdict(self.grid), "min_overlap": _plain(self.grid.min_overlap)}
        if self.full_frame:
            members["full_frame"] = True
        return members


_ALLOWED: dict[str, tuple[object, ...]] = {
    "resize": (*RESIZES, "tiled"),
    "layout": ("NCHW",),
    "dtype": ("uint8",),
    "color": tuple(CAMERA_ADAPTORS),
    "selection": (SELECTION,),
    "full_frame": (False, True),
}
# Grey in RGB, whatever the camera adaptor: it converts what is padded already.
_LETTERBOX = {"pad_color": [PAD] * 3, "scale": "long_side", "round": "ceil", "center": True, "interpolation": "linear"}


def _check_colors(parameters: Parameters) -> None:
    channels, normalization = parameters.channels, parameters.normalization
    if channels != CAMERA_ADAPTORS[parameters.color]:
        raise InputError(
            f"calibration channels {channels!r} is not possible ({parameters.color!r} has "
            f"{CAMERA_ADAPTORS[parameters.color]})."
        )
    check_width(parameters.color, parameters.input_shape[1])
    numbers = (normalization.scale, *normalization.mean, *normalization.std)
    per_channel = len(normalization.mean) == len(normalization.std) == channels
    if not per_channel or not all(map(math.isfinite, numbers)) or min(normalization.scale, *normalization.std) <= 0:
        raise InputError(
            f"calibration normalization {normalization!r} is not possible ({channels} means, {channels} positive stds)."
        )


def _check_grid(parameters: Parameters) -> None:
    grid = parameters.grid
    if (grid is not None) != (parameters.resize == "tiled"):
        raise InputError(
            f"calibration resize {parameters.resize!r} with grid {grid!r} is not possible (a grid goes with 'tiled')."
        )
    if grid is not None and (grid.algorithm, grid.version) != GRID:
        raise InputError(
            f"the model's metadata ask for tiles by {grid.algorithm!r}, version {grid.version}, but only {GRID[0]!r}, "
            f"version {GRID[1]}, is known; use a calibration snapshot that was exported with the model."
        )
    if parameters.full_frame and parameters.resize == "stretch":
        raise InputError("calibration full_frame is not possible with resize 'stretch' (whole frames are letterboxed).")


def parameters_for(
    pixels: Preprocessing, image: ModelInput, *, count: int, seed: int = 42, dataset_id: str | None = None
) -> Parameters:
    """Return the parameters of the snapshot that a model wants, from what its metadata say.

    Raises `InputError` when they do not say enough, or ask for what this producer cannot make.
    """
    if pixels.color is None:
        raise InputError(
            f"the model's input {image.name!r} has {image.channels} channels and its metadata do not say of which "
            f'colours; write it into model.toml ([input] color = "...": {", ".join(CAMERA_ADAPTORS)}), export it again '
            "with input.cameraadaptor, or use a calibration snapshot that was exported with the model."
        )
    grid = None if pixels.tiling is None else pixels.tiling.grid
    if pixels.resize == "tiled" and grid is None:
        raise InputError(
            "the model's metadata say that it is tiled, but not how (tiling.grid is missing); export it again, or use "
            "a calibration snapshot that was exported with the model."
        )
    return Parameters(
        input_shape=(image.height, image.width),
        normalization=pixels.normalization,
        dataset_id=dataset_id,
        resize=pixels.resize,
        count=count,
        seed=seed,
        channels=image.channels,
        color=pixels.color,
        grid=grid if pixels.resize == "tiled" else None,
        full_frame=pixels.tiling is not None and pixels.tiling.full_frame,
    )


def _nine_digits(members: dict[str, Any]) -> dict[str, Any]:
    # The manual wants a fixed representation of floats and writes 1/255 as 0.00392156863, as published snapshots do:
    # nine significant digits, enough for any 32-bit float. Equal sets of ours and theirs then have equal names.
    def rounded(value: Any) -> Any:
        if isinstance(value, list):
            return [rounded(item) for item in value]
        return float(f"{value:.9g}") if isinstance(value, float) else value

    return {key: rounded(value) for key, value in members.items()}


def normalization_members(normalization: Normalization) -> dict[str, Any]:
    """Return the JSON members of a normalization, as they are stored beside the parameters."""
    return {
        "scale": _plain(normalization.scale),
        "mean": [_plain(value) for value in normalization.mean],
        "std": [_plain(value) for value in normalization.std],
    }


def _plain(value: float) -> float:
    # 0 and 0.0 are one value but two texts, hence two hashes; published snapshots write whole numbers without a point.
    return int(value) if float(value).is_integer() else float(value)


def file_name(parameters: Parameters) -> str:
    """Return the conventional name, `calibration-{dataset_id or "local"}-{param_hash}.safetensors`."""
    return f"calibration-{parameters.dataset_id or 'local'}-{parameters.param_hash}.safetensors"
