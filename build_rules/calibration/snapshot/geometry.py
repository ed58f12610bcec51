"""Does a calibration snapshot fit the model? Four rules, in order, the first failure wins; nothing here reads a file.

Source: EdgeFirst Studio manual, page "Calibration Snapshot", section "Geometry Check". We are stricter in one place: a
`tiling` section of another version or mode never comes here (`trainer/tiling.py` refuses it), where the manual treats
another version as no section at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from build_rules.errors import InputError
from build_rules.records.calibration_json import Geometry
from build_rules.records.split_json import Tiling

__all__ = ["check_geometry"]


def check_geometry(
    params: object,
    stored_shape: Sequence[int] | None,
    expected: tuple[int, int],
    tiling: Tiling | None = None,
    *,
    source: str = "the calibration snapshot",
    wanted_tensor: str = "for the model's input",
) -> Geometry:
    """Check a snapshot against a model and return the geometry to record.

    `params` is the snapshot's parameter set, `stored_shape` the shape (N, C, H, W) of the tensor that belongs to the
    model's input (None when the snapshot has no such tensor), `expected` the compiled input's (height, width) in
    pixels, `tiling` the section of that name in the model's metadata (None when there is none), and `source` and
    `wanted_tensor` what to call the snapshot and that tensor in messages.

    Raises `InputError` naming the field that fails.
    """
    if not isinstance(params, Mapping):
        raise InputError(f"{source}: params is missing or not a mapping; export the snapshot again.")
    for key in ("input_shape", "resize"):
        if key not in params:
            raise InputError(f"{source}: params.{key} is missing; export the snapshot again.")
    declared = _height_width(params["input_shape"], f"{source}: params.input_shape")
    wanted = _height_width(list(expected), "the model's input shape")
    if declared != wanted:
        raise InputError(
            f"{source}: params.input_shape is {list(declared)} but the model's input is {list(wanted)} "
            f"[height, width]; use a snapshot exported for this model."
        )
    if stored_shape is None:
        raise InputError(
            f"{source}: tensor_names has no tensor {wanted_tensor}; use a snapshot exported for this model."
        )
    _check_stored_shape(stored_shape, declared, source)
    _check_resize(params, None if tiling is None else tiling.mode, source)
    full_frame = _check_full_frame(params, tiling is not None and tiling.full_frame, source)
    return Geometry(params["resize"], declared, full_frame)


def _height_width(value: object, what: str) -> tuple[int, int]:
    # bool is an int in Python, and JSON's 640.0 is not an integer to the other readers of the format.
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
        return value[0], value[1]
    raise InputError(f"{what} must be two positive integers [height, width], not {value!r}.")


def _check_stored_shape(stored_shape: Sequence[int], declared: tuple[int, int], source: str) -> None:
    if len(stored_shape) != 4 or tuple(stored_shape[2:]) != declared:
        raise InputError(
            f"{source}: the stored samples have shape {list(stored_shape)}, which does not end in "
            f"params.input_shape {list(declared)} ([samples, channels, height, width]); export the snapshot again."
        )


def _check_resize(params: Mapping[object, object], mode: str | None, source: str) -> None:
    resize = params["resize"]
    if mode == "tiled":
        if resize != "tiled":
            raise InputError(
                f"{source}: params.resize must be 'tiled' for a model whose tiling.mode is 'tiled', not {resize!r}."
            )
        grid = params.get("grid")
        if not isinstance(grid, Mapping) or grid.get("algorithm") != "evendist":
            raise InputError(
                f"{source}: params.grid.algorithm must be 'evendist' for a tiled model (grid is {grid!r})."
            )
    elif mode == "whole_frame":
        if resize != "letterbox":
            raise InputError(
                f"{source}: params.resize must be 'letterbox' for a model whose tiling.mode is 'whole_frame', "
                f"not {resize!r}."
            )
    elif resize not in ("letterbox", "stretch") and not (
        resize == "tiled" and isinstance(params.get("tiling"), Mapping)
    ):
        raise InputError(
            f"{source}: params.resize must be 'letterbox' or 'stretch' for a model without tiling, not {resize!r}."
        )


def _check_full_frame(params: Mapping[object, object], wanted: bool, source: str) -> bool:
    full_frame = params.get("full_frame", False)
    if not isinstance(full_frame, bool):
        raise InputError(f"{source}: params.full_frame must be true or false, not {full_frame!r}.")
    if full_frame != wanted:
        raise InputError(
            f"{source}: params.full_frame is {full_frame} but the model's tiling.full_frame.enabled is {wanted}; "
            f"use a snapshot exported for this model."
        )
    return full_frame
