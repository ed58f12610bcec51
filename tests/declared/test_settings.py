"""`[tool.build_rules]`: every key with its first and last possible value, and what is told of the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from build_rules.declared.settings import Settings, Target, read_settings
from build_rules.errors import InputError


def read(folder: Path, text: str) -> Settings:
    (folder / "pyproject.toml").write_text(f"[tool.build_rules]\n{text}\n")
    return read_settings(folder / "pyproject.toml")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("", "resources", ()),
        ("", "cache_mode", "read-write"),
        ("", "calibration_count", 1024),
        ("", "skip_broken_images", False),
        ("calibration_count = 1", "calibration_count", 1),
        ("calibration_count = 65536", "calibration_count", 65536),
        ("skip_broken_images = true", "skip_broken_images", True),
        ('embed = "append"', "embed", "append"),
        ('embed = "sealed"', "embed", "sealed"),
        ('compiler = "prebuilt"', "compiler", "prebuilt"),
        ('cache = "http://host"', "cache", "http://host"),
        ('cache_mode = "read-only"', "cache_mode", "read-only"),
        ('cache_limit = "20 GB"', "cache_limit", "20 GB"),
        ('calibration_folder = "there/../snapshots/"', "calibration_folder", Path("snapshots")),
        ("linked_build = true", "targets", (Target(),)),
        ('[[tool.build_rules.target]]\npreset = "accurate"', "targets", (Target("hailo8l", "accurate"),)),
        ("[tool.build_rules.resources]\nlicences = 0", "resources", (("licences", 0),)),
        (f"[tool.build_rules.resources]\ncores = 3\nmemory_mb = {1 << 30}", "resources",
         (("cores", 3), ("memory_mb", 1 << 30))),
    ],
)  # fmt: skip
def test_what_may_be_said(tmp_path: Path, text: str, name: str, value: Any) -> None:
    assert getattr(read(tmp_path, text), name) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calibration_count = 0", "an integer from 1 to 65536"),
        ("calibration_count = 65537", "an integer from 1 to 65536"),
        ('embed = "zip"', 'one of: "append", "sealed"'),
        ('cache_mode = "write"', 'one of: "read-write", "read-only"'),
        ('cache = ""', "a string that is not empty"),
        ("linked_build = 1", "true or false"),
        ("[tool.build_rules.resources]\ncores = -1", f"[resources]: cores = -1 is not possible; expected an integer "
         f"from 0 to {1 << 30}"),
        (f"[tool.build_rules.resources]\ncores = {(1 << 30) + 1}", f"an integer from 0 to {1 << 30}"),
        ("[tool.build_rules.emulator]\nlevel = 1", "[emulator]: unknown key level = 1. Allowed are: none"),
        ('[[tool.build_rules.target]]\nhef = "a.hef"', "no hef in it: which HEF there is"),
        ('[[tool.build_rules.target]]\nembed = "sealed"', "[[target]] number 1: unknown key embed"),
        ("[[tool.build_rules.target]]\n" * 2, "each target once, but hailo8l-fast is there 2 times"),
    ],
)  # fmt: skip
def test_what_may_not(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'pyproject.toml'}, [tool.build_rules]")


def test_settings_that_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\nbuild_rules = 3")
    with pytest.raises(InputError, match=r"tool\.build_rules = 3 is not possible; expected a table"):
        read_settings(tmp_path / "pyproject.toml")
    (tmp_path / "pyproject.toml").write_text("tool = 3")
    assert read_settings(tmp_path / "pyproject.toml") == Settings()
