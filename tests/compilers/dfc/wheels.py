"""Tiny wheels that are named like Hailo's and hold a stub, which says that it is one."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["STUB", "make_wheel", "wheel_name"]

STUB = '"""A stub of the tests, not Hailo\'s SDK."""\n__version__ = "3.33.0"\n'


def wheel_name(version: str = "3.33.0", tag: str = "py3", platform: str = "linux_x86_64") -> str:
    return f"hailo_dataflow_compiler-{version}-{tag}-none-{platform}.whl"


def make_wheel(
    folder: Path,
    *,
    version: str = "3.33.0",
    tag: str = "py3",
    platform: str = "linux_x86_64",
    head: str = "Name: hailo-dataflow-compiler\nVersion: {version}\n",
    wants: tuple[str, ...] = (),
    members: Mapping[str, str] | None = None,
) -> Path:
    info = f"hailo_dataflow_compiler-{version}.dist-info"
    metadata = "Metadata-Version: 2.1\n" + head.format(version=version)
    metadata += "".join(f"Requires-Dist: {name}\n" for name in wants) + "\nDescription: Name: another\n"
    contents = {
        "hailo_sdk_client/__init__.py": STUB,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}-none-{platform}\n",
        **(members or {}),
    }
    contents[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*contents, f"{info}/RECORD"])
    path = folder / wheel_name(version, tag, platform)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            if text:
                archive.writestr(name, text)
    return path
