"""The versions in action keys are those that are installed."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from build_rules.versions import library_version


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "pillow", "numpy", "doit"])
def test_the_version_is_the_installed_one(name: str) -> None:
    assert library_version(name) == version(name)


def test_what_is_not_installed_is_unknown() -> None:
    assert library_version("no-such-library") == "unknown"
