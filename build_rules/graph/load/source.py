"""The ONNX as the other files of this room may rely on it.

After `load_source`: the model passes the ONNX checker, its large weights are references to checked places, it has no
local functions and no half precision, its nodes are sorted so that inputs come first, every node has a name of its own,
and there is exactly one image input of static shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from build_rules.errors import InputError
from build_rules.graph.load.inline_functions import inline_functions
from build_rules.graph.load.node_order import name_nodes, sort_nodes
from build_rules.graph.load.open_sizes import IMAGE_CHANNELS, StatedSize, fix_sizes
from build_rules.graph.load.replace_sequences import sequences_to_splits
from build_rules.graph.load.shapes import static_shape, without_weights
from build_rules.graph.load.widen_halves import widen_halves
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.skeleton import read_skeleton
from build_rules.onnx_file.weights import HALVES, Reading, check_weights, place_weights
from build_rules.records.split_json import ModelInput
from build_rules.regular_file import unwatched

__all__ = ["Source", "check_model", "image_input", "load_source", "prepare"]

MAX_BATCH = 256
MAX_SIDE = 16384
SHOWN = 5
INPUT_TYPES = (onnx.TensorProto.FLOAT, *HALVES, onnx.TensorProto.UINT8)


@dataclass(frozen=True)
class Source:
    """A checked model, its image input, its files, and which of those beside it hold weights.

    `input.shape` is the exported one, which may hold several images. `widened` says that the file computes in half
    precision, at least in parts, and the model in float.
    """

    model: onnx.ModelProto
    input: ModelInput
    files: OnnxFiles
    external_files: tuple[Path, ...] = ()
    widened: bool = False


def load_source(
    onnx_file: Path | OnnxFiles,
    stated: Sequence[StatedSize] = (),
    shape: tuple[int, int] | None = None,
    reading: Reading = unwatched,
) -> Source:
    """Load and check an ONNX file; weights stay where they are, in it or beside it: `reading` is told of the latter.

    `stated` are the sizes that its metadata say, `shape` is the (height, width) that the user wants. Raises
    `InputError` (whose message the caller prefixes with the file's name) for anything the room cannot work on.
    """
    files = onnx_file if isinstance(onnx_file, OnnxFiles) else OnnxFiles(onnx_file)
    try:
        model = read_skeleton(files)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}).") from error
    if not model.graph.node or not model.graph.output:
        raise InputError("this is not an ONNX model (it has no graph); export or download the model again.")
    return prepare(model, files, stated, shape=shape, reading=reading)


def prepare(
    model: onnx.ModelProto,
    files: OnnxFiles,
    stated: Sequence[StatedSize] = (),
    need_weights: bool = True,
    shape: tuple[int, int] | None = None,
    reading: Reading = unwatched,
) -> Source:
    """Bring a skeleton into the form that this module promises; without `need_weights` their files may be missing."""
    fix_sizes(model, stated, shape)
    image = image_input(model.graph)
    external_files = place_weights(model, files, need_weights, reading)
    if need_weights:
        check_weights(model, files)
    model = inline_functions(model)
    sort_nodes(model.graph)
    name_nodes(model.graph)
    check_model(model)
    sequences_to_splits(model)
    widened = widen_halves(model)
    return Source(model, image, files, external_files, widened)


def image_input(graph: onnx.GraphProto) -> ModelInput:
    """Return the graph's only input: rank 4, static, NCHW or NHWC with 1, 3 or 4 channels."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        listed = [f"'{value.name}'" for value in inputs[:SHOWN]]
        names = ", ".join([*listed, *([f"{len(inputs)} in all"] if len(inputs) > SHOWN else [])]) or "none"
        raise InputError(f"the model must have exactly one image input, found {names}; export it with only the image.")
    value = inputs[0]
    shown = _shown_shape(value)
    shape = static_shape(value)
    if shape is None:
        raise InputError(
            f"the input '{value.name}' has the dynamic shape {shown}, and nothing says at which size it is to be "
            "built; write that into model.toml: [input] shape = [640, 640] (height, width), or export with a static "
            "shape (Ultralytics: dynamic=False, imgsz=640)."
        )
    if len(shape) != 4 or not any(shape[axis] in IMAGE_CHANNELS for axis in (1, 3)):
        raise InputError(
            f"the input '{value.name}' has shape {shown}; expected one image, [1, C, H, W] or [1, H, W, C] "
            "with 1 to 4 channels."
        )
    if shape[0] > MAX_BATCH:
        raise InputError(f"the input '{value.name}' has shape {shown}; export the model with batch 1.")
    if max(shape) > MAX_SIDE:
        raise InputError(f"the input '{value.name}' has shape {shown}; images have at most {MAX_SIDE} pixels a side.")
    if value.type.tensor_type.elem_type not in INPUT_TYPES:
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise InputError(
            f"the input '{value.name}' holds {kind}; export the model with a float input, or one of pixels (UINT8)."
        )
    return ModelInput(value.name, shape, "nchw" if shape[1] in IMAGE_CHANNELS else "nhwc")


def check_model(model: onnx.ModelProto) -> None:
    """Raise `InputError` when a skeleton does not pass the ONNX checker."""
    try:
        onnx.checker.check_model(without_weights(model))
    except (onnx.checker.ValidationError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"the model does not pass the ONNX checker: {first}") from error


def _shown_shape(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return "[" + ", ".join(d.dim_param or (str(d.dim_value) if d.dim_value else "?") for d in dims) + "]"
