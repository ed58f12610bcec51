"""The bytes of tensors that stay in their files: the model's own, or external weights beside it.

`TensorProto.external_data` names a file by a path relative to the model (onnx.proto3). A hostile model can name any
file of the machine there, so every location is checked, symbolic links resolved, before it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import numpy.typing as npt
import onnx

from build_rules.errors import InputError
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.skeleton import LARGE, refer
from build_rules.regular_file import unwatched

__all__ = [
    "HALVES",
    "LISTS",
    "FileRange",
    "Reading",
    "all_tensors",
    "as_floats",
    "check_weights",
    "is_readable",
    "is_stored_elsewhere",
    "load_tensor",
    "place_weights",
    "range_of",
    "refer_as_floats",
]

MAX_WEIGHTS = 1 << 30
"""Bytes of all large tensors together, as often as they are referred to, unless so many lie on the disk; YOLOv8x has
a quarter."""
BLOCK = 512
"""What the system counts the space in that a file takes, whatever its file system does (stat(2))."""
MAX_LOADED = 64 << 20
"""Bytes of all tensors that are read into the skeleton: small ones, lists, those in attributes and branches."""
MAX_LIST = 64 * LARGE
LISTS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
"""Whole numbers are sizes, places and axes, which whoever reads the graph wants to see, however many."""

HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
"""Types of two bytes whose values are all floats."""
STORED = "stored"
"""Our own key beside `location`, `offset` and `length`: the type in the file, where the tensor is said to be float."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileRange:
    """`length` bytes at `offset` of a file; those of `stored`, one of `HALVES`, are read as floats, twice as many."""

    files: OnnxFiles
    location: str
    offset: int
    length: int
    stored: int | None = None

    @property
    def size(self) -> int:
        """Return how many bytes reading gives."""
        return self.length if self.stored is None else 2 * self.length

    def read(self) -> bytes:
        """Return the bytes. Raises `InputError` when the file has become shorter."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces. Raises `InputError` when the file has become shorter."""
        for begin in range(0, self.length, _CHUNK):
            wanted = min(self.length - begin, _CHUNK)
            chunk = self.files.read(self.location, self.offset + begin, wanted)
            if len(chunk) < wanted:
                place = self.files.folder / self.location
                raise InputError(f"{place} became shorter while it was read; run again.")
            yield chunk if self.stored is None else _widened(chunk, self.stored)


def _widened(halves: bytes, kind: int) -> bytes:
    if kind == onnx.TensorProto.FLOAT16:
        return np.frombuffer(halves, "<f2").astype("<f4").tobytes()
    # A BFLOAT16 is the upper half of a float.
    return (np.frombuffer(halves, "<u2").astype("<u4") << 16).tobytes()


def is_stored_elsewhere(tensor: onnx.TensorProto) -> bool:
    """Say whether a tensor of the skeleton is only a reference."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def is_readable(tensor: onnx.TensorProto) -> bool:
    """Say whether the data of a tensor that `place_weights` has seen can be read."""
    return not is_stored_elsewhere(tensor) or bool(tensor.external_data)


def range_of(tensor: onnx.TensorProto, files: OnnxFiles) -> FileRange:
    """Return where the bytes of a tensor lie that `place_weights` has checked."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    stored = int(entries[STORED]) if STORED in entries else None
    return FileRange(files, entries["location"], int(entries["offset"]), int(entries["length"]), stored)


def refer_as_floats(tensor: onnx.TensorProto) -> None:
    """Make a reference to halves, which `place_weights` has seen, one to floats; reading it widens them."""
    if is_readable(tensor):
        tensor.external_data.add(key=STORED, value=str(tensor.data_type))
    tensor.data_type = onnx.TensorProto.FLOAT


def as_floats(tensor: onnx.TensorProto) -> npt.NDArray[np.float32]:
    """Return the values of a tensor of halves that has its data."""
    return np.asarray(onnx.numpy_helper.to_array(tensor)).astype(np.float32)


def load_tensor(tensor: onnx.TensorProto, files: OnnxFiles) -> onnx.TensorProto:
    """Return the tensor with its data."""
    if not is_stored_elsewhere(tensor):
        return tensor
    loaded = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type)
    loaded.raw_data = range_of(tensor, files).read()
    if tensor.HasField("name"):
        loaded.name = tensor.name
    return loaded


Reading = Callable[[Path], None]
"""Is told of a file just before it is read."""


def place_weights(
    model: onnx.ModelProto, files: OnnxFiles, need_large: bool = True, reading: Reading = unwatched
) -> tuple[Path, ...]:
    """Check every reference of a skeleton and load the small tensors; return the files beside the model, sorted.

    Afterwards only initializers of the main graph are references. Raises `InputError` for a location outside the
    model's folder, one that cannot be read, and one of another size than the
    tensor. Without `need_large`, the files of large initializers may be missing; those tensors are then unreadable.
    """
    _constants_to_initializers(model.graph)
    # The file itself may be a link to another place: the user made it, not the model.
    sizes = {files.own: files.stat(files.own).st_size}
    left = MAX_LOADED
    for tensor in filter(is_stored_elsewhere, model.graph.initializer):
        may_be_missing = not need_large and (_bytes_of(tensor) or 0) > LARGE
        _place(tensor, files, sizes, reading, may_be_missing)
        limit = MAX_LIST if tensor.data_type in LISTS else LARGE
        if is_readable(tensor) and range_of(tensor, files).length <= limit:
            left = _load(tensor, files, left)
    for tensor in filter(is_stored_elsewhere, _inner_tensors(model)):
        _place(tensor, files, sizes, reading)
        left = _load(tensor, files, left)
    return tuple(sorted(files.folder / location for location in sizes if location != files.own))


def _load(tensor: onnx.TensorProto, files: OnnxFiles, left: int) -> int:
    """Read the tensor into the model, and return how many of the bytes that are `left` then are."""
    left -= range_of(tensor, files).length
    if left < 0:
        raise InputError(
            f"more than {MAX_LOADED >> 20} MiB of external weights are small tensors or belong to attributes and "
            f"branches ('{tensor.name}'), as in no detector; export the model again."
        )
    tensor.CopyFrom(load_tensor(tensor, files))
    return left


def check_weights(model: onnx.ModelProto, files: OnnxFiles) -> None:
    """Raise `InputError` when the references of a model, which `place_weights` has seen, make more than `MAX_WEIGHTS`.

    A file of holes costs nobody anything, nor to name the same bytes a thousand times; to run and to write them does.
    What really lies on the disk may be larger.
    """
    tensors = [tensor for tensor in filter(is_stored_elsewhere, model.graph.initializer) if is_readable(tensor)]
    ranges = [range_of(tensor, files) for tensor in tensors]
    total = sum(part.length for part in ranges)
    if total <= MAX_WEIGHTS:
        return
    on_disk = sum(files.stat(location).st_blocks * BLOCK for location in {part.location for part in ranges})
    if total > on_disk:
        raise InputError(
            f"its weights have {total} bytes in all, more than {MAX_WEIGHTS >> 20} MiB and than the {on_disk} that lie "
            "on the disk: they are named several times, or a file of them has holes; export the model again."
        )


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Move large external values of `Constant` nodes to the initializers, as the skeleton does with inner ones."""
    moved = []
    for index, node in enumerate(graph.node):
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            if is_stored_elsewhere(tensor) and (_bytes_of(tensor) or 0) > LARGE:
                tensor.name = node.output[0]
                moved.append((index, tensor))
    if moved:
        stored = [*(tensor for _, tensor in moved), *graph.initializer]
        kept = onnx.GraphProto(initializer=stored)
        del graph.initializer[:]
        graph.initializer.extend(kept.initializer)
    for index, _ in reversed(moved):
        del graph.node[index]


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor stored in the model: initializers and attributes, in subgraphs and functions too."""
    yield from model.graph.initializer
    yield from _inner_tensors(model)


def _inner_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield all tensors but the initializers of the main graph."""
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while nodes:
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from graph.initializer
                for sparse in graph.sparse_initializer:
                    yield from (sparse.values, sparse.indices)
                nodes.extend(graph.node)


def _place(
    tensor: onnx.TensorProto, files: OnnxFiles, sizes: dict[str, int], reading: Reading, may_be_missing: bool = False
) -> None:
    """Check one reference, and say its extent in full where the file leaves it out."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = str(entries.get("location", ""))
    where = f"the external weights of '{tensor.name}' lie in '{location}'"
    if location not in sizes:
        file = _file_of(location, files.folder, tensor.name, where)
        if may_be_missing and not file.exists():
            del tensor.external_data[:]
            return
        reading(files.folder / location)
        if not file.exists():
            raise InputError(f"{where}, which does not exist; copy it beside the model.")
        files.admit(location, file, f"{where}, which")
        sizes[location] = files.stat(location).st_size
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or sizes[location] - offset)
    except ValueError as error:
        raise InputError(f"{where}, but offset or length is not a number; export the model again.") from error
    if offset < 0 or length < 0 or offset + length > sizes[location]:
        raise InputError(
            f"{where}, bytes {offset} to {offset + length}, but the file has {sizes[location]}; copy it again."
        )
    needed = _bytes_of(tensor)
    if needed is not None and needed != length and "length" in entries:
        raise InputError(f"'{tensor.name}' {list(tensor.dims)} needs {needed} bytes, but {length} are stored.")
    if needed is not None and needed > length:
        raise InputError(f"{where}, which has {length} bytes for it, but {needed} are needed; copy it again.")
    refer(tensor, location, offset, length if needed is None else needed)


def _file_of(location: str, folder: Path, name: str, where: str) -> Path:
    if not location:
        raise InputError(f"the external weights of '{name}' name no file; export the model again.")
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or "\0" in location:
        raise InputError(f"{where}, an absolute path; only files beside the model are read: export the model again.")
    try:
        target, root = (folder / location).resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{where}, which cannot be found ({error}); copy it beside the model.") from error
    if root not in target.parents:
        raise InputError(f"{where}, outside the model's folder; only files beside the model are read.")
    return target


def _bytes_of(tensor: onnx.TensorProto) -> int | None:
    """Return how many bytes a tensor of this type and shape has, None for types without whole bytes."""
    try:
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, TypeError) as error:
        raise InputError(f"the tensor '{tensor.name}' has an unknown type; export the model again.") from error
    if tensor.data_type in _PACKED or any(size < 0 for size in tensor.dims):
        return None
    return int(prod(tensor.dims)) * kind.itemsize


_PACKED = tuple(
    number for name, number in onnx.TensorProto.DataType.items() if name.endswith(("INT4", "4E2M1", "INT2", "STRING"))
)
