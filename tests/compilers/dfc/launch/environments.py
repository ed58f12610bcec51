"""Environments of stand-ins for Hailo's compiler that do one thing, and who is still alive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import Done, Work, run_worker
from tests.dfc_double.environment import make_environment

__all__ = ["CLIENT", "REPOSITORY", "has_ended", "make_client", "parse_work", "run_apart", "run_quietly", "write_client"]

REPOSITORY = Path(__file__).resolve().parents[4]
PATIENCE = 10.0

CLIENT = """
import os, sys, time, signal, json
from pathlib import Path

__version__ = "3.33.0"


class InferenceContext:
    SDK_NATIVE, SDK_FP_OPTIMIZED, SDK_QUANTIZED = "native", "fp_optimized", "quantized"


class ClientRunner:
    def __init__(self, hw_arch=None, har=None):
        self.hw_arch, self.har = hw_arch, har

    def translate_onnx_model(self, model, net_name, **options):
        self.made = {"model": Path(model).read_bytes().decode("latin-1"), "net_name": net_name, **options}

    def get_hn_dict(self):
        layers = {
            "net/conv1": {"type": "conv", "input": ["net/input_layer1"], "original_names": ["/a/Conv", "/a/Relu"]},
            "net/conv2": {"type": "conv", "input": ["net/conv1"], "original_names": ["/b/Conv"]},
            "net/output_layer1": {"type": "output_layer", "input": ["net/conv1"], "original_names": ["out0"]},
        }
        return {"layers": layers, "net_params": {"output_layers_order": ["net/output_layer1", "net/conv2"]}}

    def save_har(self, path):
        made = {**self.made, "environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path}
        made["peak"] = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
        Path(path).write_text(json.dumps(made))
        Path("allocator.log").write_text("allocated\\n")
        print("saved", path)
"""
"""A client whose HAR tells what it was given, and where it found itself."""


def make_client(folder: Path, source: str = "") -> Path:
    """Make an environment whose `hailo_sdk_client` is `CLIENT` and what `source` puts over it; return its python."""
    python = make_environment(folder)
    package = next(folder.glob("lib/python*/site-packages/hailo_sdk_client"))
    shutil.rmtree(package)
    write_client(package, source)
    return python


def write_client(package: Path, source: str = "") -> None:
    """Write a package `hailo_sdk_client`."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CLIENT + textwrap.dedent(source), encoding="utf-8")


def parse_work(folder: Path, limit: float | None = 60.0) -> Work:
    """Ask for a parsed HAR of a file that says what it is, with a log, and a folder for what is left."""
    (folder / "net.onnx").write_text("an ONNX graph", encoding="utf-8")
    settings = {"net_name": "net", "hw_arch": "hailo8l", "end_nodes": ["/a/Conv", "/b/Conv"]}
    outputs = {"har": folder / "parsed.har"}
    return Work(
        *("parse", settings, {"onnx": folder / "net.onnx"}, outputs),
        log=folder / "parsed.log",
        kept=folder / "kept",
        limit=limit,
    )


def run_quietly(dfc: DfcSettings, work: Work) -> Done:
    """Run a worker of whose progress nobody hears."""
    return run_worker(dfc, work, lambda line: None)


def run_apart(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a program in a process that imports what we import."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def has_ended(pids: Sequence[int]) -> bool:
    """Wait a while for processes to be gone."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not any(map(_is_alive, pids)):
            return True
        time.sleep(0.02)
    return False


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        # One that has ended and that nobody waits for is gone, too.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
