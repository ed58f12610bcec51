"""The metadata document inside a HEF, of which nothing is certain: any file can carry any ZIP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from build_rules.errors import InputError

__all__ = ["DOCUMENT", "load_document"]

DOCUMENT = "edgefirst.json"


def load_document(members: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return the document among a HEF's ZIP members, None when there is none.

    Raises `InputError`, without the file's name, when it is not a JSON object.
    """
    if DOCUMENT not in members:
        return None
    try:
        document = json.loads(members[DOCUMENT])
    except (ValueError, RecursionError) as error:
        raise InputError(f"its {DOCUMENT} is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise InputError(f"its {DOCUMENT} is not a JSON object.")
    return document
