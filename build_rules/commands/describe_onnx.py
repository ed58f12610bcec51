"""What any ONNX says about itself, and where it would be cut, if that can be told. Nothing is run or proved here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from build_rules.commands.budget import budget_facts, endpoint_bytes
from build_rules.declared.input_table import input_beside
from build_rules.declared.metadata_table import metadata_beside
from build_rules.declared.split_table import split_beside
from build_rules.errors import InputError
from build_rules.graph.find.find_endpoints import find_endpoints
from build_rules.graph.load.foreign import refuse_foreign_operators, refuse_foreign_types
from build_rules.graph.load.graph_view import view_graph, with_outputs
from build_rules.graph.load.node_order import name_nodes
from build_rules.graph.load.source import prepare
from build_rules.graph.prove.cut import cut_graph
from build_rules.graph.tail.attention import find_attention
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.skeleton import read_skeleton
from build_rules.onnx_file.weights import all_tensors
from build_rules.presets import PRESETS
from build_rules.records.split_json import Endpoint
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.image_size import image_sizes
from build_rules.trainer.read_document import read_document

__all__ = ["describe_onnx"]

Facts = dict[str, Any]


def describe_onnx(path: Path) -> Facts:
    """Return the facts of any ONNX file; weights are left where they are. Raises `InputError` for other files."""
    with OnnxFiles(path) as files:
        return _describe(files)


def _describe(files: OnnxFiles) -> Facts:
    path = files.path
    try:
        model = read_skeleton(files)
    except InputError as error:
        raise error.within(path) from error
    if not model.HasField("graph"):
        raise InputError(f"{path}: this is not an ONNX model (it has no graph); export or download the model again.")
    trainer, fault = _document(files)
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
        "external_files": _external_files(model, path.name),
        "metadata_keys": sorted({entry.key for entry in model.metadata_props}),
        "name": trainer.name,
        "decoder_version": trainer.decoder_version,
        "labels": len(trainer.labels),
    }
    return facts | (_cut_facts(model, files, trainer) if fault is None else _without_endpoints(model, fault))


def _document(files: OnnxFiles) -> tuple[TrainerDocument, str | None]:
    """Return the metadata, with `[metadata]` of a `model.toml` beside the file, and what is wrong with them."""
    try:
        return read_document(files, metadata_beside(files.path)), None
    except InputError as error:
        return TrainerDocument(), str(error).removeprefix(f"{files.path}: ")


def _value(value: onnx.ValueInfoProto) -> Facts:
    container = value.type.WhichOneof("value") or "unknown"
    if container != "tensor_type":
        return {"name": value.name, "dtype": container.removesuffix("_type"), "shape": None}
    tensor = value.type.tensor_type
    kinds, kind = onnx.TensorProto.DataType, tensor.elem_type
    return {
        "name": value.name,
        "dtype": kinds.Name(kind).lower() if kind in kinds.values() else f"unknown ({kind})",
        "shape": [_size(dim) for dim in tensor.shape.dim] if tensor.HasField("shape") else None,
    }


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    return int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?"


def _external_files(model: onnx.ModelProto, own: str) -> list[str]:
    entries = (entry for tensor in all_tensors(model) for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"} - {own})


def _cut_facts(model: onnx.ModelProto, files: OnnxFiles, trainer: TrainerDocument) -> Facts:
    """Return the endpoints as the split would find them, with `[split]` of a `model.toml` beside the file."""
    try:
        choice, shape = split_beside(files.path), input_beside(files.path).shape
        source = prepare(model, files, image_sizes(trainer), need_weights=False, shape=shape)
        view = with_outputs(view_graph(source), choice.outputs)
        refuse_foreign_operators(view, choice.named)
        head = find_endpoints(view, trainer, choice)
        cut = cut_graph(view, [endpoint.tensor for endpoint in head.endpoints])
        refuse_foreign_types(view, cut.graph.node)
    except InputError as error:
        return _without_endpoints(model, str(error), error.paste)
    except Exception as error:  # any file may be called .onnx, and not every way to be wrong is foreseen
        return _without_endpoints(model, f"unexpected {type(error).__name__}: {error}")
    outputs = {name: (1, *view.shapes[name][1:]) for name in view.outputs}
    return {
        "found_by": head.found_by,
        "attention": [asdict(block) for block in find_attention(cut.graph.node)],
        "endpoints": list(_rows(head.endpoints)),
        "bytes_per_frame": budget_facts(head.endpoints, outputs),
    }


def _without_endpoints(model: onnx.ModelProto, reason: str, proposal: str = "") -> Facts:
    name_nodes(model.graph)
    attention = [asdict(block) for block in find_attention(model.graph.node)]
    facts = {"attention": attention, "endpoints": [], "endpoints_not_found": reason}
    return facts | ({"candidates": [{"line": line} for line in proposal.splitlines()]} if proposal else {})


def _rows(endpoints: Iterable[Endpoint]) -> Iterable[Facts]:
    for endpoint in endpoints:
        yield {
            "name": endpoint.name,
            "role": endpoint.role,
            "stride": endpoint.stride,
            "shape": list(endpoint.shape),
            "encoding": endpoint.encoding,
            "activation": endpoint.activation,
            **{f"{name}_bytes": endpoint_bytes(endpoint, preset) for name, preset in PRESETS.items()},
            "node": endpoint.node,
        }
