"""What a file says about itself, one function per kind, as facts with JSON values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build_rules.errors import InputError

__all__ = ["describe"]

Facts = dict[str, Any]


def describe(path: Path) -> Facts:
    """Return the facts of one file; the kind goes by the suffix. Raises `InputError` for other files."""
    describers: dict[str, Callable[[Path], Facts]] = {
        ".hef": _describe_hef,
        ".har": _describe_har,
        ".alls": _describe_script,
        ".onnx": _describe_onnx,
        ".safetensors": _describe_snapshot,
    }
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    if path.suffix not in describers:
        raise InputError(f"{path}: this kind of file is not known; inspect shows {', '.join(describers)}.")
    return {"file": str(path), "bytes": path.stat().st_size, **describers[path.suffix](path)}


def _describe_hef(path: Path) -> Facts:
    from build_rules.hef import read_hef, read_members

    hef = read_hef(path)
    members = read_members(path)
    facts: Facts = {
        "kind": "Hailo executable",
        "header version": hef.version,
        "for": hef.hw_arch,
        "compiler": hef.sdk_version,
        "emulated": "emulated" in hef.sdk_version,
        "made (ms since 1970)": hef.timestamp_ms,
        "zip members": {name: len(data) for name, data in members.items()},
    }
    for group in hef.network_groups:
        facts[f"network {group.name}, {group.contexts} contexts"] = [
            {
                "direction": stream.direction,
                "stream": stream.name,
                "order": stream.order,
                "shape": list(stream.shape),
                "type": stream.dtype,
                "scale": stream.quantization.scale,
                "zero point": stream.quantization.zero_point,
                "limits": [stream.quantization.limits_min, stream.quantization.limits_max],
                "ONNX nodes": list(stream.original_names[-1:]),
            }
            for stream in (*group.inputs, *group.outputs)
        ]
    if "edgefirst.json" in members:
        facts |= _describe_document(path, members)
    return facts


def _describe_document(path: Path, members: dict[str, bytes]) -> Facts:
    from build_rules.metadata import check_document

    try:
        document = json.loads(members["edgefirst.json"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its edgefirst.json is not JSON ({error}).") from error
    problems = check_document(document)
    rows = [
        {
            "output": output.get("name"),
            "type": output.get("type"),
            "encoding": output.get("encoding"),
            "shape": output.get("shape"),
            "physical": [child.get("name") for child in output.get("outputs", [])],
        }
        for output in document.get("outputs", [])
    ]
    return {
        "labels": len(members.get("labels.txt", b"").decode("utf-8", "replace").splitlines()),
        "hailo": document.get("hailo"),
        "metadata outputs": rows,
        "metadata problems": [f"{p.severity}: {p.path} {p.text}" for p in problems],
    }


def _describe_har(path: Path) -> Facts:
    from build_rules.compilers.har import output_layers, read_har

    har = read_har(path)
    return {
        "kind": "Hailo archive",
        "network": har.name,
        "state": har.state,
        "compiler": har.sdk_version,
        "emulated": "emulated" in har.sdk_version,
        "for": har.hw_arch,
        "layers": len(har.hn["layers"]),
        "members": [{"member": name, "bytes": len(data)} for name, data in sorted(har.members.items())],
        "outputs": [
            {
                "output layer": layer.output_layer,
                "producer": layer.producer,
                "shape": list(layer.shape),
                "ONNX nodes": list(layer.original_names),
            }
            for layer in output_layers(har.hn)
        ],
    }


def _describe_script(path: Path) -> Facts:
    from build_rules.alls.script import Script, format_script, parse_script

    try:
        script = parse_script(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}).") from error
    rows = [{"line": s.line, "command": format_script(Script((s,))).rstrip("\n")} for s in script.statements]
    return {"kind": "model script", "commands": rows}


def _describe_onnx(path: Path) -> Facts:
    from build_rules.graph import split_model
    from build_rules.graph.document import read_document

    source = read_document(path)
    split = split_model(path, path.stem).split
    return {
        "kind": "ONNX model",
        "name": source.document.get("name"),
        "decoder": source.document.get("decoder_version"),
        "input": f"{split.input.name} {list(split.input.shape)} {split.input.layout}",
        "labels": len(source.labels),
        "attention": list(split.attention),
        "endpoints": [
            {
                "endpoint": e.name,
                "stride": e.stride,
                "shape": list(e.shape),
                "encoding": e.encoding,
                "activation": e.activation,
                "ONNX node": e.node,
            }
            for e in split.endpoints
        ],
    }


def _describe_snapshot(path: Path) -> Facts:
    from build_rules.calibration.snapshot import open_snapshot, verify_content

    snapshot = open_snapshot(path)
    verify_content(snapshot)
    normalization = snapshot.normalization
    return {
        "kind": "calibration snapshot",
        "content": "verified",
        "samples": snapshot.count,
        "type": snapshot.dtype,
        "normalization": {
            "scale": normalization.scale,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
        "producer": snapshot.producer,
        "tensors": [{"tensor": tensor.name, "shape": list(tensor.shape)} for tensor in snapshot.tensors],
        "parameters": dict(snapshot.params),
    }
