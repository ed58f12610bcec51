"""The versions in action keys are those that are installed."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from build_rules.versions import is_emulated, library_version


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "pillow", "numpy", "doit"])
def test_the_version_is_the_installed_one(name: str) -> None:
    assert library_version(name) == version(name)


def test_what_is_not_installed_is_unknown() -> None:
    assert library_version("no-such-library") == "unknown"


@pytest.mark.parametrize(
    ("sdk_version", "emulated"),
    [("0.1.0-emulated", True), ("3.33.0", False), ("", False), ("emulated", False), ("3.33.0-emulated-not", False)],
)
def test_what_a_file_says_of_its_compiler(sdk_version: str, emulated: bool) -> None:
    assert is_emulated(sdk_version) is emulated
