"""Workspaces whose compiler is the double of Hailo's, in an environment of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chain.conftest import make_small

__all__ = ["MODEL", "STAGES", "Interpreter", "choose_dfc", "choose_place", "copy_numpy", "make_dfc"]

MODEL = "shapes-det"
STAGES = ["har", "hef", "parse"]
"""The steps in which the compiler is started."""
STARTED = """#!/bin/sh
echo "begin $$ $(date +%s%N)" >> {log}
{python} "$@"
code=$?
echo "end $$ $(date +%s%N)" >> {log}
exit $code
"""


def choose_dfc(folder: Path, python: Path, *lines: str, compiler: str = "dfc", top: Sequence[str] = ()) -> None:
    """Write the settings: the compiler, where the DFC is, and further lines, those of `top` for all compilers."""
    chosen = ["[tool.build_rules]", f'compiler = "{compiler}"', *top]
    own = ["[tool.build_rules.dfc]", f'python = "{python}"', *lines]
    (folder / "pyproject.toml").write_text("\n".join([*chosen, *own]) + "\n")


def choose_place(folder: Path, *lines: str) -> None:
    """Write the settings of Hailo's compiler that lies in an image or behind a command."""
    text = ["[tool.build_rules]", 'compiler = "dfc"', "[tool.build_rules.dfc]", *lines]
    (folder / "pyproject.toml").write_text("\n".join(text) + "\n")


def make_dfc(folder: Path, python: Path, *lines: str) -> Path:
    """`shapes-det` with one target and 8 calibration images, for Hailo's compiler; not built."""
    folder.mkdir(exist_ok=True)
    make_small(folder)
    choose_dfc(folder, python, *lines)
    return folder


class Interpreter:
    """Stands in for the interpreter of an environment and writes down when it is started and when it has ended."""

    def __init__(self, python: Path) -> None:
        self.path = python.with_name("logged")
        self._log = python.parent.parent / "starts.log"
        self.path.write_text(STARTED.format(log=self._log, python=python))
        self.path.chmod(0o755)

    def starts(self) -> int:
        """How often it was started since it was asked last."""
        spans = self.spans()
        self._log.unlink(missing_ok=True)
        return len(spans)

    def spans(self) -> list[tuple[int, int]]:
        """From when to when it ran each time, in ns; to 0 when it never came to its end."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        begun: dict[str, int] = {}
        spans = []
        for word, process, moment in map(str.split, lines):
            if word == "begin":
                begun[process] = int(moment)
            else:
                spans.append((begun.pop(process), int(moment)))
        return [*spans, *((moment, 0) for moment in begun.values())]


def copy_numpy(python: Path, version: str) -> None:
    """Let an environment have another numpy, as far as can be told without it."""
    site = python.parent.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (link,) = site.glob("numpy-*.dist-info")
    source = link.resolve()
    link.unlink()
    copy = site / f"numpy-{version}.dist-info"
    shutil.copytree(source, copy)
    lines = (copy / "METADATA").read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [f"Version: {version}\n" if line.startswith("Version:") else line for line in lines]
    (copy / "METADATA").write_text("".join(changed), encoding="utf-8")
