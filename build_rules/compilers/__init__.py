"""Which compilers there are: the one place that knows them all, and the only one where one is chosen.

A new compiler is a folder beside `emulator/` and a line in `COMPILERS`; nothing else in the project asks which one it
is.

===================  =======================================================================
`protocol.py`        what does every compiler offer?
`har_file.py`        what is in a HAR? (`archive.py`: the archive beneath it, within bounds)
`describe_har.py`    what does it tell of layers and outputs? (`npz_numbers.py`: single numbers of an `.npz`)
`begin_at.py`        how does a graph look that begins behind its front?
`in_order.py`        how do several images run at once?
`samples.py`         what is in one row of the calibration snapshot?
`network_images.py`  what is an image that a network takes?
`exported_graph.py`  what does the exported graph make of a sample?
`delivered.py`       which output of a network is which endpoint of the cut, both in one form?
`name_sample.py`     which image is a sample that was found wrong?
`pixel_proof.py`     does the parsed network see the pixels that the exported graph saw?
`compiled_check.py`  is the HEF what was asked for? (`asked_outputs.py`: what was asked)
`read_back.py`       what did a stage do?
`layer_noise.py`     what does quantizing each layer cost?
`emulator/`          the built-in one
`dfc/`               Hailo's own, which is driven from outside
===================  =======================================================================
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.errors import InputError

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Compiler, Stage

__all__ = ["COMPILERS", "DEFAULT_COMPILER", "PREBUILT", "Compiling", "ask_compiler", "find_compiler", "find_maker"]

COMPILERS = {
    "emulator": "build_rules.compilers.emulator:Emulator",
    "dfc": "build_rules.compilers.dfc:Dfc",
}
"""Names, and the class of each, which is imported when it is asked for."""
DEFAULT_COMPILER = "emulator"
PREBUILT = "prebuilt"
"""What stands for a compiler in a model whose HEF somebody has compiled elsewhere: there is nothing to compile."""


STAGES: tuple[Stage, ...] = ("parse", "optimize", "compile")


def find_compiler(name: str) -> Compiler:
    """Return a compiler of `COMPILERS` with the defaults of its settings."""
    module, compiler = COMPILERS[name].split(":")
    configured: Compiler = getattr(importlib.import_module(module), compiler)()
    return configured


@dataclass(frozen=True)
class Compiling:
    """A compiler with its settings, its version, and what the outputs of its stages depend on.

    When it cannot tell, `fault` says why, of `faulty`: the first stage that needs to know, for which the others wait.
    """

    compiler: Compiler
    version: str
    tools: Mapping[Stage, Mapping[str, str]]
    faulty: Stage | None = None
    fault: str | None = None

    @property
    def shared(self) -> set[str]:
        """The names of what its stages take of what settings count."""
        return {name for stage in STAGES for name, _ in self.compiler.needs(stage)}

    def fault_of(self, stage: Stage) -> str | None:
        """Return why a stage cannot be run, None when nothing is known against it."""
        return self.fault if stage == self.faulty else None


def ask_compiler(compiler: Compiler, fault: str | None = None) -> Compiling:
    """Ask a compiler what its outputs depend on; `fault` is why it could not be found out about."""
    nothing: Mapping[str, str] = {}
    stages: tuple[Stage, ...] = (*STAGES, "statistics") if compiler.collects_statistics else STAGES
    stage, version, tools = STAGES[0], "", dict.fromkeys(stages, nothing)
    if fault is not None:
        return Compiling(compiler, version, tools, stage, fault)
    try:
        version = compiler.version()
        for stage in stages:
            tools[stage] = compiler.tools(stage)
    except InputError as error:
        return Compiling(compiler, version, tools, stage, str(error))
    return Compiling(compiler, version, tools)


def find_maker(path: Path) -> Compiler:
    """Return the compiler that made a HEF or a HAR, as the file says. Raises `InputError` when it is none of ours."""
    sdk_version = _sdk_version(path)
    for compiler in map(find_compiler, COMPILERS):
        if compiler.is_maker(sdk_version):
            return compiler
    raise InputError(
        f"{path}: holds code for a Hailo device, made by version {sdk_version} of its compiler; only emulated HEFs and "
        f'HARs (compiler = "{DEFAULT_COMPILER}") run on the host. Run it on the device, or build its model with that '
        "compiler."
    )


def _sdk_version(path: Path) -> str:
    if path.suffix.lower() == ".har":
        from build_rules.compilers.har_file import outline_har

        return outline_har(path)[0].sdk_version
    from build_rules.hef.reader import read_hef

    return read_hef(path).sdk_version
