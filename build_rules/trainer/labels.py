"""`labels.txt`: one class name per line, in the order of the score channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from build_rules.errors import InputError
from build_rules.regular_file import LABELS_BYTES, read_small

__all__ = ["check_labels", "labels_text", "parse_labels", "read_labels"]

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Those of writing directions are among them: with one, what is shown is not what is there."""
_LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the lines of a labels file (UTF-8, with or without BOM, at most 1 MiB). Raises `InputError`."""
    try:
        return parse_labels(read_small(path, LABELS_BYTES, "one class name per line"), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def parse_labels(content: bytes, where: str) -> tuple[str, ...]:
    """Return the lines of a labels file (UTF-8, with or without BOM). Raises `InputError`, naming `where`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text ({error}); save it as UTF-8, one class name per line.") from error
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n"))


def check_labels(labels: Sequence[str], class_count: int) -> None:
    """Raise `InputError` unless there is one label for each of the model's `class_count` score channels."""
    if len(labels) != class_count:
        raise InputError(
            f"The labels name {len(labels)} classes, but the model's scores have {class_count}; give labels.txt "
            f"exactly {class_count} lines, in the order of training."
        )


def labels_text(labels: Sequence[str]) -> str:
    """Return the text of `labels.txt`, to be written as UTF-8 without BOM: every label on a line of its own.

    Raises `InputError` for a label that is not text, is blank, holds anything a reader might take for a line break, or
    begins with a byte order mark: readers count lines, so one such label would shift the names of all that follow.
    """
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise InputError(f"Label {index} is {label!r:.80}, not text; write every class name as a string.")
        if any(character in label for character in _LINE_BREAKS):
            raise InputError(
                f"Label {index} ({label!r:.80}) contains a line break; a class name is one line of labels.txt."
            )
        if _CONTROLS.search(label) is not None:
            raise InputError(
                f"Label {index} ({label!r:.80}) contains a control character, which no class name has; write it as "
                "plain text."
            )
        if not label.strip() or label.startswith("\ufeff"):
            raise InputError(
                f"Label {index} ({label!r:.80}) is blank or begins with a byte order mark; give the class a name."
            )
        if any("\ud800" <= character <= "\udfff" for character in label):
            raise InputError(f"Label {index} ({label!r:.80}) cannot be written as UTF-8; correct the class name.")
    return "".join(f"{label}\n" for label in labels)
