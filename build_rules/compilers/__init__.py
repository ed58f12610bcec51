"""Which compilers there are: the one place that knows them all, and the only one where one is chosen.

`protocol.py` says what each offers. A new compiler is a folder beside `emulator/` and a line in `COMPILERS`; nothing
else in the project asks which one it is.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.errors import InputError

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Compiler

__all__ = ["COMPILERS", "DEFAULT_COMPILER", "PREBUILT", "find_compiler", "find_maker"]

COMPILERS = {
    "emulator": "build_rules.compilers.emulator:Emulator",
}
"""Names, and the class of each, which is imported when it is asked for."""
DEFAULT_COMPILER = "emulator"
PREBUILT = "prebuilt"
"""What stands for a compiler in a model whose HEF somebody has compiled elsewhere: there is nothing to compile."""


def find_compiler(name: str) -> Compiler:
    """Return a compiler of `COMPILERS` with the defaults of its settings."""
    module, compiler = COMPILERS[name].split(":")
    configured: Compiler = getattr(importlib.import_module(module), compiler)()
    return configured


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
