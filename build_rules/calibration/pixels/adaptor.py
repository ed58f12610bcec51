"""RGB pixels in the colours a camera delivers: EdgeFirst's camera adaptors, byte for byte as training made them.

Training converts with OpenCV (`edgefirst-cameraadaptor`, `CameraAdaptorTransform`), so the rounding is that of its
`cvtColor` from RGB: RGB2BGR, RGB2GRAY, RGB2RGBA, RGB2BGRA and RGB2YUV_YUYV on 8-bit pixels. Weights are multiples of
2**-15 for grey and 2**-14 for YUYV; YUYV is BT.601 in the range of television (Y from 16 to 235).

A frame is resized, padded or cut first and converted last, so that padding is grey 114 in RGB: that is the order of
EdgeFirst's trainer (its fork of Ultralytics: `LetterBox`, then the adaptor in `Format`) and of the EdgeFirst Studio
manual, page "Calibration Snapshot", "Implementing a Producer".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError
from build_rules.records.split_json import CAMERA_ADAPTORS

__all__ = ["check_width", "convert"]

_OPAQUE = 255
_GREY = (9798, 19235, 3735)
_Y = (4211, 8258, 1606)
_U = (-1212, -2384, 3596)
_V = (3596, -3015, -582)


def check_width(color: str, width: int) -> None:
    """Raise `InputError` when pictures of that width have no form in this colour: two pixels of YUYV share U and V."""
    if color == "yuyv" and width % 2:
        raise InputError(
            f"the model's input is {width} pixels wide, but the camera adaptor 'yuyv' needs an even width; train the "
            "model at an even width or with another adaptor."
        )


def convert(image: NDArray[np.uint8], color: str) -> NDArray[np.uint8]:
    """Return the sample (C, H, W), uint8, of an RGB picture (H, W, 3), uint8; C is `CAMERA_ADAPTORS[color]`.

    Of `yuyv`, channel 0 is Y and channel 1 alternates between U and V, which two neighbours share. Raises `InputError`
    for an adaptor that is not known and for an odd width with `yuyv`.
    """
    if color not in CAMERA_ADAPTORS:
        raise InputError(f"camera adaptor {color!r} is not known; use one of {', '.join(CAMERA_ADAPTORS)}.")
    check_width(color, image.shape[1])
    sample = np.empty((CAMERA_ADAPTORS[color], *image.shape[:2]), np.uint8)
    if color == "grey":
        sample[0] = _weighted(image, _GREY, 15, 0)
    elif color == "yuyv":
        pairs = image[:, 0::2].astype(np.int32) + image[:, 1::2]
        sample[0] = _weighted(image, _Y, 14, 16)
        sample[1, :, 0::2] = _weighted(pairs, _U, 14, 128)
        sample[1, :, 1::2] = _weighted(pairs, _V, 14, 128)
    else:
        colors = image.transpose(2, 0, 1)
        sample[:3] = colors[::-1] if color.startswith("bgr") else colors
        sample[3:] = _OPAQUE
    return sample


def _weighted(
    image: NDArray[np.uint8] | NDArray[np.int32], weights: tuple[int, int, int], bits: int, offset: int
) -> NDArray[np.int32]:
    """Return the weighted sum of the three colours plus `offset`, rounded; weights are multiples of 2**-bits."""
    result = np.full(image.shape[:2], (offset << bits) + (1 << (bits - 1)), np.int32)
    for channel, weight in enumerate(weights):
        result += np.multiply(image[..., channel], weight, dtype=np.int32)
    result >>= bits
    return result
