"""The HAR: a tar archive that holds a network between the stages of a Hailo compiler.

Members (`<n>` is the network's name; layout as seen in archives of the DFC 3.27 to 3.33)::

    <n>.hn                            JSON: name, net_params, layers{net/layer: {type, input, output, ...}}
    <n>.npz                           native weights, keys such as `net/conv1/kernel:0`
    <n>.q.npz                         quantized: keys such as `net/conv1/output_activation_bits:0`
    <n>.alls                          the model script
    <n>.metadata.json                 {"state": ..., "sdk_version": ..., "hw_arch": ...}
    <n>.original_model_meta.json      what was translated
    <n>.modifications_meta_data.json  what the compiler changed since

Both the archive and its `.npz` members are written with fixed times, owners and order: equal content gives equal bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.compilers.archive import read_members
from build_rules.errors import InputError
from build_rules.versions import is_emulated

__all__ = [
    "Har",
    "HnLayer",
    "OutputLayer",
    "dump_npz",
    "har_of",
    "hn_layers",
    "outline_har",
    "output_layers",
    "read_har",
    "write_har",
]

MAX_JSON_BYTES = 8 << 20
"""Bytes of an HN; YOLOv4 has a hundredth of that. As Python objects they take twenty times as many."""
MAX_OUTPUTS = 256
"""Of a network; a HEF has at most as many streams."""
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
STATES = ("hailo_model", "fp_optimized_model", "quantized_model", "compiled_model")

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Har:
    """A HAR in memory.

    `name` is the network's name, `hn` the parsed HN document, `state` one of `STATES`, `members` every file of the
    archive by its member name (the HN and the metadata among them).
    """

    name: str
    hn: dict[str, Any]
    state: str
    sdk_version: str
    hw_arch: str | None
    members: Mapping[str, bytes]

    @property
    def is_emulated(self) -> bool:
        """Whether its compiler only emulates, so that what it becomes runs on no device."""
        return is_emulated(self.sdk_version)

    def member(self, suffix: str) -> bytes:
        """Return the bytes of `<name><suffix>`. Raises `InputError` when the archive lacks it."""
        try:
            return self.members[self.name + suffix]
        except KeyError:
            raise InputError(f"the HAR of {self.name!r} has no member {self.name}{suffix}; build it again.") from None

    def document(self, suffix: str) -> dict[str, Any]:
        """Return the JSON object in `<name><suffix>`. Raises `InputError` when it is none or larger than an HN."""
        self.member(suffix)
        return _read_json(f"the HAR of {self.name!r}", self.members, self.name + suffix)


@dataclass(frozen=True)
class OutputLayer:
    """One output of a network, in HN terms; `shape` is [N, H, W, C] with N = -1, or [N, C] for a vector."""

    output_layer: str
    producer: str
    original_names: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class HnLayer:
    """One layer of a network: its whole name, its `type` in the HN, and the ONNX nodes that it was made from."""

    name: str
    kind: str
    original_names: tuple[str, ...]


def read_har(path: Path) -> Har:
    """Read a HAR of any compiler. Nothing is written to disk, whatever the member names say.

    Raises `InputError` when the file is not a HAR, is damaged, or claims more than `read_members` allows.
    """
    return har_of(path, read_members(path)[0])


def outline_har(path: Path) -> tuple[Har, Mapping[str, int]]:
    """Return a HAR with no members but its HN and its metadata, and the bytes of all by name. Raises as `read_har`."""
    members, sizes = read_members(path, (".hn", ".metadata.json"))
    return har_of(path, members), sizes


def har_of(path: Path, members: Mapping[str, bytes]) -> Har:
    """Return the HAR that these members of `path` are; its HN and its metadata are enough. Raises as `read_har`."""
    stems = [name[: -len(".hn")] for name in members if name.endswith(".hn")]
    if len(stems) != 1:
        raise InputError(f"{path}: a HAR holds exactly one .hn member, this archive holds {len(stems)}.")
    name = stems[0]
    hn = _read_json(path, members, name + ".hn")
    if not isinstance(hn.get("layers"), dict) or not isinstance(hn.get("net_params"), dict):
        raise InputError(f"{path}: {name}.hn lacks 'layers' or 'net_params'; it is not an HN document.")
    metadata = _read_json(path, members, name + ".metadata.json") if name + ".metadata.json" in members else {}
    hw_arch = metadata.get("hw_arch")
    return Har(
        name=name,
        hn=hn,
        state=str(metadata.get("state", STATES[0])),
        sdk_version=str(metadata.get("sdk_version", "unknown")),
        hw_arch=None if hw_arch is None else str(hw_arch),
        members=members,
    )


def _read_json(path: Path | str, members: Mapping[str, bytes], name: str) -> dict[str, Any]:
    data = members[name]
    if len(data) > MAX_JSON_BYTES:
        raise InputError(f"{path}: member {name} is larger than {MAX_JSON_BYTES >> 20} MiB.")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: member {name} is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: member {name} is not a JSON object.")
    return document


def write_har(path: Path, har: Har) -> None:
    """Write `har`; HN and metadata members come from its fields, all others from `members`, sorted by name."""
    metadata = {"state": har.state, "sdk_version": har.sdk_version, "hw_arch": har.hw_arch}
    members = {
        **har.members,
        har.name + ".hn": _json_bytes(har.hn),
        har.name + ".metadata.json": _json_bytes(metadata),
    }
    with path.open("wb") as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(members):
            info = tarfile.TarInfo(name)  # mtime, uid and gid are 0, owner names empty
            info.size = len(members[name])
            archive.addfile(info, io.BytesIO(members[name]))


def _json_bytes(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def output_layers(hn: Mapping[str, Any]) -> tuple[OutputLayer, ...]:
    """Return the outputs of an HN in `net_params.output_layers_order`, which lists their producers.

    Each is resolved along `output_layerN -> input[0] -> original_names`, never by its shape: 64 classes look like
    64 DFL channels. Raises `InputError` when the links are broken or there are more than `MAX_OUTPUTS`.
    """
    layers = hn["layers"]
    order = hn["net_params"].get("output_layers_order", [])
    if isinstance(order, list) and len(order) > MAX_OUTPUTS:
        raise InputError(f"HN of {hn.get('name')!r}: has more than {MAX_OUTPUTS} outputs, which no chip has.")
    outputs: dict[str, list[OutputLayer]] = {}
    try:
        for name, layer in layers.items():
            if layer["type"] == "output_layer":
                producer = layer["input"][0]
                originals = tuple(layers[producer].get("original_names", ()))
                shape = tuple(layer["output_shapes"][0])
                outputs.setdefault(producer, []).append(OutputLayer(name, producer, originals, shape))
        # A producer with two output layers is listed twice; they keep their own order.
        return tuple(outputs[producer].pop(0) for producer in order)
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"HN of {hn.get('name')!r}: an output is not linked to its layer ({error!r}).") from error


def hn_layers(hn: Mapping[str, Any]) -> tuple[HnLayer, ...]:
    """Return all layers of an HN, in its order. Raises `InputError` when one of them is none."""
    try:
        return tuple(
            HnLayer(str(name), str(layer["type"]), tuple(map(str, layer.get("original_names") or ())))
            for name, layer in hn["layers"].items()
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"HN of {hn.get('name')!r}: a layer is not described ({error!r}).") from error


def dump_npz(arrays: Arrays) -> bytes:
    """Return an `.npz` (uncompressed, sorted by key, fixed dates) that `numpy.load` reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[key], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(key + ".npy", ZIP_EPOCH), member.getvalue())
    return buffer.getvalue()
