"""The double is installed where the DFC is: it runs with Python 3.8 to 3.12, whatever runs the tests."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "dfc_double" / "package"
FILES = sorted(SOURCE.rglob("*.py"))
OLDEST = next(map(str, Path.home().glob(".pyenv/versions/3.8.*/bin/python")), None) or shutil.which("python3.8")
LIGHT = (
    "exceptions",
    "exposed_definitions",
    "script_parser",
    "script_commands",
    "levels",
    "network_lines",
    "allocation",
)
"""Modules that need no numpy, and with them the ones they import."""


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_its_files_are_such_as_the_oldest_python_reads(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_it_imports_the_standard_library_and_numpy_alone(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        assert {name.split(".")[0] for name in names} <= STANDARD


STANDARD = {
    *(
        "__future__",
        "collections",
        "contextlib",
        "enum",
        "errno",
        "fnmatch",
        "functools",
        "io",
        "json",
        "math",
        "numpy",
    ),
    *("os", "pathlib", "re", "signal", "struct", "subprocess", "sys", "tarfile", "tempfile", "time", "types", "typing"),
}


@pytest.mark.skipif(OLDEST is None, reason="there is no Python 3.8 here")
def test_the_oldest_python_parses_a_script_and_plans(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "hailo_sdk_client", tmp_path / "hailo_sdk_client")
    (tmp_path / "hailo_sdk_client" / "__init__.py").write_text("")  # the package itself imports numpy
    program = "\n".join(
        [
            *(f"import hailo_sdk_client.{module}" for module in LIGHT),
            "from hailo_sdk_client.script_parser import parse",
            "from hailo_sdk_client.levels import make_plan",
            "lines = parse('model_optimization_flavor(optimization_level=2)  # as asked')",
            "print(make_plan(lines, 2000, True, False).level, make_plan(lines, 2000, False, False).reasons)",
        ]
    )
    done = subprocess.run([str(OLDEST), "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == '2 ("there\'s no available GPU",)\n'
