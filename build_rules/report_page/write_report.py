"""The files of the report, each whole or not at all."""

from __future__ import annotations

from pathlib import Path

from build_rules.atomic_file import replacing
from build_rules.errors import InputError

__all__ = ["write_page"]


def write_page(path: Path, text: str) -> None:
    """Write a page, in UTF-8. Raises `InputError` when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(text.encode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
