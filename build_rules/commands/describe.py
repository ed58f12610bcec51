"""What a file says about itself, one function per kind, as facts with JSON values and stable snake_case keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.regular_file import SCRIPT_BYTES, read_small

__all__ = ["describe"]

Facts = dict[str, Any]
IMAGES = "calibration-images.json"


def describe(path: Path) -> Facts:
    """Return the facts of one file; the kind goes by the suffix. Raises `InputError` for other files."""
    describers: dict[str, Callable[[Path], Facts]] = {
        ".hef": _describe_hef,
        ".har": _describe_har,
        ".alls": _describe_script,
        ".onnx": _describe_onnx,
        ".safetensors": _describe_snapshot,
    }
    if path.suffix.lower() not in describers:
        raise InputError(f"{path}: this kind of file is not known; inspect shows {', '.join(describers)}.")
    try:
        return {"file": str(path), "bytes": path.stat().st_size, **describers[path.suffix.lower()](path)}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _describe_hef(path: Path) -> Facts:
    from build_rules.commands.describe_hef import describe_hef

    return describe_hef(path)


def _describe_har(path: Path) -> Facts:
    from build_rules.commands.describe_har_file import describe_har_file

    return describe_har_file(path)


def _describe_script(path: Path) -> Facts:
    from build_rules.alls.script import Script, format_script, parse_script

    try:
        script = parse_script(read_small(path, SCRIPT_BYTES, "a model script").decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}).") from error
    bare = [replace(statement, comments=(), remark="") for statement in script.statements]
    rows = [{"line": s.line, "command": format_script(Script((s,))).rstrip("\n")} for s in bare]
    return {"kind": "model script", "commands": rows}


def _describe_onnx(path: Path) -> Facts:
    from build_rules.commands.describe_onnx import describe_onnx

    return {"kind": "ONNX model", **describe_onnx(path)}


def _describe_snapshot(path: Path) -> Facts:
    from build_rules.calibration.snapshot.snapshot_file import open_snapshot, verify_content

    snapshot = open_snapshot(path)
    verify_content(snapshot)
    normalization = snapshot.normalization
    return {
        "kind": "calibration snapshot",
        "content": "verified",
        "samples": snapshot.count,
        "dtype": snapshot.dtype,
        "normalization": {
            "scale": normalization.scale,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        },
        "producer": snapshot.producer,
        "tensors": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in snapshot.tensors],
        "parameters": dict(snapshot.params),
        **_describe_chosen(path.with_name(IMAGES)),
    }


def _describe_chosen(path: Path) -> Facts:
    """Tell which images are in the snapshot beside which `path` lies, where the build has said so."""
    from build_rules.calibration.chosen import load_chosen

    if not path.is_file():
        return {}
    chosen = load_chosen(path)
    facts: Facts = {"selected_from": chosen.pool, "selected": len(chosen.images), "requested": chosen.requested}
    return {
        **{key: value for key, value in facts.items() if value},
        **({"image_ids": list(chosen.image_ids)} if chosen.image_ids else {}),
        **({"passed_over": chosen.passed_over} if chosen.passed_over else {}),
        "left_out": [{"name": out.name, "kind": out.kind, "reason": out.reason} for out in chosen.left_out],
        "images": [
            {"name": one.name, "samples": one.samples, "chosen": one.order, "why": one.why} for one in chosen.images
        ],
    }
