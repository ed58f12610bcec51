"""The repository that doit was started in: its models as declared, and where their outputs lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from doit.exceptions import InvalidDodoFile

from build_rules.calibration.sources import list_sources
from build_rules.errors import InputError, printable
from build_rules.model import Model, Target, load_models, read_settings, replace_targets
from build_rules.versions import library_version

__all__ = [
    "BUILD",
    "arch_folder",
    "calibration_files",
    "compiled_models",
    "find_workspace_models",
    "folder",
    "source_date_epoch",
    "target_folder",
    "targets",
    "versions_of",
]

BUILD = Path("build")
VARIABLES = ("hw_arch", "preset")


def folder(model: Model) -> Path:
    """Where everything that all targets of a model share lies."""
    return BUILD / model.name


def arch_folder(model: Model, hw_arch: str) -> Path:
    """Where everything that the presets of one architecture share lies."""
    return BUILD / model.name / hw_arch


def target_folder(model: Model, target: Target) -> Path:
    """Where the outputs of one target lie."""
    return BUILD / model.name / target.name


def targets(models: tuple[Model, ...]) -> tuple[tuple[Model, Target], ...]:
    """Every model with each of its targets."""
    return tuple((model, target) for model in models for target in model.targets)


def calibration_files(model: Model) -> tuple[Path, ...]:
    """Return the files that a model is calibrated from."""
    with _told_by_doit():
        return () if model.calibration is None else _list_once(model.calibration)


def compiled_models() -> tuple[Model, ...]:
    """Return the models that are compiled here."""
    return tuple(model for model in find_workspace_models() if not model.is_prebuilt)


# Models of one repository often share a pool of images.
_list_once = cache(list_sources)


@cache
def find_workspace_models() -> tuple[Model, ...]:
    """Read `models/` and the settings beside it, with `doit hw_arch=... preset=...` applied.

    Raises doit's `InvalidDodoFile` (printed as one paragraph, exit code 3) for whatever is wrong in them.
    """
    with _told_by_doit():
        variables = _command_line_variables()
        models = load_models(Path("models"), read_settings(Path("pyproject.toml")))
        return replace_targets(models, variables.get("hw_arch"), variables.get("preset"))


@contextmanager
def _told_by_doit() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        # One line per wrong model; names in them come from the file system.
        raise InvalidDodoFile("\n".join(map(printable, str(error).split("\n")))) from error


def _command_line_variables() -> dict[str, str]:
    # doit tells the value of a variable by its name, not which were given; a misspelled one must not pass silently.
    from doit import doit_cmd

    given: dict[str, str] = dict(doit_cmd._CMDLINE_VARS or {})
    for name, value in given.items():
        if name not in VARIABLES:
            raise InputError(f"{name}={value} on the command line: there is no variable {name}; use hw_arch or preset.")
    return given


def versions_of(*libraries: str) -> dict[str, str]:
    """Return the installed versions of libraries whose results a step depends on."""
    return {library: library_version(library) for library in libraries}


def source_date_epoch() -> int | None:
    """Return `SOURCE_DATE_EPOCH` in seconds, or None when it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        raise InvalidDodoFile(f"SOURCE_DATE_EPOCH={text} is not possible; expected whole seconds since 1970.")
    return int(text)
