"""The order of a stream's elements, with the names that readers ask for."""

from __future__ import annotations

from enum import Enum

__all__ = ["FormatOrder"]


class FormatOrder(Enum):
    """Only the plain order occurs here; the others are what a reader compares with."""

    NHWC = 0
    HAILO_NMS_BY_CLASS = 1
    HAILO_NMS_BY_SCORE = 2
    HAILO_NMS_WITH_BYTE_MASK = 3
