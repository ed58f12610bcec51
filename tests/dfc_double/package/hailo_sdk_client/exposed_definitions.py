"""States, contexts and kinds of data, with the names that public callers use."""

from __future__ import annotations

from enum import Enum

__all__ = ["HW_ARCHS", "CalibrationDataType", "InferenceContext", "InferenceDataType", "States"]

HW_ARCHS = ("hailo8", "hailo8l", "hailo8r")


class States(Enum):
    """The states of a `ClientRunner`; their values are what a HAR's metadata say."""

    UNINITIALIZED = "uninitialized"
    ORIGINAL_MODEL = "original_model"
    HAILO_MODEL = "hailo_model"
    FP_OPTIMIZED_MODEL = "fp_optimized_model"
    QUANTIZED_MODEL = "quantized_model"
    COMPILED_MODEL = "compiled_model"


class InferenceContext(Enum):
    """What a network is run as."""

    SDK_NATIVE = "sdk_native"
    SDK_FP_OPTIMIZED = "sdk_fp_optimized"
    SDK_QUANTIZED = "sdk_quantized"
    SDK_BIT_EXACT = "sdk_bit_exact"
    SDK_HAILO_HW = "sdk_hailo_hw"


class CalibrationDataType(Enum):
    """How calibration data are given."""

    auto = "auto"
    np_array = "np_array"
    dataset = "dataset"
    npy_file = "npy_file"
    npy_dir = "npy_dir"


class InferenceDataType(Enum):
    """How data for inference are given."""

    auto = "auto"
    np_array = "np_array"
    dataset = "dataset"
    npy_file = "npy_file"
    npy_dir = "npy_dir"
