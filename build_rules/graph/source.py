"""The ONNX as the other files of this room may rely on it.

After `load_source`: the model passes the ONNX checker, holds its weights, has no local functions, its nodes are sorted
so that inputs come first, every node has a name of its own, and there is exactly one image input of static shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from build_rules.endpoints import ModelInput
from build_rules.errors import InputError
from build_rules.graph.document import SourceDocument, parse_document
from build_rules.graph.external import load_external_data
from build_rules.graph.order import name_nodes, sort_nodes

__all__ = ["Source", "image_input", "load_source", "static_shape"]

IMAGE_CHANNELS = (1, 3, 4)
INPUT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8)


@dataclass(frozen=True)
class Source:
    """A checked model, its image input, the metadata it carries, and the files beside it that hold weights."""

    model: onnx.ModelProto
    input: ModelInput
    document: SourceDocument
    external_files: tuple[Path, ...] = ()


def load_source(onnx_path: Path) -> Source:
    """Load and check an ONNX file, external weights beside it included.

    Raises `InputError` (whose message the caller prefixes with the file's name) for anything the room cannot work on.
    """
    try:
        model = onnx.load_model_from_string(onnx_path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}).") from error
    except DecodeError as error:
        raise InputError("this is not a complete ONNX file; export or download the model again.") from error
    if not model.graph.node or not model.graph.output:
        raise InputError("this is not an ONNX model (it has no graph); export or download the model again.")
    document = parse_document((entry.key, entry.value) for entry in model.metadata_props)
    image = image_input(model.graph)
    external_files = load_external_data(model, onnx_path.parent)
    if model.functions:
        # Exporters keep a module as a local function; the walk and the compiler want the plain operators.
        model = onnx.inliner.inline_local_functions(model)
    sort_nodes(model.graph)
    name_nodes(model.graph)
    _check(model)
    return Source(model, image, document, external_files)


def image_input(graph: onnx.GraphProto) -> ModelInput:
    """Return the graph's only input: rank 4, batch 1, static, NCHW or NHWC with 1, 3 or 4 channels."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise InputError(f"the model must have exactly one image input, found {names}; export it with only the image.")
    value = inputs[0]
    shown = _shown_shape(value)
    shape = static_shape(value)
    if shape is None:
        raise InputError(
            f"the input '{value.name}' has the dynamic shape {shown}; the compiler needs a fixed one: "
            "export with a static shape and batch 1 (Ultralytics: dynamic=False, imgsz=640, batch=1)."
        )
    if len(shape) != 4 or not any(shape[axis] in IMAGE_CHANNELS for axis in (1, 3)):
        raise InputError(
            f"the input '{value.name}' has shape {shown}; expected one image, [1, C, H, W] or [1, H, W, C] "
            "with 1, 3 or 4 channels."
        )
    if shape[0] != 1:
        raise InputError(f"the input '{value.name}' has shape {shown}; export the model with batch 1.")
    if value.type.tensor_type.elem_type not in INPUT_TYPES:
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise InputError(f"the input '{value.name}' holds {kind}; export the model with a float input.")
    return ModelInput(value.name, shape, "nchw" if shape[1] in IMAGE_CHANNELS else "nhwc")


def static_shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Return the shape of a value, or None when it is unknown or not fixed to positive numbers."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shape if all(size > 0 for size in shape) else None


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"the model does not pass the ONNX checker: {first}") from error


def _shown_shape(value: onnx.ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return "[" + ", ".join(d.dim_param or (str(d.dim_value) if d.dim_value else "?") for d in dims) + "]"
