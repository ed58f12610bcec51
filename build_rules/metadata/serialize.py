"""`edgefirst.json` as bytes: equal documents give equal bytes."""

from __future__ import annotations

import json
from typing import Any

from build_rules.errors import InputError

__all__ = ["document_bytes"]


def document_bytes(document: dict[str, Any]) -> bytes:
    """Return the document as UTF-8 JSON without BOM, indented by two, in its own member order, ending in a newline.

    Python writes a float as the shortest decimal that reads back as the same double, so no number loses anything.
    Raises `InputError` for values that JSON has no word for (NaN, infinity) and for text that is not Unicode.
    """
    try:
        return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (ValueError, TypeError) as error:
        raise InputError(
            f"edgefirst.json cannot be written as JSON ({error}); the metadata in the ONNX holds a value that JSON "
            "does not know: correct it in the trainer's export."
        ) from error
