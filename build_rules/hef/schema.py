"""The numbers of the HEF's protobuf message that reader and writer share: fields and formats.

One class per message, named as the vendor names it without its `ProtoHEF` prefix; only the fields this room uses.

Source of the format: HailoRT 4.17-5.2, open source (`hef.proto`, `hef.cpp`, `hailort_defaults.cpp`).
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "BOUNDARY",
    "DATA_TYPES",
    "HOST_ORDERS",
    "KNOWN_FIELDS",
    "LOGITS_KINDS",
    "NMS_FORMAT",
    "WRITE_DATA_CCW",
    "WRITE_DATA_CCW_PTR",
    "ContextField",
    "ContextMetadataField",
    "CoreOpField",
    "EdgeField",
    "EdgeLayerBaseField",
    "EdgeLayerField",
    "EdgeLayerInfoField",
    "EdgeLayerMuxField",
    "EdgeLayerPlanesField",
    "EdgeType",
    "Extension",
    "FusedLayersField",
    "HeaderField",
    "HefField",
    "MetadataField",
    "NetworkGroupField",
    "NmsInfoField",
    "NmsOpField",
    "NumericInfoField",
    "OpField",
    "PadEdgeField",
    "PadField",
    "SwitchInfoField",
]

# Value of `EdgeLayerBase.format` (the order on the device) -> the order in which the host sees the tensor.
HOST_ORDERS = {
    0: "NHWC",
    1: "NHWC",  # NHCW on the device
    2: "NC",
    3: "FCR",
    4: "BAYER_RGB",
    5: "NHW",
    6: "HAILO_NMS_BY_CLASS",
    7: "F8CR",
    8: "NHWC",  # RGB888 on the device
    11: "YUY2",
    13: "NHWC",
    14: "NV12",
    15: "NV21",
    16: "I420",
}
NMS_FORMAT = 6

# Value of `EdgeLayerBase.data_bytes` -> numpy's name of the type.
DATA_TYPES = {1: "uint8", 2: "uint16", 4: "float32"}

# Fields of the outermost messages that the vendor's own readers know, so that newer ones are noticed.
KNOWN_FIELDS = {"message": range(1, 8), "header": range(1, 5), "network group": range(1, 12)}

LOGITS_KINDS = {0: "argmax", 1: "softmax"}  # value of `LogitsOp.logits_type`
WRITE_DATA_CCW, WRITE_DATA_CCW_PTR = 3, 16  # kinds of action: weights, or where they are (fields of `Action`)
BOUNDARY = 0  # `ContextSwitchInformation.edge_connection_type` of what enters or leaves the chip


class Extension(IntEnum):
    """Features a runtime must know to load the file (`Hef.extensions`), or may know (`optional_extensions`)."""

    MULTI_NETWORK_VARIABLE_BATCH_SIZE = 8
    HW_PADDING = 11
    NET_FLOW = 13
    NMS_OUTPUT_BURST = 19
    OUTPUT_SCALE_PER_FEATURE = 25
    PERIPH_CALCULATION_IN_HAILORT = 26


class EdgeType(IntEnum):
    """`EdgeLayer.edge_layer_type`: one tensor, several in one stream, or the planes of one picture."""

    INFO = 0
    MUX = 1
    PLANES = 2


class HefField(IntEnum):
    """The whole message."""

    HEADER = 1
    NETWORK_GROUPS = 2
    INCLUDED_FEATURES = 4
    EXTENSIONS = 5
    OPTIONAL_EXTENSIONS = 6


class HeaderField(IntEnum):
    """`timestamp` counts milliseconds since 1970."""

    HW_ARCH = 1
    TIMESTAMP = 2
    SDK_VERSION = 3
    VERSION = 4


class NetworkGroupField(IntEnum):
    """A network group; fields 1-7 are a core op's too, in files without operations on the host."""

    CONTEXTS = 3
    SORTED_OUTPUTS = 4
    PARTIALS = 7
    OPS = 8
    PAD_EDGES = 9


class CoreOpField(IntEnum):
    """What runs on the chip. Field 1 of a partial is again a core op (or network group), field 2 its layout."""

    METADATA = 1
    CONTEXTS = 3
    SORTED_OUTPUTS = 4
    FUSED_LAYERS = 5
    NETWORKS_NAMES = 6
    PARTIALS = 7


class MetadataField(IntEnum):
    """Of a network group."""

    NAME = 1
    TRANSPOSED = 3
    CFG_CHANNELS_COUNT = 5


class FusedLayersField(IntEnum):
    """Of a network group; holds when the chip's outputs are fused on the host."""

    HAS_FUSED = 1
    SORTED_OUTPUTS = 2


class ContextField(IntEnum):
    """One load of the chip."""

    METADATA = 3


class ContextMetadataField(IntEnum):
    """Of a context. Very old files keep the order of the outputs here."""

    EDGE_LAYERS = 2
    SORTED_OUTPUTS = 5


class EdgeLayerField(IntEnum):
    """Something that enters (direction 0) or leaves (1) a context."""

    DIRECTION = 1
    TYPE = 2
    INFO = 3
    MUX = 4
    SWITCH_INFO = 5
    NETWORK_INDEX = 6
    PAD_INDEX = 7
    PLANES = 8


class EdgeField(IntEnum):
    """A member of a mux (info or mux) or of planes (info)."""

    INFO = 1
    MUX = 2


class EdgeLayerInfoField(IntEnum):
    """One tensor."""

    NAME = 1
    BASE = 2
    NUMERIC_INFO = 3
    HN_OUTPUT_LAYER_NAME = 4
    ORIGINAL_NAMES = 5
    TRANSPOSED = 6


class SwitchInfoField(IntEnum):
    """Where a layer comes from or goes to (`ContextSwitchInformation`)."""

    CONNECTION_TYPE = 3


class EdgeLayerMuxField(IntEnum):
    """Several tensors in one stream; the host sees the tensors."""

    NAME = 1
    BASE = 2
    DATA = 3
    PREDECESSORS = 5


class EdgeLayerPlanesField(IntEnum):
    """One picture in several streams; the host sees the picture."""

    NAME = 1
    FORMAT = 2
    PLANES = 3
    HEIGHT = 4
    WIDTH = 5
    FEATURES = 6


class EdgeLayerBaseField(IntEnum):
    """Shape and transfer of a tensor; sizes are elements, buffers are bytes."""

    HEIGHT = 1
    PADDED_HEIGHT = 2
    WIDTH = 3
    PADDED_WIDTH = 4
    FEATURES = 5
    PADDED_FEATURES = 6
    FORMAT = 7
    SYS_INDEX = 8
    CORE_BYTES_PER_BUFFER = 9
    CORE_BUFFERS_PER_FRAME = 10
    ADDITIONAL_INFO = 11
    DATA_BYTES = 12
    BUFFER_INDICES = 13
    HOST_ARGMAX = 14
    MAX_SHMIFO_SIZE = 15
    ENGINE_ID = 16


class NmsInfoField(IntEnum):
    """NMS on the chip (`EdgeLayerBase.additional_info`, field 1)."""

    CLASSES = 2
    MAX_OUTPUT_SIZE = 3
    IS_DEFUSED = 5
    DEFUSE_INFO = 6
    DIVISION_FACTOR = 7
    BURST_TYPE = 9


class NumericInfoField(IntEnum):
    """Quantization: real = scale * (stored - zero point)."""

    ZERO_POINT = 1
    SCALE = 2
    LIMITS_MIN = 3
    LIMITS_MAX = 4
    ZERO_POINTS = 5
    SCALES = 6


class OpField(IntEnum):
    """A node of the graph that spans chip and host."""

    NAME = 1
    INPUT_PADS = 2
    OUTPUT_PADS = 3
    CORE_OP = 4
    NMS_OP = 5
    LOGITS_OP = 6


class PadField(IntEnum):
    """An end of an edge of that graph."""

    INDEX = 1
    NAME = 2


class PadEdgeField(IntEnum):
    """An edge of that graph, between two pads."""

    SOURCE = 1
    DESTINATION = 2


class NmsOpField(IntEnum):
    """NMS on the host. Exactly one of 7 to 12 says which kind; the thresholds are doubles."""

    SCORE_THRESHOLD = 1
    IOU_THRESHOLD = 2
    MAX_PROPOSALS_PER_CLASS = 3
    CLASSES = 4
    YOLOV5 = 7
    YOLOX = 8
    SSD = 9
    IOU = 10
    YOLOV5_SEG = 11
    YOLOV8 = 12
    BOXES_ONLY = 13
