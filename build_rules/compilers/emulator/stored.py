"""ONNX models that came inside another file, a HAR or a HEF: they must hold everything they compute with.

A tensor can say that its data lie in some file (`TensorProto.external_data`), and both onnx and onnxruntime read that
file. A hostile archive could so bring any file of the machine into the result; a model of ours never has such tensors.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from build_rules.errors import InputError
from build_rules.onnx_file.extent import check_extent

__all__ = ["read_stored"]


def read_stored(data: bytes) -> onnx.ModelProto:
    """Return a model from its bytes. Raises `InputError` when it is none, too large, or keeps data in other files."""
    check_extent(data)
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise InputError("the network inside is not an ONNX model") from error
    if not model.HasField("graph"):
        raise InputError("the network inside has no graph")
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"the network inside wants the data of '{tensor.name}' read from another file of this machine, which "
                "no network of the emulator does; do not use this file"
            )
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a model, in whatever message it hides: subgraphs, functions, sparse and training data."""
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        if isinstance(message, onnx.TensorProto):
            yield message
            continue
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting += [value] if isinstance(value, Message) else value
