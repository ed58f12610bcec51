"""What a model folder declares.

A model is any folder below `models/` that holds a `model.toml` or exactly one `.onnx`; its name is its path there.
Everything in `model.toml` has a default (docs/model-toml.md); an unknown key or impossible value is a fault. A fault
stops the steps that need what it is about, of this model alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from build_rules.calibration.pool.sources import find_fault, list_snapshots
from build_rules.compilers import COMPILERS, PREBUILT
from build_rules.declared.faults import Fault, Faults
from build_rules.declared.model_folders import DECLARATION, ModelFolder, find_models, network_name
from build_rules.declared.settings import Settings, Target, override
from build_rules.errors import InputError
from build_rules.regular_file import find_fault as find_file_fault
from build_rules.regular_file import unwatched
from build_rules.toml_table import Table, read_toml

if TYPE_CHECKING:
    from build_rules.declared.alls_table import OwnScript
    from build_rules.declared.metadata_table import MetadataTable
    from build_rules.records.choices import InputChoice, SplitChoice

__all__ = ["Fault", "Model", "load_models", "replace_compiler", "replace_targets"]

T = TypeVar("T")

_ABOVE = "above the first table: whatever stands below a [heading] is part of that table"
PLACES: Mapping[str, str] = {
    **dict.fromkeys(("onnx", "labels", "calibration", "calibration_count", "skip_broken_images"), _ABOVE),
    **dict.fromkeys(("compiler", "embed", "mixed_precision"), _ABOVE),
    **dict.fromkeys(("hw_arch", "preset"), "below [[target]]"),
    **dict.fromkeys(("normalization", "mean", "std", "color", "preprocessing", "shape"), "below [input]"),
    **dict.fromkeys(("proof", "outputs"), "below [split]"),
    "anchors": "below [[split.endpoint]] or [[split.hint]]",
    **dict.fromkeys(("append", "file"), "below [alls]"),
    **dict.fromkeys(("images", "truth"), "below [compare]"),
    **dict.fromkeys(("name", "description", "nms", "decoder_version"), "below [metadata]"),
}
"""Where keys belong that stand in a table that does not have them."""
LOOKED_FOR = (DECLARATION, "labels.txt", "calibration")
"""What is looked for in a model's folder: links may begin to lead somewhere while the folder stays as it is."""


@dataclass(frozen=True)
class Model:
    """One model folder. Paths are relative to the repository; `labels` None means those in the ONNX metadata.

    `calibration` is a snapshot file, a folder of snapshots (the ONNX metadata names one of them), a folder of images, a
    list or a pattern of images. None when nothing is there, and either nothing is compiled here or the snapshot is in
    the repository's `calibration_folder`. `split` and `input` None leave it to metadata and graph where to cut and what
    pixels are taken, `metadata` None to the export what the document says. `alls` None: the script is ours alone.

    `faults` are what is declared wrongly; what they are about is then a default that no step reads. Where
    `targets_are_known` is False, nobody knows for what the model is to be compiled.
    """

    name: str
    folder: Path
    onnx: Path
    labels: Path | None
    calibration: Path | None
    split: SplitChoice | None = None
    input: InputChoice | None = None
    metadata: MetadataTable | None = None
    alls: OwnScript | None = None
    settings: Settings = field(default_factory=Settings)
    faults: tuple[Fault, ...] = ()
    targets_are_known: bool = True

    def fault(self, step: str, target: str = "") -> str | None:
        """Return why a step cannot be done, None when nothing declared stands against it."""
        texts = (fault.text for fault in self.faults if fault.step == step and fault.target in ("", target))
        return next(texts, None)

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
        return network_name(self.name)


@dataclass(frozen=True)
class _Declared:
    """What `model.toml` says, before defaults are looked for."""

    onnx: str | None
    labels: str | None
    calibration: str | None
    hef: str | None
    split: SplitChoice | None
    input: InputChoice | None
    metadata: MetadataTable | None
    alls: OwnScript | None
    settings: Settings


def _read_split(table: Table) -> SplitChoice | None:
    if table.table("split") is None:
        return None
    # Few models have it, and its records take as long to import as everything else here.
    from build_rules.declared.split_table import read_split

    return read_split(table)


def _read_input(table: Table) -> InputChoice | None:
    if table.table("input") is None:
        return None
    from build_rules.declared.input_table import read_input

    return read_input(table)


def _read_metadata(table: Table) -> MetadataTable | None:
    if table.table("metadata") is None:
        return None
    from build_rules.declared.metadata_table import read_metadata

    return read_metadata(table)


def _read_declared(table: Table, settings: Settings) -> _Declared:
    declared = _Declared(
        table.text("onnx"),
        table.text("labels"),
        table.text("calibration"),
        table.text("hef"),
        _read_split(table),
        _read_input(table),
        _read_metadata(table),
        _read_alls(table),
        override(table, settings),
    )
    table.content("compare")  # read by who compares: a fault in it stops no step
    # Before any default is looked for: a misspelled key would otherwise look like a missing file.
    table.close()
    return declared


def _read_alls(table: Table) -> OwnScript | None:
    if table.table("alls") is None:
        return None
    from build_rules.declared.alls_table import read_alls

    return read_alls(table)


def _find_own_file(own: OwnScript | None, folder: Path, where: Path) -> OwnScript | None:
    if own is None:
        return None
    from build_rules.declared.alls_table import find_own_file

    return find_own_file(own, folder, where)


def _choose_onnx(named: str | None, table: Table, folder: Path, exports: tuple[str, ...], where: Path) -> Path:
    if named is not None:
        if (fault := find_file_fault(folder / named)) is not None:
            holds = ", ".join(exports) or "no .onnx at all"
            table.fail("onnx", f"a file in {folder}, which holds: {holds}; {folder / named} {fault}")
        return folder / named
    if len(exports) > 1:
        raise InputError(
            f'{folder}: holds {len(exports)} ONNX files ({", ".join(exports)}); choose one in {where}: onnx = "FILE".'
        )
    if not exports:
        raise InputError(f'{where}: there is no .onnx in {folder}; put one there or write onnx = "FILE" in {where}.')
    if (fault := find_file_fault(folder / exports[0])) is not None:
        raise InputError(f"{folder / exports[0]} {fault}; put the ONNX there.")
    return folder / exports[0]


def _choose_labels(named: str | None, table: Table, folder: Path) -> Path | None:
    path = folder / (named or "labels.txt")
    if (fault := find_file_fault(path)) is None:
        return path
    if named is not None:
        table.fail("labels", f"a text file with one class name per line; {path} {fault}")
    if os.path.lexists(path):
        raise InputError(f"{path} {fault}; put a text file with one class name per line there, or remove it.")
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
        named = str(target.hef) if target.hef else declared.hef
        if named is None:
            table.lack(f'hef = "FILE.hef" (or one in each [[target]]), because compiler is "{PREBUILT}"')
        path = Path(os.path.normpath(folder / named))
        other = targets.setdefault(target.hw_arch, Target(target.hw_arch, PREBUILT, path))
        if other.hef != path:
            table.fail("target", f"one HEF for each hw_arch, but {target.hw_arch} has {other.hef} and {path}")
    return tuple(targets.values())


def _compiled_elsewhere(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the targets of which nobody knows where their HEF is."""
    return tuple(Target(hw_arch, PREBUILT) for hw_arch in dict.fromkeys(target.hw_arch for target in targets))


def _check_hef(target: Target, declared: _Declared, table: Table) -> None:
    if target.hef is not None and (fault := find_file_fault(target.hef)) is not None:
        key = "target" if any(one.hef for one in declared.settings.targets) else "hef"
        table.fail(key, f"a HEF file that was compiled for {target.hw_arch}; {target.hef} {fault}")


def _check_hef_is_needed(declared: _Declared, table: Table) -> None:
    if declared.hef is not None and all(target.hef for target in declared.settings.targets):
        table.fail("hef", "no hef here, since every [[target]] names its own")


def _check_no_script(declared: _Declared, table: Table) -> None:
    if declared.alls is not None:
        table.fail("alls", f'no [alls], because compiler is "{PREBUILT}": there is nothing to compile')


def _check_compiled_here(declared: _Declared, table: Table) -> None:
    if declared.hef is not None:
        table.fail("hef", f'no hef, or compiler = "{PREBUILT}" beside it: this one is compiled here')
    if any(target.hef for target in declared.settings.targets):
        table.fail("target", f'no hef in it, or compiler = "{PREBUILT}": this model is compiled here')


def _read_model(place: ModelFolder, settings: Settings) -> Model:
    folder, where = place.folder, place.folder / DECLARATION
    faults = Faults(folder)
    content: Mapping[str, Any] = faults.ask("split", lambda: read_toml(where) if os.path.lexists(where) else {}, {})
    table = Table(content, str(where), places=PLACES)
    declared = None if faults.recorded else faults.ask("split", lambda: _read_declared(table, settings), None)
    if declared is None:
        return _unread_model(place, content, settings, tuple(faults.recorded))
    own = declared.settings
    prebuilt = own.compiler == PREBUILT
    if prebuilt:
        none: tuple[Target, ...] = ()
        compiled = faults.ask("meta", lambda: _prebuilt_targets(declared, table, folder), none)
        own = replace(own, targets=compiled or _compiled_elsewhere(own.targets))
        for target in compiled:
            faults.ask("meta", lambda target=target: _check_hef(target, declared, table), None, target.name)  # type: ignore[misc]
        faults.ask("meta", lambda: _check_hef_is_needed(declared, table), None)
        faults.ask("meta", lambda: _check_no_script(declared, table), None)
    else:
        faults.ask("split", lambda: _check_compiled_here(declared, table), None)
    needed = not prebuilt and own.calibration_folder is None
    return Model(
        name=place.name,
        folder=folder,
        onnx=faults.ask("split", lambda: _choose_onnx(declared.onnx, table, folder, place.exports, where), where),
        labels=faults.ask("split", lambda: _choose_labels(declared.labels, table, folder), None),
        calibration=faults.ask(
            "calibration", lambda: _choose_calibration(declared.calibration, table, folder, where, needed), None
        ),
        split=declared.split,
        input=declared.input,
        metadata=declared.metadata,
        alls=None if prebuilt else faults.ask("alls", lambda: _find_own_file(declared.alls, folder, where), None),
        settings=own,
        faults=tuple(faults.recorded),
    )


def _unread_model(
    place: ModelFolder, content: Mapping[str, Any], settings: Settings, faults: tuple[Fault, ...]
) -> Model:
    """Return a model of which hardly more is known than that it is there."""
    # What can be read of its targets tells the names of its tasks.
    guess = Faults(place.folder)
    own = guess.ask("split", lambda: override(Table(content, ""), settings), settings) if content else settings
    if own.compiler == PREBUILT:
        own = replace(own, targets=_compiled_elsewhere(own.targets))
    return Model(
        name=place.name,
        folder=place.folder,
        onnx=place.folder / DECLARATION,
        labels=None,
        calibration=None,
        settings=own,
        faults=faults,
        targets_are_known=bool(content) and not guess.recorded,
    )


def load_models(
    root: Path,
    settings: Settings,
    wanted: Callable[[str], bool] = lambda name: True,
    watch: Callable[[Path], None] = unwatched,
) -> tuple[Model, ...]:
    """Read every wanted model below `root` (usually `models/`); what is wrong in one of them is among its `faults`.

    `watch` is told of every folder and `model.toml` just before it is read. Raises `InputError` when there is no model.
    """
    if not root.is_dir():
        raise InputError(f"there is no folder {root}/ here; put each ONNX in a folder of its own below it.")
    models, is_empty = [], True
    for place in find_models(root, watch):
        is_empty = False
        if not wanted(place.name):
            continue
        for name in LOOKED_FOR:
            watch(place.folder / name)
        if place.fault is not None:
            models.append(_unread_model(place, {}, settings, (Fault("split", place.fault),)))
        else:
            models.append(_read_model(place, settings))
    if is_empty:
        raise InputError(f"{root}/ holds no model: put an .onnx into a folder of its own below it.")
    return tuple(models)


def replace_compiler(models: tuple[Model, ...], compiler: str | None) -> tuple[Model, ...]:
    """Compile every model with another compiler, for `doit compiler=...`; None leaves them as declared.

    A model that was compiled elsewhere stays as it is. Raises `InputError` for an unknown compiler.
    """
    if compiler is None:
        return models
    if compiler not in COMPILERS:
        raise InputError(
            f"compiler={compiler} on the command line is not possible; expected one of: {', '.join(COMPILERS)}."
        )
    return tuple(
        model if model.is_prebuilt else replace(model, settings=replace(model.settings, compiler=compiler))
        for model in models
    )


def replace_targets(models: tuple[Model, ...], hw_arch: str | None, preset: str | None) -> tuple[Model, ...]:
    """Change every target of every model, for `doit hw_arch=... preset=...`; what is None stays as declared.

    A model that was compiled elsewhere stays as it is.
    """
    if hw_arch is None and preset is None:
        return models
    from build_rules.presets import PRESETS
    from build_rules.records.hardware import TARGETS

    for key, value, allowed in (("hw_arch", hw_arch, TARGETS), ("preset", preset, tuple(PRESETS))):
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
