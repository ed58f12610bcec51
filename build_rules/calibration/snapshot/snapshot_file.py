"""The calibration snapshot: what it says about itself, its samples, and how one is written.

A safetensors file with one tensor per model input: `uint8`, N x C x H x W, raw pixels in [0, 255], geometry applied,
normalization not. Its `__metadata__` (strings; nested values are JSON) says everything a consumer needs, and a consumer
assumes nothing. Source: EdgeFirst Studio manual, page "Calibration Snapshot", sections "Anatomy of a Snapshot" and
"Embedded Metadata Schema". Older snapshots hold `float32` in [0, 1]; they are read when their metadata says exactly
that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build_rules.atomic_file import replacing
from build_rules.calibration.snapshot.safetensors_file import SafetensorsHeader, encode_header, read_header, shortened
from build_rules.errors import InputError
from build_rules.records.normalization import Normalization

__all__ = [
    "Snapshot",
    "StoredTensor",
    "canonical_json",
    "hash_params",
    "open_snapshot",
    "read_samples",
    "samples",
    "verify_content",
    "write_snapshot",
]

# dtype in the metadata -> (element type of safetensors, value range)
_KINDS = {"uint8": ("U8", (0.0, 255.0)), "float32": ("F32", (0.0, 1.0))}
_REQUIRED = (
    "params",
    "param_hash",
    "tensor_names",
    "dtype",
    "value_range",
    "layout",
    "normalization",
    "content_sha256",
)
_BLOCK_BYTES = 1 << 20
# Far beyond any honest mean or scale, and safe to divide and to turn into a float.
_LARGEST = 1e30


@dataclass(frozen=True)
class StoredTensor:
    """The samples of one model input: shape (N, C, H, W), and where its bytes lie in the file."""

    name: str
    shape: tuple[int, int, int, int]
    begin: int
    end: int


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot: the checked metadata; samples stay on disk.

    `tensors` are in the order of `tensor_names`, `dtype` is `uint8` or `float32`, `value_range` goes with it, `layout`
    is `NCHW`, `normalization` what the model expects of pixels (it is not applied), `count` the number of samples of
    every tensor, `params` the parameter set, `metadata` the whole string map. `producer` may be unknown.
    """

    path: Path
    tensors: tuple[StoredTensor, ...]
    dtype: str
    layout: str
    value_range: tuple[float, float]
    normalization: Normalization
    params: Mapping[str, Any]
    param_hash: str
    count: int
    content_sha256: str
    producer: str | None
    metadata: Mapping[str, str]

    def tensor(self, name: str) -> StoredTensor | None:
        """Return the tensor of the model input `name`, None when there is none."""
        return next((tensor for tensor in self.tensors if tensor.name == name), None)


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and no spaces: the text that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_params(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a parameter set's JSON text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def open_snapshot(path: Path) -> Snapshot:
    """Read and check everything but the samples.

    Raises `InputError` naming the file and the key when a required key is missing, malformed, or contradicts the stored
    tensors. Whether the samples are undamaged is `verify_content`'s question, whether they fit a model
    `geometry.check_geometry`'s.
    """
    header = read_header(path)
    metadata = header.metadata
    for key in _REQUIRED:
        if key not in metadata:
            raise InputError(
                f"{path}: the metadata has no {key!r}, which a calibration snapshot must have; export it again."
            )
    dtype, value_range = _read_kind(path, metadata)
    tensors = _read_tensors(path, header, _KINDS[dtype][0])
    count = tensors[0].shape[0]
    if _optional_int(path, metadata, "count_actual", count) != count:
        raise _wrong(path, "count_actual", f"is {metadata['count_actual']} but {count} samples are stored")
    return Snapshot(
        path=path,
        tensors=tensors,
        dtype=dtype,
        layout=metadata["layout"],
        value_range=value_range,
        normalization=_read_normalization(path, metadata, tensors),
        params=_read_params(path, metadata),
        param_hash=metadata["param_hash"],
        count=count,
        content_sha256=_read_digest(path, metadata),
        producer=metadata.get("producer"),
        metadata=metadata,
    )


def _wrong(path: Path, key: str, what: str) -> InputError:
    return InputError(f"{path}: the metadata's {key!r} {shortened(what)}; export the snapshot again.")


def _parse(path: Path, metadata: Mapping[str, str], key: str) -> Any:
    try:
        value = json.loads(metadata[key])
        canonical_json(value)  # refuses NaN and infinity, which Python's reader lets through
        return value
    except (ValueError, RecursionError) as error:
        raise _wrong(path, key, f"is not JSON ({error})") from error


def _optional_int(path: Path, metadata: Mapping[str, str], key: str, default: int) -> int:
    value = _parse(path, metadata, key) if key in metadata else default
    if type(value) is not int:
        raise _wrong(path, key, f"is {metadata[key]!r}, not an integer")
    return value


def _read_kind(path: Path, metadata: Mapping[str, str]) -> tuple[str, tuple[float, float]]:
    dtype, layout = metadata["dtype"], metadata["layout"]
    if dtype not in _KINDS:
        raise _wrong(path, "dtype", f"is {dtype!r} (expected {' or '.join(_KINDS)})")
    if layout != "NCHW":
        raise _wrong(path, "layout", f"is {layout!r} (expected 'NCHW')")
    expected = _KINDS[dtype][1]
    value_range = _parse(path, metadata, "value_range")
    if value_range != list(expected) or not all(map(_number, value_range)):
        raise _wrong(path, "value_range", f"is {metadata['value_range']!r} (expected {list(expected)} for {dtype})")
    return dtype, expected


def _read_tensors(path: Path, header: SafetensorsHeader, element: str) -> tuple[StoredTensor, ...]:
    names = _parse(path, header.metadata, "tensor_names")
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) for name in names)
        or len({*names}) != len(names)
    ):
        raise _wrong(path, "tensor_names", f"is {names!r}, not a list of different names")
    stored = {entry.name: entry for entry in header.entries}
    tensors: list[StoredTensor] = []
    for name in names:
        entry = stored.get(name)
        if entry is None:
            raise _wrong(
                path,
                "tensor_names",
                f"lists {name!r}, which is not stored (stored: {', '.join(sorted(stored)) or 'nothing'})",
            )
        if entry.dtype != element:
            raise _wrong(
                path, "dtype", f"is {header.metadata['dtype']!r} but tensor {name!r} is stored as {entry.dtype}"
            )
        if len(entry.shape) != 4 or 0 in entry.shape:
            raise _wrong(path, "layout", f"is NCHW but tensor {name!r} has shape {list(entry.shape)}")
        if tensors and entry.shape[0] != tensors[0].shape[0]:
            raise _wrong(
                path,
                "tensor_names",
                f"lists {name!r} with {entry.shape[0]} samples, but {names[0]!r} has {tensors[0].shape[0]}",
            )
        n, c, h, w = entry.shape
        tensors.append(StoredTensor(name, (n, c, h, w), entry.begin, entry.end))
    return tuple(tensors)


def _read_params(path: Path, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    params = _parse(path, metadata, "params")
    if not isinstance(params, dict):
        raise _wrong(path, "params", f"is {params!r}, not a mapping")
    # The manual fixes "sorted keys" and no more: accept the text as stored, our compact form, and Python's default
    # spacing.
    texts = (metadata["params"], canonical_json(params), json.dumps(params, sort_keys=True))
    if metadata["param_hash"] not in map(hash_params, texts):
        raise _wrong(
            path,
            "param_hash",
            f"is {metadata['param_hash']!r}, which is not the hash of params ({hash_params(texts[1])})",
        )
    return params


def _read_normalization(path: Path, metadata: Mapping[str, str], tensors: tuple[StoredTensor, ...]) -> Normalization:
    value = _parse(path, metadata, "normalization")
    if not isinstance(value, dict) or not {"scale", "mean", "std"} <= value.keys():
        raise _wrong(path, "normalization", "lacks scale, mean or std")
    scale, mean, std = value["scale"], value["mean"], value["std"]
    if not _positive(scale):
        raise _wrong(path, "normalization", f"has scale {scale!r}, not a positive number")
    # One normalization for several inputs is that of the images among them; which these are, the model knows.
    channels = list(dict.fromkeys(tensor.shape[1] for tensor in tensors))
    expected = " or ".join(map(str, channels))
    if not isinstance(mean, list) or len(mean) not in channels or not all(map(_number, mean)):
        raise _wrong(path, "normalization", f"has mean {mean!r}, not {expected} numbers")
    if not isinstance(std, list) or len(std) != len(mean) or not all(map(_positive, std)):
        raise _wrong(path, "normalization", f"has std {std!r}, not {len(mean)} positive numbers")
    return Normalization(float(scale), tuple(map(float, mean)), tuple(map(float, std)))


def _read_digest(path: Path, metadata: Mapping[str, str]) -> str:
    digest = metadata["content_sha256"].lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise _wrong(path, "content_sha256", f"is {digest!r}, not the 64 hexadecimal digits of a SHA-256")
    return digest


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def verify_content(snapshot: Snapshot) -> None:
    """Check `content_sha256` over the sample bytes, tensors in the order of `tensor_names`, in constant memory.

    Raises `InputError` with both digests when the samples are not the ones that were written.
    """
    digest = hashlib.sha256()
    with snapshot.path.open("rb") as file:
        for tensor in snapshot.tensors:
            file.seek(tensor.begin)
            for position in range(tensor.begin, tensor.end, _BLOCK_BYTES):
                digest.update(file.read(min(_BLOCK_BYTES, tensor.end - position)))
    if digest.hexdigest() != snapshot.content_sha256:
        raise InputError(
            f"{snapshot.path}: the samples are damaged: content_sha256 is {snapshot.content_sha256} "
            f"but the bytes hash to {digest.hexdigest()}; download or build the snapshot again."
        )


def samples(snapshot: Snapshot, name: str | None = None) -> NDArray[Any]:
    """Return the samples of one tensor (default: the first), (N, C, H, W), as a read-only memory map.

    Raises `InputError` when the snapshot has no tensor of that name. Whoever reads all of it reads it with
    `read_samples`: pages of a map stay in memory, and a file that becomes shorter meanwhile ends the process.
    """
    tensor = _named(snapshot, name)
    return np.memmap(snapshot.path, dtype=_item_type(snapshot), mode="r", offset=tensor.begin, shape=tensor.shape)


def read_samples(snapshot: Snapshot, name: str | None = None) -> Iterator[NDArray[Any]]:
    """Yield the samples of one tensor (default: the first), each (C, H, W), of which one is in memory at a time.

    Raises `InputError` when the snapshot has no tensor of that name, or becomes shorter meanwhile.
    """
    tensor = _named(snapshot, name)
    size = (tensor.end - tensor.begin) // tensor.shape[0]
    with snapshot.path.open("rb") as file:
        file.seek(tensor.begin)
        for index in range(tensor.shape[0]):
            content = file.read(size)
            if len(content) < size:
                raise InputError(
                    f"{snapshot.path}: ends within sample {index} of {tensor.shape[0]}; download or build it again."
                )
            yield np.frombuffer(content, _item_type(snapshot)).reshape(tensor.shape[1:])


def _item_type(snapshot: Snapshot) -> np.dtype[Any]:
    return np.dtype(np.uint8 if snapshot.dtype == "uint8" else "<f4")


def _named(snapshot: Snapshot, name: str | None) -> StoredTensor:
    tensor = snapshot.tensors[0] if name is None else snapshot.tensor(name)
    if tensor is None:
        stored = ", ".join(tensor.name for tensor in snapshot.tensors)
        raise InputError(
            f"{snapshot.path}: no tensor {name!r} (stored: {stored}); use a snapshot exported for this model."
        )
    return tensor


def write_snapshot(
    path: Path,
    name: str,
    shape: tuple[int, int, int, int],
    content: Iterable[NDArray[np.uint8]],
    metadata: Mapping[str, str],
) -> str:
    """Write a `uint8` snapshot of one tensor, sample by sample; return its `content_sha256`, which joins `metadata`.

    `content` yields `shape[0]` arrays of shape `shape[1:]`. Equal arguments give equal bytes. The file appears under
    its name only when it is whole. Raises `ValueError` when `content` does not have the shape that was announced.
    """
    digest, written = hashlib.sha256(), 0
    hashed: Future[None] | None = None
    with replacing(path) as file, ThreadPoolExecutor(1) as hasher:
        # The digest is part of the header but known last; as it is always 64 digits, the header keeps its length.
        file.write(encode_header(name, "U8", shape, {**metadata, "content_sha256": "0" * 64}))
        for sample in content:
            if sample.shape != shape[1:] or sample.dtype != np.uint8:
                raise ValueError(f"sample {written} is {sample.dtype} {sample.shape}, not uint8 {shape[1:]}")
            data = np.ascontiguousarray(sample).data
            # Beside the writing, at most one sample behind.
            if hashed is not None:
                hashed.result()
            hashed = hasher.submit(digest.update, data)
            file.write(data)
            written += 1
        if written != shape[0]:
            raise ValueError(f"{written} samples instead of {shape[0]}")
        if hashed is not None:
            hashed.result()
        file.seek(0)
        file.write(encode_header(name, "U8", shape, {**metadata, "content_sha256": digest.hexdigest()}))
    return digest.hexdigest()
