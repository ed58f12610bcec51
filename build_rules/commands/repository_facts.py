"""What a repository asks of its compilers, and whether what it shares is there: for `doit doctor`, without building."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.calibration.pool.sources import list_sources, sources_of
from build_rules.compilers import PREBUILT
from build_rules.compilers.protocol import Diagnosis, TargetRequest
from build_rules.declared.model import load_models
from build_rules.declared.settings import Settings, read_settings
from build_rules.errors import InputError
from build_rules.presets import PRESETS

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Compiler, Stage
    from build_rules.declared.model import Model

__all__ = ["Asked", "Repository", "read_repository"]

SETTINGS = Path("pyproject.toml")
MODELS = Path("models")
FINETUNE_IMAGES = 1024
"""As many as the step `alls` asks for, when there are so many."""
STAGES: tuple[Stage, ...] = ("parse", "optimize", "compile")
NO_KEY = "0" * 64


@dataclass(frozen=True)
class Asked:
    """A compiler as it is configured, and the targets that it is to compile."""

    compiler: Compiler
    requests: tuple[TargetRequest, ...]


@dataclass(frozen=True)
class Repository:
    """What a repository asks for, and what was found out about all that is no compiler's."""

    asked: tuple[Asked, ...]
    found: tuple[Diagnosis, ...]


def read_repository() -> Repository:
    """Read the settings and models of the folder that doit was started in; what is wrong with them is among `found`."""
    found: list[Diagnosis] = []
    models: tuple[Model, ...] = ()
    try:
        settings = read_settings(SETTINGS)
    except InputError as error:
        return Repository((), (Diagnosis("settings", "error", str(error)),))
    try:
        models = load_models(MODELS, settings)
    except InputError as error:
        found.append(Diagnosis("models", "warning", str(error)))
    asked: dict[Compiler, list[TargetRequest]] = {}
    if not models and settings.compiler != PREBUILT:
        asked[settings.configured(settings.compiler)] = []
    for model in models:
        if model.is_prebuilt:
            continue
        compiler = model.settings.configured(model.settings.compiler)
        asked.setdefault(compiler, []).extend(_requests(model))
    found += [*_models(models), *_resources(settings, asked), *_cache(settings)]
    return Repository(tuple(Asked(one, tuple(requests)) for one, requests in asked.items()), tuple(found))


def _requests(model: Model) -> Iterator[TargetRequest]:
    images = _count_images(model)
    for target in model.targets:
        preset = PRESETS[target.preset]
        finetune = min(FINETUNE_IMAGES, images or FINETUNE_IMAGES) if preset.finetune else 0
        name = f"{model.name}:{target.name}"
        yield TargetRequest(name, target.hw_arch, preset.optimization_level, images, finetune)


def _count_images(model: Model) -> int | None:
    """Return on how many images a model is calibrated, None where only the step `calibration` can tell."""
    if model.calibration is None or model.fault("calibration"):
        return None
    try:
        files = list_sources(model.calibration)
        sources = sources_of(model.calibration, files)
        if sources.kind == "images":
            return min(len(sources.names), model.settings.calibration_count)
        return _samples(files[0]) if len(files) == 1 else None
    except (InputError, OSError):
        return None


def _samples(snapshot: Path) -> int | None:
    from build_rules.calibration.snapshot.safetensors_file import read_header

    counts = {entry.shape[0] for entry in read_header(snapshot).entries if len(entry.shape) == 4}
    return counts.pop() if len(counts) == 1 else None


def _models(models: tuple[Model, ...]) -> Iterator[Diagnosis]:
    if models:
        targets = sum(len(model.targets) for model in models)
        elsewhere = sum(model.is_prebuilt for model in models)
        text = f"{len(models)} model{'s' * (len(models) != 1)}, {targets} target{'s' * (targets != 1)}"
        text += f"; of {elsewhere} the HEFs were compiled elsewhere." if elsewhere else "."
        yield Diagnosis("models", "ok", text)
    if wrong := [model.name for model in models if model.faults]:
        text = f"declared wrongly: {', '.join(wrong[:5])}{' and others' if len(wrong) > 5 else ''}."
        yield Diagnosis("declarations", "warning", text, "`doit status` says what is wrong.")


def _resources(settings: Settings, asked: dict[Compiler, list[TargetRequest]]) -> Iterator[Diagnosis]:
    counted = dict(settings.resources)
    names = {name for compiler in asked for stage in STAGES for name, _ in compiler.needs(stage)}
    for name in sorted(names):
        count = counted.get(name, 1)
        many = f"{count} steps" if count != 1 else "one step"
        yield Diagnosis(name, "ok", f"{many} at a time; `{name} = N` under [tool.build_rules.resources] changes that.")


def _cache(settings: Settings) -> Iterator[Diagnosis]:
    """Say whether the shared cache answers: what is wrong with it stops no build, so nothing here is an error."""
    if settings.cache is None:
        return
    from build_rules.engine.cache.location import parse_settings
    from build_rules.engine.cache.shared import open_store
    from build_rules.engine.cache.store import ACTION, StoreError

    try:
        cache = parse_settings(settings.cache, settings.cache_mode, settings.cache_limit)
        place = cache.location
        open_store(place, cache.limit).has(ACTION, NO_KEY)
    except InputError as error:
        yield Diagnosis("cache", "error", str(error))
        return
    except StoreError as error:
        yield Diagnosis(
            "cache", "warning", f"{error}.", "Builds go on without it; docs/cache.md says how it is set up."
        )
        return
    if place.kind == "folder" and cache.mode == "read-write" and not _can_write(Path(place.text)):
        advice = 'Let your group write there, or cache_mode = "read-only".'
        yield Diagnosis("cache", "warning", f"{place}: cannot be written.", advice)
        return
    yield Diagnosis("cache", "ok", f"{place} answers ({cache.mode}).")


def _can_write(folder: Path) -> bool:
    """Say whether a folder can be written, or made where there is none."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    return os.access(there, os.W_OK | os.X_OK)
