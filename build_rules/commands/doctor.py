"""`doit doctor`: whether what this repository asks for can be compiled here, and what to type where it cannot.

`--install-dfc WHEEL` makes an environment for Hailo's compiler.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.commands.command import BuildCommand, show
from build_rules.errors import InputError, printable
from build_rules.exit_codes import DONE, WRONG_INPUT

if TYPE_CHECKING:
    from build_rules.commands.repository_facts import Asked
    from build_rules.compilers.protocol import Diagnosis

__all__ = ["Doctor"]

LIBRARIES = ("doit", "numpy", "onnx", "onnxruntime")


def _option(name: str, text: str) -> dict[str, Any]:
    return {"name": name.replace("-", "_"), "short": "", "long": name, "type": str, "default": "", "help": text}


class Doctor(BuildCommand):
    """doit's command `doctor`."""

    name = "doctor"
    doc_purpose = "tell whether what is asked for can be compiled here, and what to do where it cannot"
    doc_usage = "[--report FILE] | --install-dfc WHEEL [--into DIR] [--python PYTHON]"
    doc_description = (
        "Looks at the compiler that each model asks for (version, Python, memory, disk, GPU, images against the level) "
        "and at the shared cache; nothing is built. What is printed can be sent to others: names, home folders and "
        "passwords are left out; --report writes it into a file, too. --install-dfc makes an environment for Hailo's "
        "Dataflow Compiler from the wheel that you have downloaded, and prints the lines that use it. Exit code 0: "
        "nothing is wrong, or only warnings; 3: what is asked for cannot be compiled here."
    )
    cmd_options = (
        _option("report", "a file to write what is printed into"),
        _option("install-dfc", "the wheel of Hailo's Dataflow Compiler"),
        _option("into", "where the environment is made (default: ../dfc)"),
        _option("python", "the interpreter to make it with (default: the one that the wheel wants, from PATH)"),
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Look, and tell; or install."""
        if files:
            raise self.usage_error(f"takes no file, and {files[0]} is given; a wheel is given to --install-dfc.")
        if options["install_dfc"]:
            if options["report"]:
                raise self.usage_error("--report is not for --install-dfc; run `doit doctor` once it is installed.")
            return _install(Path(options["install_dfc"]), options["into"], options["python"])
        if options["into"] or options["python"]:
            raise self.usage_error("--into and --python belong to --install-dfc.")
        return _examine(options["report"])


def _examine(report: str) -> int:
    from build_rules.commands.doctor_report import anonymous, checklist_lines, diagnosis_lines, summary_line
    from build_rules.commands.repository_facts import read_repository

    target = _report_file(report) if report else None
    repository = read_repository()
    lines = [_versions(), "", "repository", *diagnosis_lines(repository.found)]
    everything: list[Diagnosis] = list(repository.found)
    points: dict[str, None] = {}
    for asked in repository.asked:
        found = asked.compiler.diagnose(asked.requests)
        lines += [_heading(asked), *diagnosis_lines(found)]
        everything += found
        if all(one.state != "error" for one in found):
            points.update(dict.fromkeys(asked.compiler.checklist()))
    lines += ["", summary_line(everything), *checklist_lines(tuple(points))]
    text = anonymous("\n".join(lines)) + "\n"
    show(text)
    if target is not None:
        _write(target, text)
    return WRONG_INPUT if any(one.state == "error" for one in everything) else DONE


def _versions() -> str:
    from build_rules.versions import library_version

    libraries = ", ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    return (
        f"hailo-build-rules {library_version('hailo-build-rules')} on Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()} ({libraries})"
    )


def _heading(asked: Asked) -> str:
    count = len(asked.requests)
    return f"compiler {asked.compiler.name}" + (f" ({count} target{'s' if count > 1 else ''})" if count else "")


def _report_file(name: str) -> Path:
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--report {path}: is no place for a file; give the name of one in a folder that exists.")
    return path


def _write(path: Path, text: str) -> None:
    from build_rules.atomic_file import replacing

    try:
        with replacing(path) as stream:
            stream.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"--report {path}: cannot be written ({error.strerror}); name another place.") from error


def _install(wheel: Path, into: str, python: str) -> int:
    from build_rules.compilers.dfc.install import DEFAULT_FOLDER, install, lines_to_write

    made = install(wheel, Path(into or DEFAULT_FOLDER), python or None, lambda line: show(f"{printable(line)}\n"))
    show(f"\nWrite into pyproject.toml:\n\n{lines_to_write(made)}\nThen `doit doctor` tells whether it works.\n")
    return DONE
