"""The tasks that find layers that 16 bits are worth; read only where a model asks for it (`mixed_precision`).

A script without any set is written first, of what the preset asks for without its long passes, and the search starts
from that. Both lie with what the measuring compiler makes, so that a model compiled by another one shares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules import workspace as ws
from build_rules.engine.running.rule import Rule
from build_rules.presets import PRESETS, without_search

if TYPE_CHECKING:
    from build_rules.declared.model import Model
    from build_rules.declared.settings import Target

__all__ = ["MIXED", "scripts_to_search_with", "searched_archs", "searches", "set_of"]

Tasks = Iterator[dict[str, Any]]
Inputs = dict[str, tuple[Path, ...]]
MIXED = Rule(
    "mixed",
    "build_rules.steps.mixed:run",
    (
        "steps/mixed.py",
        "mixed/candidates.py",
        "mixed/find_set.py",
        "mixed/quantize_set.py",
        "mixed/search.py",
        "alls/wide_layers.py",
        "calibration/snapshot/safetensors_file.py",
        *("compilers/archive.py", "compilers/delivered.py", "compilers/describe_har.py", "compilers/exported_graph.py"),
        *("compilers/har_file.py", "compilers/in_order.py", "compilers/layer_noise.py", "compilers/network_images.py"),
        *("compilers/npz_numbers.py", "compilers/protocol.py", "compilers/samples.py"),
        "engine/messages.py",
        "inference.py",
        *("objects/agreement.py", "objects/average_precision.py", "objects/decode_scale.py", "objects/formulas.py"),
        *("objects/found.py", "objects/match_objects.py", "objects/measure_agreement.py", "objects/paired.py"),
        *("objects/read_objects.py", "objects/suppress.py"),
        "records/mixed_json.py",
        "records/stage_report.py",
        "regular_file.py",
        "versions.py",
        *("records/__init__.py", "records/calibration_json.py", "records/normalization.py", "records/roles.py"),
        *("records/split_hint.py", "records/split_json.py", "errors.py"),
    ),
    needs=(("cores", 2), ("memory_mb", 1500)),
)


def searched_archs(model: Model) -> tuple[str, ...]:
    """Return the architectures for which a model asks for a search: those with a preset that makes use of it."""
    archs = (each.hw_arch for each in model.targets if each.preset in PRESETS and PRESETS[each.preset].mixed)
    return tuple(dict.fromkeys(archs))


def set_of(model: Model, target: Target) -> Inputs:
    """Return the input of a target's script that says which layers were found, none for a preset that uses none."""
    if target.preset not in PRESETS or not PRESETS[target.preset].mixed:
        return {}
    return {"mixed": (_folder(model, target.hw_arch) / "mixed.json",)}


def scripts_to_search_with(models: Sequence[Model], scripts: Rule) -> Tasks:
    """Write the scripts that searches start from, without what a user has written: that wins in the end."""
    preset = without_search(next(preset for preset in PRESETS.values() if preset.mixed))
    for model in models:
        for hw_arch in searched_archs(model):
            place = _folder(model, hw_arch)
            yield scripts.task(
                f"{model.name}:{place.name}-searched",
                inputs={
                    "split_json": ws.folder(model) / "split.json",
                    "calibrated": ws.folder(model) / "calibration.json",
                    "parsed_har": place / "parsed.har",
                    "own_file": (),
                },
                outputs={
                    "compile_script": place / "searched" / "compile.alls",
                    "feed": place / "searched" / "feed.json",
                    "script": place / "searched" / "model.alls",
                },
                owner=model.name,
                settings={"preset": preset, "hw_arch": hw_arch, "append": ()},
                fault=model.fault("alls"),
            )


def searches(models: Sequence[Model]) -> Tasks:
    """Find the layers, once for each architecture."""
    for model in models:
        for hw_arch in searched_archs(model):
            compiling, place = ws.measuring(model), _folder(model, hw_arch)
            yield MIXED.task(
                f"{model.name}:{place.name}",
                inputs={
                    "calibrated": ws.folder(model) / "calibration.json",
                    "endpoints": ws.folder(model) / "endpoints.json",
                    # What sets are judged by; neither changes alone but with what is said of the pixels.
                    "exported": ws.folder(model) / "split.onnx",
                    "feed": place / "searched" / "feed.json",
                    "parsed_har": place / "parsed.har",
                    "script": place / "searched" / "model.alls",
                    "snapshot": ws.folder(model) / "calibration.safetensors",
                    **_collected(model, place),
                },
                outputs={"mixed": place / "mixed.json"},
                owner=model.name,
                settings={},
                tools=compiling.tools["optimize"],
                passed={"compiler": compiling.compiler},
                code=compiling.compiler.noise_code(),
                fault=compiling.fault_of("optimize"),
            )


def _collected(model: Model, place: Path) -> Inputs:
    """Return what the measuring compiler has collected for the presets, or what it collects that by itself from."""
    compiler = ws.measuring(model).compiler
    if compiler == ws.compiling(model).compiler and compiler.collects_statistics:
        return {"statistics": (place / "statistics.npz",)}
    return {"split_json": (ws.folder(model) / "split.json",)}


def _folder(model: Model, hw_arch: str) -> Path:
    return ws.folder(model) / f"{hw_arch}{ws.measuring(model).compiler.suffix}"
