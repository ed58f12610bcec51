"""split.onnx -> parsed.har: the compiler names its layers."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.protocol import Compiler, ParseJob, Surroundings
from build_rules.engine.messages import progress, tell_warning
from build_rules.records.split_json import load_split

__all__ = ["run"]


def run(
    split_onnx: Path,
    split_json: Path,
    parsed_har: Path,
    compiler: Compiler,
    network_name: str,
    hw_arch: str,
    log: Path | None = None,
    kept: Path | None = None,
) -> None:
    """Translate the cut graph from behind its front; its outputs keep the order of the endpoints."""
    split = load_split(split_json)
    end_nodes = tuple(endpoint.node for endpoint in split.endpoints)
    start = None if split.front is None else split.front.start
    around = Surroundings(progress, tell_warning, log, kept)
    report = compiler.parse(ParseJob(split_onnx, network_name, hw_arch, end_nodes, parsed_har, start, around))
    text = "" if log is None else log.read_text(encoding="utf-8", errors="replace")
    for warning in compiler.read_back("parse", report, text, "").warnings:
        tell_warning(warning)
