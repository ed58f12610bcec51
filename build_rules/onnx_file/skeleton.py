"""An ONNX file without its weights: everything a cut is decided by, in a few hundred kilobytes.

Large stored tensors stay where they are. In the skeleton each is an external tensor (onnx.proto3: `external_data` with
`location`, `offset`, `length`) whose location is the ONNX file itself, so tensors inside the file and tensors beside
it look the same to everything that follows. A large `Constant` node becomes an initializer, which means the same.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from build_rules.errors import InputError
from build_rules.onnx_file.extent import check_extent
from build_rules.onnx_file.field_reader import LENGTH, Field, FieldReader, encode_field
from build_rules.onnx_file.onnx_files import OnnxFiles, opened

__all__ = ["LARGE", "read_skeleton", "refer"]

LARGE = 1024
"""Bytes from which on a tensor stays in its file; target shapes and slice bounds are smaller."""
MAX_BYTES = 256 << 20
"""Bytes of the largest skeleton; that of a large detector has less than one million, unless its tensors are lists."""

MAX_STRUCTURE = 32 << 20
"""Bytes of all in it that is no tensor; parsed, they take four times as many."""

MAX_TEXT = 2 << 20
"""Bytes of a metadata entry or description that a skeleton keeps."""

_MODEL_TEXTS = (6, 14)
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER = 7, 1, 5
_NODE_OUTPUT, _NODE_OP_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_TENSOR = 1, 5
_TENSOR_TYPE, _TENSOR_EXTERNAL = 2, 13
_DATA = {4: "float_data", 5: "int32_data", 6: "string_data", 7: "int64_data", 9: "raw", 10: "double", 11: "uint64"}
# Packed floats and doubles are the bytes that raw data would hold; the other lists are varints.
_RAW, _FLOATS, _DOUBLES = 9, 4, 10
_NOT_ONNX = "this is not a complete ONNX file; export or download the model again."


def read_skeleton(onnx_file: Path | OnnxFiles) -> onnx.ModelProto:
    """Return the model with references in place of its large tensors. Raises `InputError` when it is no ONNX."""
    with opened(onnx_file) as files:
        if not files.own.isprintable():
            raise InputError("the file's name is not printable text; rename it.")
        reader = FieldReader(files)
        stripped = _Stripped(reader)
        for field in reader.fields():
            if field.number == _MODEL_GRAPH and field.wire == LENGTH:
                stripped.add(_graph(reader, field, files.own), _MODEL_GRAPH)
            elif field.number in _MODEL_TEXTS and field.end - field.value > MAX_TEXT:
                continue  # whoever needs the metadata asks for them, and is told that they are too long
            else:
                stripped.keep(field)
        try:
            content = stripped.content()
            _check_extent(content)
            model = onnx.ModelProto()
            model.ParseFromString(content)
            return model
        except DecodeError as error:
            raise InputError(_NOT_ONNX) from error


def _check_extent(content: bytes) -> None:
    try:
        check_extent(content)
    except InputError as error:
        raise InputError(f"{error}; export the model again.") from error


class _Stripped:
    """A message in the making; fields that are kept are read from the file in runs."""

    def __init__(self, reader: FieldReader) -> None:
        self._reader = reader
        self._parts: list[bytes] = []
        self._run = (0, 0)
        self._bytes = 0
        self._structure = 0

    def keep(self, field: Field, is_tensor: bool = False) -> None:
        if field.start != self._run[1]:
            self._flush()
            self._run = (field.start, field.start)
        self._count(field.end - field.start, is_tensor)
        self._run = (self._run[0], field.end)

    def add(self, value: bytes, number: int) -> None:
        self._flush()
        self._count(len(value), True)
        self._parts += (encode_field(number, len(value)), value)

    def content(self) -> bytes:
        self._flush()
        return b"".join(self._parts)

    def _flush(self) -> None:
        if self._run[0] < self._run[1]:
            self._parts.append(self._reader.read(*self._run))
        self._run = (0, 0)

    def _count(self, size: int, is_tensor: bool) -> None:
        self._bytes += size
        self._structure += 0 if is_tensor else size
        for count, limit in ((self._bytes, MAX_BYTES), (self._structure, MAX_STRUCTURE)):
            if count > limit:
                raise InputError(f"without its weights this model still has over {limit >> 20} MiB; export it again.")


def _graph(reader: FieldReader, graph: Field, location: str) -> bytes:
    stripped = _Stripped(reader)
    for field in reader.fields(graph.value, graph.end):
        large = field.wire == LENGTH and field.end - field.value > LARGE
        tensor = None
        if large and field.number == _GRAPH_INITIALIZER:
            tensor = _tensor(reader, field, location)
        elif large and field.number == _GRAPH_NODE:
            tensor = _constant(reader, field, location)
        if tensor is None:
            stripped.keep(field, field.number == _GRAPH_INITIALIZER)
        else:
            stripped.add(tensor.SerializeToString(), _GRAPH_INITIALIZER)
    return stripped.content()


def _tensor(reader: FieldReader, tensor: Field, location: str) -> onnx.TensorProto | None:
    """Return a reference to the tensor's data, None when they are not stored as the raw bytes would be."""
    fields = list(reader.fields(tensor.value, tensor.end))
    data = [field for field in fields if field.number in _DATA]
    kinds = [reader.varint(field) for field in fields if field.number == _TENSOR_TYPE and field.wire != LENGTH]
    raw_like = {_RAW: True, _FLOATS: kinds == [onnx.TensorProto.FLOAT], _DOUBLES: kinds == [onnx.TensorProto.DOUBLE]}
    if len(data) != 1 or data[0].wire != LENGTH or not raw_like.get(data[0].number, False):
        return None
    if any(field.number == _TENSOR_EXTERNAL for field in fields):
        return None
    head = onnx.TensorProto()
    try:
        head.ParseFromString(b"".join(reader.read(f.start, f.end) for f in fields if f is not data[0]))
    except DecodeError as error:
        raise InputError(_NOT_ONNX) from error
    refer(head, location, data[0].value, data[0].end - data[0].value)
    return head


def _constant(reader: FieldReader, node: Field, location: str) -> onnx.TensorProto | None:
    """Return the value of a `Constant` node as an initializer of its output's name, None for any other node."""
    fields = list(reader.fields(node.value, node.end))
    texts = {f.number: reader.read(f.value, f.end) for f in fields if f.number in (_NODE_OP_TYPE, _NODE_DOMAIN)}
    outputs = [reader.read(f.value, f.end) for f in fields if f.number == _NODE_OUTPUT]
    attributes = [f for f in fields if f.number == _NODE_ATTRIBUTE and f.wire == LENGTH]
    if texts.get(_NODE_OP_TYPE) != b"Constant" or texts.get(_NODE_DOMAIN, b"") not in (b"", b"ai.onnx"):
        return None
    if len(outputs) != 1 or len(attributes) != 1:
        return None
    inner = list(reader.fields(attributes[0].value, attributes[0].end))
    names = [reader.read(f.value, f.end) for f in inner if f.number == _ATTRIBUTE_NAME]
    values = [f for f in inner if f.number == _ATTRIBUTE_TENSOR and f.wire == LENGTH]
    if names != [b"value"] or len(values) != 1:
        return None
    tensor = _tensor(reader, values[0], location)
    if tensor is not None:
        tensor.name = outputs[0].decode("utf-8", "replace")
    return tensor


def refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Make a tensor stand for `length` bytes at `offset` of the file `location`, which lies in the model's folder."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = onnx.TensorProto.EXTERNAL
