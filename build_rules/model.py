"""What a model repository declares: models, their targets, and the settings they share.

A model is any folder below `models/` that holds a `model.toml` or exactly one `.onnx`; its name is its path there.
Everything in `model.toml` has a default (docs/model-toml.md); an unknown key or impossible value is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from build_rules.calibration.sources import find_fault, list_snapshots
from build_rules.compilers import COMPILERS, PREBUILT
from build_rules.errors import InputError
from build_rules.presets import HW_ARCHS, PRESETS
from build_rules.toml_table import Table, read_toml

if TYPE_CHECKING:
    from build_rules.endpoints import SplitChoice

__all__ = ["Model", "Settings", "Target", "find_models", "load_models", "read_settings", "replace_targets"]

MAX_CALIBRATION = 65536
MAX_RESOURCE = 1 << 30
DECLARATION = "model.toml"
LOOKED_FOR = (DECLARATION, "labels.txt", "calibration")
"""What is looked for in a model's folder: links may begin to lead somewhere while the folder stays as it is."""
EMBEDDINGS = ("append", "sealed")
CACHE_MODES = ("read-write", "read-only")
Embedding = Literal["append", "sealed"]


@dataclass(frozen=True)
class Target:
    """What to compile for: the chip and the preset. `hef` is what was compiled elsewhere, as the preset then says."""

    hw_arch: str = "hailo8l"
    preset: str = "fast"
    hef: Path | None = None

    @property
    def name(self) -> str:
        """The part of task and folder names that tells targets of one model apart."""
        return f"{self.hw_arch}-{self.preset}"


@dataclass(frozen=True)
class Settings:
    """`[tool.build_rules]` of `pyproject.toml`: what models use when they do not say otherwise.

    `resources` counts what steps share, beside what the machine has: `cores`, `memory_mb`, licences. `cache` is where
    results are shared with other machines. `calibration_folder` holds the snapshots that ONNX metadata name. These are
    for the whole repository only.
    """

    compiler: str = "emulator"
    embed: Embedding = "append"
    calibration_count: int = 1024
    skip_broken_images: bool = False
    targets: tuple[Target, ...] = (Target(),)
    resources: tuple[tuple[str, int], ...] = ()
    cache: str | None = None
    cache_mode: str = "read-write"
    cache_limit: str | None = None
    calibration_folder: Path | None = None


@dataclass(frozen=True)
class Model:
    """One model folder. Paths are relative to the repository; `labels` None means those in the ONNX metadata.

    `calibration` is a snapshot file, a folder of snapshots (the ONNX metadata names one of them), a folder of images, a
    list or a pattern of images. None when nothing is there, and either nothing is compiled here or the snapshot is in
    the repository's `calibration_folder`. `split` None leaves it to metadata and graph where to cut.
    """

    name: str
    folder: Path
    onnx: Path
    labels: Path | None
    calibration: Path | None
    split: SplitChoice | None = None
    settings: Settings = field(default_factory=Settings)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets of this model, in the order declared."""
        return self.settings.targets

    @property
    def named_in(self) -> Path | None:
        """Where the snapshot is looked for that the ONNX metadata name; only when nothing lies beside the model."""
        return self.settings.calibration_folder if self.calibration is None else None

    @property
    def is_prebuilt(self) -> bool:
        """Whether its executables were compiled elsewhere, so that only metadata are made."""
        return self.settings.compiler == PREBUILT

    @property
    def network_name(self) -> str:
        """The name that prefixes every layer and stream: the folder's name with only letters, digits, `_` and `-`.

        The model script's grammar wants a letter, digit or `_` first.
        """
        return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in self.name.rsplit("/", 1)[-1])


def _read_targets(table: Table, default: tuple[Target, ...]) -> tuple[Target, ...]:
    targets = []
    for entry in table.tables("target"):
        targets.append(
            Target(
                entry.choice("hw_arch", HW_ARCHS, "hailo8l"),
                entry.choice("preset", PRESETS, "fast"),
                None if (hef := entry.text("hef")) is None else Path(hef),
            ),
        )
        entry.close()
    if len(set(targets)) < len(targets):
        double = next(t for t in targets if targets.count(t) > 1)
        table.fail("target", f"each target once, but {double.name} is there {targets.count(double)} times")
    return tuple(targets) or default


def _read_resources(table: Table) -> tuple[tuple[str, int], ...]:
    inner = table.table("resources")
    if inner is None:
        return ()
    counts = tuple((name, inner.integer(name, 1, 0, MAX_RESOURCE)) for name in inner.names())
    inner.close()
    return counts


def _override(table: Table, base: Settings) -> Settings:
    return replace(
        base,
        compiler=table.choice("compiler", (*COMPILERS, PREBUILT), base.compiler),
        embed="sealed" if table.choice("embed", EMBEDDINGS, base.embed) == "sealed" else "append",
        calibration_count=table.integer("calibration_count", base.calibration_count, 1, MAX_CALIBRATION),
        skip_broken_images=table.flag("skip_broken_images", base.skip_broken_images),
        targets=_read_targets(table, base.targets),
    )


def read_settings(pyproject: Path) -> Settings:
    """Read `[tool.build_rules]`; defaults when there is no such file or table."""
    if not pyproject.is_file():
        return Settings()
    tool = read_toml(pyproject).get("tool", {})
    content = tool.get("build_rules", {}) if isinstance(tool, dict) else {}
    if not isinstance(content, dict):
        raise InputError(f"{pyproject}: tool.build_rules = {content!r} is not possible; expected a table.")
    table = Table(content, f"{pyproject}, [tool.build_rules]")
    settings = replace(
        _override(table, Settings()),
        resources=_read_resources(table),
        cache=table.text("cache"),
        cache_mode=table.choice("cache_mode", CACHE_MODES, "read-write"),
        cache_limit=table.text("cache_limit"),
        calibration_folder=None if (kept := table.text("calibration_folder")) is None else Path(os.path.normpath(kept)),
    )
    table.flag("linked_build", False)  # the engine reads it, before anything is read from build/
    table.close()
    if any(target.hef for target in settings.targets):
        table.fail("target", "no hef in it: which HEF there is, the model.toml of each model says")
    return settings


def _unwatched(path: Path) -> None:
    """Nobody wants to know what is read."""


def find_models(root: Path, watch: Callable[[Path], None] = _unwatched) -> Iterator[tuple[Path, list[str]]]:
    """Yield every model folder below `root` with the names of its `.onnx` files, in order of name.

    `watch` is told of every folder just before it is searched. Folders inside a model belong to it and are not
    searched; hidden folders are skipped; links are not followed.
    """
    pending = [root]
    while pending:
        folder = pending.pop()
        watch(folder)
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions.") from error
        exports = [e.name for e in found if e.name.endswith(".onnx") and not e.is_dir(follow_symlinks=False)]
        if folder != root and (exports or any(e.name == DECLARATION for e in found)):
            yield folder, exports
            continue
        inner = [e for e in found if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
        pending += [folder / e.name for e in reversed(inner)]


@dataclass(frozen=True)
class _Declared:
    """What `model.toml` says, before defaults are looked for."""

    onnx: str | None
    labels: str | None
    calibration: str | None
    hef: str | None
    split: SplitChoice | None
    settings: Settings


def _read_split(table: Table) -> SplitChoice | None:
    if table.table("split") is None:
        return None
    # Few models have it, and its records take as long to import as everything else here.
    from build_rules.split_table import read_split

    return read_split(table)


def _read_declared(table: Table, settings: Settings) -> _Declared:
    declared = _Declared(
        table.text("onnx"),
        table.text("labels"),
        table.text("calibration"),
        table.text("hef"),
        _read_split(table),
        _override(table, settings),
    )
    # Before any default is looked for: a misspelled key would otherwise look like a missing file.
    table.close()
    return declared


def _choose_onnx(named: str | None, table: Table, folder: Path, exports: list[str], where: Path) -> Path:
    if named is not None:
        if not (folder / named).is_file():
            table.fail("onnx", f"a file in {folder}, which holds: {', '.join(exports) or 'no .onnx at all'}")
        return folder / named
    if len(exports) > 1:
        raise InputError(
            f'{folder}: holds {len(exports)} ONNX files ({", ".join(exports)}); choose one in {where}: onnx = "FILE".'
        )
    if not exports:
        raise InputError(f'{where}: there is no .onnx in {folder}; put one there or write onnx = "FILE" in {where}.')
    if not (folder / exports[0]).is_file():
        raise InputError(
            f"{folder / exports[0]}: is not a file (perhaps a link to one that is gone); put the ONNX there."
        )
    return folder / exports[0]


def _choose_labels(named: str | None, table: Table, folder: Path) -> Path | None:
    path = folder / (named or "labels.txt")
    if path.is_file():
        return path
    if named is not None:
        table.fail("labels", f"a text file with one class name per line; {path} does not exist")
    return None


def _choose_calibration(named: str | None, table: Table, folder: Path, where: Path, needed: bool) -> Path | None:
    if named is not None:
        path = Path(os.path.normpath(folder / named))
        if (fault := find_fault(path)) is not None:
            table.fail("calibration", fault)
        return path
    if (folder / "calibration").is_dir():
        return folder / "calibration"
    snapshots = list_snapshots(folder)
    if snapshots:
        return folder if len(snapshots) > 1 else snapshots[0]
    if not needed:
        return None
    raise InputError(
        f"{folder}: there is nothing to calibrate from; put a calibration-*.safetensors or a folder of images named "
        f'calibration there, or write calibration = "PATH" in {where}.'
    )


def _prebuilt_targets(declared: _Declared, table: Table, folder: Path) -> tuple[Target, ...]:
    """Return a target for every HEF that somebody has compiled; without a compiler a preset means nothing."""
    targets: dict[str, Target] = {}
    for target in declared.settings.targets:
        key, named = ("target", str(target.hef)) if target.hef else ("hef", declared.hef)
        if named is None:
            table.lack(f'hef = "FILE.hef" (or one in each [[target]]), because compiler is "{PREBUILT}"')
        path = Path(os.path.normpath(folder / named))
        if not path.is_file():
            lacks = "is not a file" if path.exists() else "does not exist"
            table.fail(key, f"a HEF file that was compiled for {target.hw_arch}; {path} {lacks}")
        other = targets.setdefault(target.hw_arch, Target(target.hw_arch, PREBUILT, path))
        if other.hef != path:
            table.fail("target", f"one HEF for each hw_arch, but {target.hw_arch} has {other.hef} and {path}")
    if declared.hef is not None and all(target.hef for target in declared.settings.targets):
        table.fail("hef", "no hef here, since every [[target]] names its own")
    return tuple(targets.values())


def _check_compiled_here(declared: _Declared, table: Table) -> None:
    if declared.hef is not None:
        table.fail("hef", f'no hef, or compiler = "{PREBUILT}" beside it: this one is compiled here')
    if any(target.hef for target in declared.settings.targets):
        table.fail("target", f'no hef in it, or compiler = "{PREBUILT}": this model is compiled here')


def _name(folder: Path, root: Path) -> str:
    name = folder.relative_to(root).as_posix()
    if not re.fullmatch(r"[\w./+@ -]+", name) or any(part.startswith("-") for part in name.split("/")):
        raise InputError(
            f"{folder}: a model's folder name becomes part of task names, so it may hold letters, digits and . _ - + @ "
            "only, and not begin with -; rename the folder."
        )
    return name


def _read_model(folder: Path, root: Path, exports: list[str], settings: Settings) -> Model:
    where = folder / DECLARATION
    content: Mapping[str, Any] = read_toml(where) if os.path.lexists(where) else {}
    table = Table(content, str(where))
    declared = _read_declared(table, settings)
    own = declared.settings
    prebuilt = own.compiler == PREBUILT
    if prebuilt:
        own = replace(own, targets=_prebuilt_targets(declared, table, folder))
    else:
        _check_compiled_here(declared, table)
    needed = not prebuilt and own.calibration_folder is None
    return Model(
        name=_name(folder, root),
        folder=folder,
        onnx=_choose_onnx(declared.onnx, table, folder, exports, where),
        labels=_choose_labels(declared.labels, table, folder),
        calibration=_choose_calibration(declared.calibration, table, folder, where, needed),
        split=declared.split,
        settings=own,
    )


def load_models(
    root: Path,
    settings: Settings,
    wanted: Callable[[str], bool] = lambda name: True,
    watch: Callable[[Path], None] = _unwatched,
) -> tuple[Model, ...]:
    """Read every wanted model below `root` (usually `models/`).

    `watch` is told of every folder and `model.toml` just before it is read. Raises `InputError` when there is none, and
    for everything that is wrong in any of them, at once.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}/ here; put each ONNX in a folder of its own below it.")
    models, errors, found = [], [], False
    for folder, exports in find_models(root, watch):
        found = True
        if not wanted(folder.relative_to(root).as_posix()):
            continue
        try:
            for name in LOOKED_FOR:
                watch(folder / name)
            models.append(_read_model(folder, root, exports, settings))
        except InputError as error:
            errors.append(str(error))
        except OSError as error:
            errors.append(f"{error.filename or folder}: cannot be read ({error.strerror}).")
    if len(errors) > 1:
        raise InputError(f"{len(errors)} models are declared wrongly.\n" + "\n".join(errors))
    if errors:
        raise InputError(errors[0])
    if not found:
        raise InputError(f"{root}/ holds no model: put an .onnx into a folder of its own below it.")
    return tuple(models)


def replace_targets(models: tuple[Model, ...], hw_arch: str | None, preset: str | None) -> tuple[Model, ...]:
    """Change every target of every model, for `doit hw_arch=... preset=...`; what is None stays as declared.

    A model that was compiled elsewhere stays as it is.
    """
    for key, value, allowed in (("hw_arch", hw_arch, HW_ARCHS), ("preset", preset, tuple(PRESETS))):
        if value is not None and value not in allowed:
            raise InputError(
                f"{key}={value} on the command line is not possible; expected one of: {', '.join(allowed)}."
            )
    changed = []
    for model in models:
        if model.is_prebuilt:
            changed.append(model)
            continue
        targets = (Target(hw_arch or target.hw_arch, preset or target.preset) for target in model.targets)
        settings = replace(model.settings, targets=tuple(dict.fromkeys(targets)))
        changed.append(replace(model, settings=settings))
    return tuple(changed)
