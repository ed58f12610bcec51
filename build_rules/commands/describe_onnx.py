"""What any ONNX says about itself, and where it would be cut, if that can be told. Nothing is run or proved here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from build_rules.endpoints import Endpoint
from build_rules.errors import InputError
from build_rules.graph.attention import find_attention
from build_rules.graph.constants import small_tensor
from build_rules.graph.cut import cut_graph
from build_rules.graph.document import SourceDocument, parse_document
from build_rules.graph.endpoints import find_endpoints
from build_rules.graph.external import all_tensors, load_external_data
from build_rules.graph.order import name_nodes, sort_nodes
from build_rules.graph.source import image_input
from build_rules.graph.view import view_graph

__all__ = ["describe_onnx"]

Facts = dict[str, Any]


def describe_onnx(path: Path) -> Facts:
    """Return the facts of any ONNX file; external weights are left where they are. Raises `InputError` for others."""
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise InputError(f"{path}: this is not a complete ONNX file; export or download the model again.") from error
    if not model.HasField("graph"):
        raise InputError(f"{path}: this is not an ONNX model (it has no graph); export or download the model again.")
    document, fault = _document(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    facts = {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "ir_version": model.ir_version,
        "opset": opsets.pop("ai.onnx", None),
        "other_opsets": [{"domain": domain, "version": version} for domain, version in opsets.items()],
        "nodes": len(model.graph.node),
        "inputs": [_value(value) for value in model.graph.input if value.name not in stored],
        "outputs": [_value(value) for value in model.graph.output],
        "external_files": _external_files(model),
        "metadata_keys": sorted({entry.key for entry in model.metadata_props}),
        "name": document.document.get("name"),
        "decoder_version": document.document.get("decoder_version"),
        "labels": len(document.labels),
    }
    return facts | (_cut_facts(model, path.parent, document) if fault is None else _not_found(model, fault))


def _document(model: onnx.ModelProto) -> tuple[SourceDocument, str | None]:
    try:
        return parse_document((entry.key, entry.value) for entry in model.metadata_props), None
    except InputError as error:
        return SourceDocument({}), str(error)


def _value(value: onnx.ValueInfoProto) -> Facts:
    kind = value.type.WhichOneof("value") or "unknown"
    if kind != "tensor_type":
        return {"name": value.name, "dtype": kind.removesuffix("_type"), "shape": None}
    tensor = value.type.tensor_type
    known = tensor.elem_type in onnx.TensorProto.DataType.values()
    return {
        "name": value.name,
        "dtype": onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if known else f"unknown ({tensor.elem_type})",
        "shape": [_size(dim) for dim in tensor.shape.dim] if tensor.HasField("shape") else None,
    }


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?"


def _external_files(model: onnx.ModelProto) -> list[str]:
    entries = (entry for tensor in all_tensors(model) for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})


def _cut_facts(model: onnx.ModelProto, folder: Path, document: SourceDocument) -> Facts:
    """Return the endpoints as the split would find them."""
    try:
        model = _prepared(model, folder)
        view = view_graph(model, image_input(model.graph))
        endpoints = find_endpoints(view, document)
        cut = cut_graph(view, [endpoint.tensor for endpoint in endpoints])
    except InputError as error:
        return _not_found(model, str(error))
    except Exception as error:  # any file may be called .onnx, and not every way to be wrong is foreseen
        return _not_found(model, f"unexpected {type(error).__name__}: {error}")
    return {"attention": list(find_attention(cut.graph.node)), "endpoints": list(_rows(endpoints))}


def _prepared(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return the model as the walk needs it: large weights are no part of that, so their files stay closed."""
    external = False
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL and not small_tensor(tensor):
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
            external = True
    load_external_data(model, folder)
    if not external:  # the checker would miss those weights
        try:
            onnx.checker.check_model(model)
        except (onnx.checker.ValidationError, ValueError) as error:
            raise InputError(f"the model does not pass the ONNX checker: {str(error).strip()}") from error
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    sort_nodes(model.graph)
    name_nodes(model.graph)
    return model


def _not_found(model: onnx.ModelProto, reason: str) -> Facts:
    name_nodes(model.graph)
    attention = list(find_attention(model.graph.node))
    return {"attention": attention, "endpoints": [], "endpoints_not_found": reason}


def _rows(endpoints: Iterable[Endpoint]) -> Iterable[Facts]:
    for endpoint in endpoints:
        yield {
            "name": endpoint.name,
            "role": endpoint.role,
            "stride": endpoint.stride,
            "shape": list(endpoint.shape),
            "encoding": endpoint.encoding,
            "activation": endpoint.activation,
            "node": endpoint.node,
        }
