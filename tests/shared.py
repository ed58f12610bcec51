"""The folder of test material beside the checkout: real files that are not ours to copy into the project."""

from __future__ import annotations

import atexit
import importlib.util
import json
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"test material is missing: no folder {SHARED}")


@cache
def corpus_truth() -> dict[str, Any]:
    """The corpus manifest: for every model its endpoints, strides and prototypes as they really are."""
    truth: dict[str, Any] = json.loads((SHARED / "corpus" / "manifest.json").read_text(encoding="utf-8"))
    return truth


@cache
def corpus_model(name: str) -> Path:
    """The ONNX file of a corpus model (`yolov8n`, `bad/boundary_gap`), written once per test session."""
    path = _session_folder() / f"{name}.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_hydrate_module().hydrate(SHARED / "corpus" / f"{name}.onnxz"))
    return path


@cache
def _session_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="corpus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _hydrate_module() -> Any:
    spec = importlib.util.spec_from_file_location("corpus_hydrate", SHARED / "corpus" / "hydrate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the material may be read-only
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writing
    return module
