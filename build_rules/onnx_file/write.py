"""A skeleton as a file: its weights go from file to file in one pass and are never in memory.

Protobuf leaves the order of fields free and its length prefixes need only sizes, so the graph is written first and its
initializers after it. A protobuf message ends at 2 GiB; a larger model gets its weights in a second file beside it,
as onnx.proto3 describes (`external_data`, with the optional `checksum`, SHA-1, so that other weights mean another
model file).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import onnx

from build_rules.onnx_file.field_reader import encode_field
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.skeleton import refer
from build_rules.onnx_file.weights import is_stored_elsewhere, range_of

__all__ = ["DATA_SUFFIX", "model_content", "write_model"]

DATA_SUFFIX = ".data"
MAX_BYTES = (1 << 31) - (1 << 20)
"""Bytes of the largest file that is written whole; protobuf's own limit is 2 GiB."""
ALIGNMENT = 4096  # what onnx.proto3 recommends for offsets, so that readers can map the file
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW = 7, 5, 9


def write_model(model: onnx.ModelProto, files: OnnxFiles, output: Path) -> None:
    """Write a skeleton whose references lie in `files`; equal models give equal bytes.

    Raises `InputError` when a file of weights becomes shorter meanwhile.
    """
    inline = model.ByteSize() + sum(range_of(t, files).size for t in _references(model.graph)) <= MAX_BYTES
    if not inline:
        with output.with_name(output.name + DATA_SUFFIX).open("wb") as data:
            model = _moved(model, files, data)
    with output.open("wb") as file:
        _write(model, files, file, inline)


def model_content(model: onnx.ModelProto, files: OnnxFiles) -> bytes:
    """Return what `write_model` writes, for models that fit into memory."""
    from io import BytesIO

    buffer = BytesIO()
    _write(model, files, buffer, inline=True)
    return buffer.getvalue()


def _references(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    return [tensor for tensor in graph.initializer if is_stored_elsewhere(tensor)]


def _write(model: onnx.ModelProto, files: OnnxFiles, file: BinaryIO, inline: bool) -> None:
    """Write the model; `inline` puts the referenced weights into it, else the references stay."""
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    del graph.initializer[:]
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    body = graph.SerializeToString(deterministic=True)
    tensors = [_Entry(tensor, files, inline) for tensor in model.graph.initializer]
    file.write(rest.SerializeToString(deterministic=True))
    file.write(encode_field(_MODEL_GRAPH, len(body) + sum(entry.size for entry in tensors)) + body)
    for entry in tensors:
        file.write(entry.head)
        if entry.data is not None:
            for chunk in entry.data.chunks():
                file.write(chunk)


class _Entry:
    """One initializer: what precedes its data, where they lie (None: they are in `head`), and the size of both."""

    def __init__(self, tensor: onnx.TensorProto, files: OnnxFiles, inline: bool) -> None:
        self.data = None
        content = tensor.SerializeToString(deterministic=True)
        if inline and is_stored_elsewhere(tensor):
            self.data = range_of(tensor, files)
            content = _head(tensor).SerializeToString(deterministic=True) + encode_field(_TENSOR_RAW, self.data.size)
        length = 0 if self.data is None else self.data.size
        self.head = encode_field(_GRAPH_INITIALIZER, len(content) + length) + content
        self.size = len(self.head) + length


def _head(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)


def _moved(model: onnx.ModelProto, files: OnnxFiles, data: BinaryIO) -> onnx.ModelProto:
    """Copy all references into one file; return the model that refers to it."""
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    for tensor in _references(moved.graph):
        data.write(b"\0" * (-data.tell() % ALIGNMENT))
        source, offset = range_of(tensor, files), data.tell()
        digest = hashlib.sha1(usedforsecurity=False)
        for chunk in source.chunks():
            digest.update(chunk)
            data.write(chunk)
        refer(tensor, Path(data.name).name, offset, source.size)
        tensor.external_data.add(key="checksum", value=digest.hexdigest())
    return moved
