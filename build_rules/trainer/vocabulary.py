"""The closed lists of EdgeFirst metadata, schema 2: a reader refuses any other word.

Source: the EdgeFirst metadata documentation (schema v2) and the enumerations of the EdgeFirst HAL's schema parser.
"""

from __future__ import annotations

from build_rules.records.roles import (
    BOXES,
    CLASSES,
    DETECTION,
    LANDMARKS,
    MASK_COEFS,
    OBJECTNESS,
    PROTOS,
    ROLES,
    SCORES,
    SEGMENTATION,
    roles_of,
)

__all__ = [
    "CARRIED_TYPE",
    "COLOR_KEYS",
    "DECODERS",
    "DECODER_VERSIONS",
    "DEFAULT_NMS",
    "DIMENSIONS",
    "DTYPES",
    "ENCODINGS",
    "HINT_TYPE",
    "NMS_MODES",
    "NORMALIZATIONS",
    "OUTPUT_TYPES",
    "RESIZES",
    "SCHEMA_VERSION",
    "SCORE_FORMATS",
    "SPLIT_TYPES",
    "TILING_MODES",
    "UNDECODED_TYPES",
]

SCHEMA_VERSION = 2

DECODER_VERSIONS = ("yolov5", "yolov8", "yolo11", "yolo26")
NMS_MODES = ("class_agnostic", "class_aware")
DEFAULT_NMS = "class_aware"
"""What is written where nobody says: Ultralytics and torchvision suppress per class, and so do the decoders
(`edgefirst-decoder`, mode Auto) for a document that does not say. Per class, nothing is lost that was found."""
DECODERS = tuple(dict.fromkeys(role.decoder for role in ROLES.values() if role.decoder))
ENCODINGS = tuple(encoding for role in ROLES.values() for encoding in role.encodings)
SCORE_FORMATS = ("per_class", "obj_x_class")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32")
TILING_MODES = ("tiled", "whole_frame")

HINT_TYPE = "quantization_split"
"""The type of split hint that this converter consumes; hints of any other type are ignored."""

NORMALIZATIONS = {
    "unsigned": (1 / 255, (0.0,), (1.0,)),
    "signed": (1 / 127.5, (1.0,), (1.0,)),
    "raw": (1.0, (0.0,), (1.0,)),
    "imagenet": (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Words of `validation.normalization`, with (scale, mean, std): real = (pixel * scale - mean) / std."""

RESIZES = ("letterbox", "stretch")
"""Words of `validation.preprocessing`."""

COLOR_KEYS = ("cameraadaptor", "color_adaptor", "camera_adaptor")
"""Members of `input` that name the camera adaptor, newest first: schema 2; the manual's older schema; what the
adaptors' own package writes."""

OUTPUT_TYPES = (
    BOXES,
    SCORES,
    OBJECTNESS,
    CLASSES,
    MASK_COEFS,
    PROTOS,
    LANDMARKS,
    "detections",
    SEGMENTATION,
    "masks",
    DETECTION,
)

DIMENSIONS = (
    "batch",
    "height",
    "width",
    "num_classes",
    "num_features",
    "num_boxes",
    "num_protos",
    "num_anchors_x_features",
    "box_coords",
    "padding",
)

SPLIT_TYPES = roles_of("split")
"""Types that have one value per cell and scale: one logical output `[1, C, N]` with one child per scale."""

UNDECODED_TYPES = tuple(kind for name in roles_of("carried") if (kind := ROLES[name].type))
"""Types that the format knows and both decoders refuse on a logical output, together with the whole document."""

CARRIED_TYPE = DETECTION
"""The type of a logical output that no decoder decodes, beside boxes and scores: values of a detection head, as it
computes them. The decoders take such a model's boxes from `boxes` and `scores` alone; the children say what they are.
"""
