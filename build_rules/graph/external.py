"""External weights: read only what lies in the model's own folder.

`TensorProto.external_data` names a file by a path relative to the model (onnx.proto3). A hostile model can name any
file of the machine there, so every location is checked, symbolic links resolved, before the first byte is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx.external_data_helper import load_external_data_for_tensor

from build_rules.errors import InputError

__all__ = ["all_tensors", "load_external_data"]


def load_external_data(model: onnx.ModelProto, folder: Path) -> tuple[Path, ...]:
    """Bring all external tensors of `model` into it; return the files they came from, sorted.

    Raises `InputError` for a location outside `folder`, or one that cannot be read.
    """
    external = [t for t in all_tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    files = sorted({_check_location(tensor, folder) for tensor in external})
    for tensor in external:
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise InputError(f"the external weights of '{tensor.name}' cannot be read: {error}") from error
        tensor.ClearField("data_location")
        del tensor.external_data[:]
    return tuple(files)


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor stored in the model: initializers and attributes, in subgraphs and functions too."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs.extend(attribute.graphs)
            if attribute.HasField("g"):
                graphs.append(attribute.g)


def _check_location(tensor: onnx.TensorProto, folder: Path) -> Path:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = str(entries.get("location", ""))
    where = f"the external weights of '{tensor.name}' lie in '{location}'"
    if not location:
        raise InputError(f"the external weights of '{tensor.name}' name no file; export the model again.")
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or "\0" in location:
        raise InputError(f"{where}, an absolute path; only files beside the model are read: export the model again.")
    target, root = (folder / location).resolve(), folder.resolve()
    if root not in target.parents:
        raise InputError(f"{where}, outside the model's folder; only files beside the model are read.")
    if not target.is_file():
        raise InputError(f"{where}, which does not exist; copy it beside the model.")
    _check_extent(entries, target.stat().st_size, where)
    return Path(folder, location)


def _check_extent(entries: dict[str, str], size: int, where: str) -> None:
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "0"))
    except ValueError as error:
        raise InputError(f"{where}, but offset or length is not a number; export the model again.") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise InputError(f"{where}, bytes {offset} to {offset + length}, but the file has {size}; copy it again.")
