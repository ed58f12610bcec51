"""The document as bytes: the same for the same document, and nothing lost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.metadata.serialize import document_bytes


def test_utf8_without_bom_in_its_own_order() -> None:
    assert document_bytes({"b": 1, "a": "é"}) == '{\n  "b": 1,\n  "a": "é"\n}\n'.encode()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_survives(value: float) -> None:
    read = json.loads(document_bytes({"scale": value}))["scale"]
    assert read == value
    assert np.float32(read) == np.float32(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, "\ud800"])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="cannot be written as JSON"):
        document_bytes({"x": value})
