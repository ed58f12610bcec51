"""The snapshot that a model's metadata names, in the folder where a repository keeps snapshots.

The name was written by whoever made the ONNX: it is looked for in that folder and leads nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from build_rules.errors import InputError

__all__ = ["find_named", "is_plain"]

MAX_NAME_BYTES = 255


def find_named(folder: Path, name: str) -> Path:
    """Return the file called `name` directly in `folder`; only this one name is looked up, however many are there.

    Raises `InputError` when `name` is no plain file name, and when there is no such folder or file.
    """
    if not is_plain(name):
        raise InputError(
            f"the ONNX metadata names {name[:MAX_NAME_BYTES]!r} as calibration, which is not the plain name of a file; "
            "export the model again, or name the snapshot in `calibration`."
        )
    if not folder.is_dir():
        raise InputError(
            f"{folder}: there is no such folder, but calibration_folder names it; make it, or correct pyproject.toml."
        )
    if not (folder / name).is_file():
        raise InputError(
            f"the ONNX metadata names the snapshot {name}, which is neither beside the model nor in {folder}; "
            "put it into one of them, or name another one in `calibration`."
        )
    return folder / name


def is_plain(name: str) -> bool:
    """Say whether this is the name of a file, fit to be written into metadata and shown."""
    # What does not print (control characters, lone surrogates) is in no honest name, and some of it in no name at all.
    plain = name.isprintable() and not set(name) & set("/\\") and name not in ("", ".", "..")
    return plain and len(name.encode()) <= MAX_NAME_BYTES
