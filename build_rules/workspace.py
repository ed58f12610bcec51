"""The repository that doit was started in: its models as declared, and where their outputs lie."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from doit.exceptions import InvalidDodoFile

from build_rules.engine import places
from build_rules.engine.command_line import EVERYTHING, command_line
from build_rules.engine.doit_names import command_line_variables, recorded_tasks
from build_rules.engine.freshness.current_run import (
    EVERYBODY,
    TREE,
    current_run,
    has_other_tasks,
    watch_code,
    watch_marks,
)
from build_rules.engine.freshness.fingerprint import installed_marks
from build_rules.engine.freshness.index import UNTRUSTED, Marks
from build_rules.engine.freshness.key import PACKAGE
from build_rules.engine.running.session import session
from build_rules.errors import InputError, printable

if TYPE_CHECKING:  # what is imported takes time, and a run in which nothing is to be done needs none of it
    from build_rules.compilers import Compiling
    from build_rules.compilers.protocol import Compiler
    from build_rules.declared.model import Model
    from build_rules.declared.settings import Target
    from build_rules.presets import Preset

__all__ = [
    "BUILD",
    "Pool",
    "arch_folder",
    "arch_name",
    "calibration_files",
    "compiled_models",
    "compiler_version",
    "compiling",
    "find_workspace_models",
    "folder",
    "found_set",
    "logs",
    "measuring",
    "parsings",
    "preset_of",
    "searching_models",
    "source_date_epoch",
    "target_folder",
    "target_name",
    "targets",
    "text_of",
    "versions_of",
]

BUILD = Path(places.BUILD)
MODELS = Path("models")
SETTINGS = Path("pyproject.toml")
DECLARATION = "model.toml"
VARIABLES = ("hw_arch", "preset", "compiler")


def folder(model: Model) -> Path:
    """Where everything that all targets of a model share lies."""
    return BUILD / model.name


def arch_name(model: Model, hw_arch: str) -> str:
    """Return what tells the tasks and folders apart that the presets of one architecture share."""
    return hw_arch + _suffix(model)


def target_name(model: Model, target: Target) -> str:
    """Return what tells the tasks and folders of one target apart."""
    return target.name + _suffix(model)


def _suffix(model: Model) -> str:
    return "" if model.is_prebuilt else _compiler_of(model).suffix


def arch_folder(model: Model, hw_arch: str) -> Path:
    """Where everything that the presets of one architecture share lies."""
    return BUILD / model.name / arch_name(model, hw_arch)


def target_folder(model: Model, target: Target) -> Path:
    """Where the outputs of one target lie."""
    return BUILD / model.name / target_name(model, target)


def targets(models: tuple[Model, ...]) -> tuple[tuple[Model, Target], ...]:
    """Every model with each of its targets, those that are made fastest first."""
    if not models:
        return ()
    from build_rules.presets import PRESETS

    cost = {name: number for number, name in enumerate(PRESETS)}
    return tuple(
        (model, target)
        for model in models
        for target in sorted(model.targets, key=lambda target: cost.get(target.preset, 0))
    )


def text_of(path: Path | None) -> str | None:
    """Return a path as a setting has it; None when there is none."""
    return None if path is None else str(path)


class Pool(NamedTuple):
    """What a model is calibrated from: its files, or why there are none.

    `names` are what outputs call them, the same wherever the pool lies. `passed_over` counts, in words, the images that
    nothing here decodes, and `further_libraries` decode some of those that are taken.
    """

    files: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    fault: str | None = None
    passed_over: str = ""
    further_libraries: tuple[str, ...] = ()


def calibration_files(model: Model) -> Pool:
    """Return what a model is calibrated from; nothing is looked for when something is declared wrongly."""
    if model.fault("split") or model.fault("calibration") or model.calibration is None:
        return Pool(fault=model.fault("calibration"))
    pool, folders = _list_once(model.calibration)
    current_run.watch(model.name, folders)
    if (built := _first_built(model.calibration)) is not None:  # it would never be the same twice
        return Pool(
            fault=f"{model.folder / DECLARATION}: calibration = {str(model.calibration)!r} takes in {built}, which the "
            f"build makes; name a folder outside {BUILD}/."
        )
    return pool


@cache
def _first_built(calibration: Path) -> Path | None:
    """Return an image of a pool that is an output of ours, None when there is none."""
    inside = f"{BUILD}{os.sep}"
    return next((path for path in _list_once(calibration)[0].files if str(path).startswith(inside)), None)


@cache
def _list_once(calibration: Path) -> tuple[Pool, dict[str, Marks]]:
    """List a pool of images, which models of one repository often share, and the folders in which it lies."""
    from build_rules.calibration.pool.sources import list_sources, sources_of
    from build_rules.calibration.pool.suffixes import HEIF_LIBRARY, PassedOver, is_heif

    folders: dict[str, Marks] = {}
    passed_over = PassedOver()
    try:
        files = list_sources(calibration, lambda folder: folders.update(watch_marks([str(folder)])), passed_over)
    except InputError as error:
        return Pool(fault=str(error)), folders
    except OSError as error:
        fault = f"{error.filename or calibration}: cannot be read ({error.strerror}); check its permissions."
        return Pool(fault=fault), folders
    further = (HEIF_LIBRARY,) if any(is_heif(path.name) for path in files) else ()
    names = sources_of(calibration, files).names
    return Pool(files, names, None, str(passed_over), further), folders


def compiled_models() -> tuple[Model, ...]:
    """Return the models that are compiled here."""
    return tuple(model for model in find_workspace_models() if not model.is_prebuilt)


@cache
def find_workspace_models() -> tuple[Model, ...]:
    """Read `models/` and the settings beside it, with `doit hw_arch=... preset=... compiler=...` applied, as asked for.

    Models that are fresh are left out when nothing is asked for by name; what is declared wrongly in one of the others
    is among its faults. Raises doit's `InvalidDodoFile` (printed as one paragraph, exit code 3) for what concerns all.
    """
    with _refused_by_doit():
        places.check_build()
        variables = _command_line_variables()
        context = {**variables, "python": sys.version, "epoch": source_date_epoch(), "rules": PACKAGE, "path": sys.path}
        current_run.begin(EVERYTHING if has_other_tasks() else command_line(), context, recorded_tasks)
        return () if current_run.knows_everybody() else _read_models(variables)


def _read_models(variables: Mapping[str, str]) -> tuple[Model, ...]:
    from build_rules.declared.model import LOOKED_FOR, load_models, replace_compiler, replace_targets
    from build_rules.declared.settings import read_settings

    read: dict[str, Marks] = {}
    names: set[str] = set()

    def is_wanted(name: str) -> bool:
        names.add(name)
        return name not in current_run.fresh and current_run.request.wants(name)

    current_run.watch(EVERYBODY, {**watch_code(), **watch_marks([str(SETTINGS)])})
    settings = read_settings(SETTINGS)
    session.resources.capacity.update(settings.resources)
    if settings.cache is not None:
        from build_rules.engine.cache.location import parse_settings

        session.cache_settings = parse_settings(settings.cache, settings.cache_mode, settings.cache_limit)
    models = load_models(MODELS, settings, is_wanted, lambda path: read.update(watch_marks([str(path)])))
    for model in models:
        own = [str(model.folder), *(str(model.folder / name) for name in LOOKED_FOR)]
        current_run.watch(model.name, {path: read.pop(path) for path in own if path in read})
    current_run.set_owners(names)
    folders = {str(MODELS / name) for name in names}
    current_run.watch(TREE, {path: marks for path, marks in read.items() if path not in folders})
    models = replace_compiler(models, variables.get("compiler"))
    models = replace_targets(models, variables.get("hw_arch"), variables.get("preset"))
    return _longest_first(tuple(map(_with_targets_asked_for, models)))


def _with_targets_asked_for(model: Model) -> Model:
    """Return a model of which nobody knows the targets with those that are asked for, so that these can be told."""
    if model.targets_are_known or model.is_prebuilt:
        return model
    from build_rules.declared.settings import Target
    from build_rules.presets import PRESETS
    from build_rules.records.hardware import TARGETS

    def is_asked_for(target: Target) -> bool:
        names = (target_name(model, target), arch_name(model, target.hw_arch))
        return any(fnmatchcase(name, rest) for name in names for rest in command_line().rests)

    asked_for = tuple(filter(is_asked_for, (Target(hw_arch, preset) for hw_arch in TARGETS for preset in PRESETS)))
    return replace(model, settings=replace(model.settings, targets=asked_for)) if asked_for else model


def _longest_first(models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Order models by the time that their steps took before, unknown ones first, where steps run side by side.

    Started last, the longest would keep one worker busy when all others have nothing left to do.
    """
    if command_line().processes < 2:
        return models
    from build_rules.engine.memory.durations import History

    took = History().by_owner()
    return tuple(sorted(models, key=lambda model: -took.get(model.name, float("inf"))))


@contextmanager
def _refused_by_doit() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        # One line per wrong model; names in them come from the file system.
        raise InvalidDodoFile("\n".join(map(printable, str(error).split("\n")))) from error


def _command_line_variables() -> dict[str, str]:
    # doit tells the value of a variable by its name, not which were given; a misspelled one must not pass silently.
    given = command_line_variables()
    for name, value in given.items():
        if name not in VARIABLES:
            known = f"{', '.join(VARIABLES[:-1])} or {VARIABLES[-1]}"
            raise InputError(f"{name}={value} on the command line: there is no variable {name}; use {known}.")
    return given


def _compiler_of(model: Model) -> Compiler:
    return model.settings.configured(model.settings.compiler)


def compiling(model: Model) -> Compiling:
    """Ask the compiler of a model that is compiled here, with its settings, what its outputs depend on."""
    asked = _ask_once(_compiler_of(model))
    current_run.watch(model.name, asked.marks)
    for name in asked.compiling.shared:
        session.resources.capacity.setdefault(name, 1)  # until the settings count them
    return asked.compiling


NEVER_KNOWN = {os.devnull: UNTRUSTED}
"""The marks of an answer that no file on this side tells to be out of date: the next run has to ask again."""


class _Asked(NamedTuple):
    """A compiler's answer, and the marks of the files by which it is known to hold."""

    compiling: Compiling
    marks: Mapping[str, Marks]


@cache
def _ask_once(compiler: Compiler) -> _Asked:
    """Ask a compiler, which many models of one repository share; what it found out outside is remembered."""
    from build_rules.compilers import ask_compiler

    if not compiler.looks_outside:
        return _Asked(ask_compiler(compiler), {})
    from build_rules.engine.memory import findings

    known = findings.recall(repr(compiler))
    marks = {} if known is None else {path: installed_marks(path) for path in known.files}
    if known is not None and marks and UNTRUSTED not in marks.values() and marks == known.files:
        return _Asked(ask_compiler(compiler.informed(known.facts)), marks)
    try:
        finding = compiler.find_out(None if known is None else known.facts)
    except InputError as error:
        return _Asked(ask_compiler(compiler, str(error)), marks)
    marks = {path: installed_marks(path) for path in finding.files}
    findings.keep(repr(compiler), finding.facts, marks)
    return _Asked(ask_compiler(compiler.informed(finding.facts)), marks if finding.last else NEVER_KNOWN)


def logs(compiling: Compiling, path: Path) -> dict[str, Path]:
    """Return the output that is what a compiler logs, where it keeps that."""
    return {"log": path} if compiling.compiler.keeps_logs else {}


def searching_models() -> tuple[Model, ...]:
    """Return the models that ask for layers to be found that 16 bits are worth."""
    return tuple(model for model in compiled_models() if model.settings.mixed_precision != "off")


def measuring(model: Model) -> Compiling:
    """Ask the compiler that measures what layers cost: the model's, or the default one where that cannot."""
    if _compiler_of(model).measures_noise:
        return compiling(model)
    from build_rules.compilers import DEFAULT_COMPILER

    return _ask_once(model.settings.configured(DEFAULT_COMPILER)).compiling


def parsings(model: Model) -> tuple[tuple[Compiling, str], ...]:
    """Return the compilers that read a model's graph, and for which architectures."""
    own = tuple((compiling(model), arch) for arch in dict.fromkeys(target.hw_arch for target in model.targets))
    if model.settings.mixed_precision == "off" or _compiler_of(model).measures_noise:
        return own
    from build_rules.mixed_tasks import searched_archs

    return (*own, *((measuring(model), arch) for arch in searched_archs(model)))


def found_set(model: Model, target: Target) -> dict[str, tuple[Path, ...]]:
    """Return the input of a target's script that says which layers 16 bits are worth, where they are looked for."""
    if model.settings.mixed_precision == "off":
        return {}
    from build_rules.mixed_tasks import set_of

    return set_of(model, target)


def collected(model: Model, target: Target, compiling: Compiling) -> tuple[Path, ...]:
    """Return the statistics that a target is quantized by, where its compiler collects them."""
    if not compiling.compiler.collects_statistics:
        return ()
    return (arch_folder(model, target.hw_arch) / "statistics.npz",)


def compiler_version(model: Model) -> str:
    """Return what the metadata say of the compiler."""
    from build_rules.compilers import PREBUILT

    return PREBUILT if model.is_prebuilt else compiling(model).version


def preset_of(target: Target) -> Preset | None:
    """Return what a target's preset means; None when it was compiled elsewhere."""
    from build_rules.presets import PRESETS

    return PRESETS.get(target.preset)


def versions_of(*libraries: str) -> dict[str, str]:
    """Return the installed versions of libraries whose results a step depends on."""
    from build_rules.versions import library_version

    return {library: library_version(library) for library in libraries}


def source_date_epoch() -> int | None:
    """Return `SOURCE_DATE_EPOCH` in seconds, or None when it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        raise InvalidDodoFile(f"SOURCE_DATE_EPOCH={text} is not possible; expected whole seconds since 1970.")
    return int(text)
