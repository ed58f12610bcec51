"""A preset that is not built, quantized for a comparison alone: by the steps of a target of the same chip."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from build_rules.comparison.comparison_inputs import files_digest
from build_rules.engine.freshness.key import Step
from build_rules.presets import Preset

__all__ = ["digest_without", "quantize_with"]

STAGES = ("alls", "har", "hef")


def digest_without(steps: Mapping[str, Step], target: str, preset: Preset) -> str:
    """Return what stands for all that a preset would be made from: what the steps of a target (`MODEL:TARGET`) read."""
    parts = [repr(preset)]
    for step in _stages(steps, target):
        own = {path.parent for path in step.outputs.values()}
        read = [path for path in step.input_files() if path.parent not in own and path.suffix != ".safetensors"]
        parts += [step.rule.code_digest(), repr(sorted(step.tools.items())), files_digest(read)]
        parts.append(repr(sorted((key, value) for key, value in step.settings.items() if key != "preset")))
    return " ".join(parts)


def quantize_with(steps: Mapping[str, Step], target: str, preset: Preset) -> Callable[[Path], tuple[Path, Path]]:
    """Return a function that makes a preset's HAR and HEF in a folder, as the steps of `target` make those of theirs.

    It raises `InputError` as the steps do; what they print is nobody's.
    """
    stages = _stages(steps, target)

    def quantize(scratch: Path) -> tuple[Path, Path]:
        folder = scratch / preset.name
        folder.mkdir()
        made: dict[Path, Path] = {}
        for step in stages:
            made |= {path: folder / path.name for path in step.outputs.values()}
            with redirect_stdout(io.StringIO()):
                _function(step)(**_arguments(step, made, preset))
        return folder / "model.har", folder / "model.hef"

    return quantize


def _stages(steps: Mapping[str, Step], target: str) -> list[Step]:
    return [steps[f"{stage}:{target}"] for stage in STAGES]


def _function(step: Step) -> Callable[..., object]:
    module, name = step.rule.function.split(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function


def _arguments(step: Step, made: Mapping[Path, Path], preset: Preset) -> dict[str, Any]:
    """Return what a step is called with, but for the preset, and with what was made here in the place of its own."""

    def moved(value: Any) -> Any:
        if isinstance(value, Path):
            return made.get(value, value)
        return tuple(map(moved, value)) if isinstance(value, (list, tuple)) and step.inputs else value

    arguments = {key: moved(value) for key, value in {**step.inputs, **step.outputs}.items()}
    arguments |= {**step.settings, **step.paths, **step.passed}
    if "preset" in arguments:
        arguments["preset"] = preset if isinstance(arguments["preset"], Preset) else preset.name
    if "allocation" in arguments:
        arguments["allocation"] = None  # that of another preset
    return arguments
