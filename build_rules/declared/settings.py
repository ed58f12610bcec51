"""`[tool.build_rules]` of `pyproject.toml`: what models use when they do not say otherwise; and what a target is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from build_rules.compilers import COMPILERS, DEFAULT_COMPILER, PREBUILT, find_compiler
from build_rules.errors import InputError
from build_rules.records.hardware import DEFAULT_ARCH, TARGETS
from build_rules.toml_table import Table, read_toml

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Compiler

__all__ = ["Settings", "Target", "override", "read_settings"]

TABLE = "build_rules"
MAX_CALIBRATION = 65536
MAX_RESOURCE = 1 << 30
EMBEDDINGS = ("append", "sealed")
MIXED_PRECISION = ("off", "auto")
CACHE_MODES = ("read-write", "read-only")
Embedding = Literal["append", "sealed"]


@dataclass(frozen=True)
class Target:
    """What to compile for: the chip and the preset. `hef` is what was compiled elsewhere, as the preset then says."""

    hw_arch: str = DEFAULT_ARCH
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
    for the whole repository only. `mixed_precision` says whether `accurate` looks for layers that 16 bits are worth
    (`auto`) or not (`off`). `compilers` are those that have a table of their own, with what it says.
    """

    compiler: str = DEFAULT_COMPILER
    compilers: tuple[Compiler, ...] = ()
    embed: Embedding = "append"
    calibration_count: int = 1024
    skip_broken_images: bool = False
    mixed_precision: str = "off"
    targets: tuple[Target, ...] = (Target(),)
    resources: tuple[tuple[str, int], ...] = ()
    cache: str | None = None
    cache_mode: str = "read-write"
    cache_limit: str | None = None
    calibration_folder: Path | None = None

    def configured(self, compiler: str) -> Compiler:
        """Return a compiler with what is said of it, the defaults where nothing is."""
        declared = {record.name: record for record in self.compilers}
        return declared.get(compiler) or find_compiler(compiler)


def _read_targets(table: Table, default: tuple[Target, ...]) -> tuple[Target, ...]:
    if not (entries := table.tables("target")):
        return default
    from build_rules.presets import PRESETS

    targets = []
    for entry in entries:
        targets.append(
            Target(
                entry.choice("hw_arch", TARGETS, DEFAULT_ARCH),
                entry.choice("preset", PRESETS, "fast"),
                None if (hef := entry.text("hef")) is None else Path(hef),
            ),
        )
        entry.close()
    if len(set(targets)) < len(targets):
        double = next(t for t in targets if targets.count(t) > 1)
        table.fail("target", f"each target once, but {double.name} is there {targets.count(double)} times")
    return tuple(targets)


def _read_resources(table: Table) -> tuple[tuple[str, int], ...]:
    inner = table.table("resources")
    if inner is None:
        return ()
    counts = tuple((name, inner.integer(name, 1, 0, MAX_RESOURCE)) for name in inner.names())
    inner.close()
    return counts


def _read_compilers(table: Table, base: Settings) -> tuple[Compiler, ...]:
    compilers = {compiler.name: compiler for compiler in base.compilers}
    for name in COMPILERS:
        inner = table.table(name)
        if inner is not None:
            compilers[name] = base.configured(name).override(inner)
            inner.close()
    return tuple(compilers.values())


def override(table: Table, base: Settings) -> Settings:
    """Return settings with what a table says put over them. Raises `InputError` for what is not possible in it."""
    return replace(
        base,
        compiler=table.choice("compiler", (*COMPILERS, PREBUILT), base.compiler),
        compilers=_read_compilers(table, base),
        embed="sealed" if table.choice("embed", EMBEDDINGS, base.embed) == "sealed" else "append",
        calibration_count=table.integer("calibration_count", base.calibration_count, 1, MAX_CALIBRATION),
        skip_broken_images=table.flag("skip_broken_images", base.skip_broken_images),
        mixed_precision=table.choice("mixed_precision", MIXED_PRECISION, base.mixed_precision),
        targets=_read_targets(table, base.targets),
    )


def read_settings(pyproject: Path) -> Settings:
    """Read `[tool.build_rules]`; defaults when there is no such file or table."""
    if not os.path.lexists(pyproject):
        return Settings()
    tool = read_toml(pyproject).get("tool", {})
    tool = tool if isinstance(tool, dict) else {}
    if wrong := next((key for key in tool if key != TABLE and key.lower().replace("-", "_") == TABLE), None):
        raise InputError(f"{pyproject}: [tool.{wrong}] is not read by anybody; write [tool.{TABLE}].")
    content = tool.get(TABLE, {})
    if not isinstance(content, dict):
        raise InputError(f"{pyproject}: tool.build_rules = {content!r} is not possible; expected a table.")
    table = Table(content, f"{pyproject}, [tool.{TABLE}]", f"tool.{TABLE}")
    settings = replace(
        override(table, Settings()),
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
