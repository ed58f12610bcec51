"""`names` of an Ultralytics export: the class names, as one of its releases or another program writes them.

A Python dictionary from number to name (`{0: 'person', 1: 'car'}`), a Python list (YOLOv5 of 2022), or the same as
JSON, whose keys are strings. Numbers count from 0, or from 1. The text comes from anybody, so it is never evaluated: a
scanner takes one name after the other, in time that grows with its length, and nothing may be nested.

Source: https://github.com/ultralytics/ultralytics (`exporter.py`), https://github.com/ultralytics/yolov5 (`export.py`).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter

from build_rules.errors import InputError

__all__ = ["MAX_NAMES", "parse_names"]

MAX_NAMES = 1 << 15
"""Classes; the largest public sets have 21,000."""

_STRING = r"""[uU]?(?:'[^'\\\n]*(?:\\.[^'\\\n]*)*'|"[^"\\\n]*(?:\\.[^"\\\n]*)*")"""
_OPEN = re.compile(r"\s*([\[({])\s*")
_KEY = re.compile(rf"\s*(-?\d{{1,9}}|{_STRING})\s*:\s*")
_VALUE = re.compile(rf"\s*({_STRING})\s*(,?)\s*")
_END = re.compile(r"\s*[\])}]\s*\Z")
_NUMBER = re.compile(r"-?\d{1,9}")
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_FORMS = "expected a dictionary from number to name ({0: 'person'}) or a list (['person']), as Python or JSON write it"


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in the order of their numbers. Raises `InputError` that goes on after "`names` is there but"."""
    opened = _OPEN.match(text)
    if opened is None:
        raise InputError(f"begins with {_near(text, 0)}; {_FORMS}")
    if opened[1] == "{":
        return _in_order(_pairs(text, opened.end()))
    return tuple(name for _, name in _pairs(text, opened.end(), opened[1]))


def _pairs(text: str, position: int, opened: str = "{") -> list[tuple[int, str]]:
    """Scan what stands between the brackets; in a list each name has the number of its place."""
    names: list[tuple[int, str]] = []
    separated = True
    while not text.startswith(_CLOSING[opened], position):
        if not separated:
            raise InputError(f"has {_near(text, position)} where a comma is expected; {_FORMS}")
        number = len(names)
        if opened == "{":
            key = _KEY.match(text, position)
            if key is None:
                raise InputError(f"has {_near(text, position)} where the number of a class is expected; {_FORMS}")
            number, position = _number(key[1]), key.end()
        value = _VALUE.match(text, position)
        if value is None:
            raise InputError(f"has {_near(text, position)} as name of class {number}, which is not text in quotes")
        names.append((number, _decoded(value[1], number)))
        if len(names) > MAX_NAMES:
            raise InputError(f"names more than {MAX_NAMES} classes, which no detector has")
        separated, position = bool(value[2]), value.end()
    if _END.match(text, position) is None:
        raise InputError(f"goes on after its end with {_near(text, position + 1)}; {_FORMS}")
    if not names:
        raise InputError("names no class")
    return names


def _number(key: str) -> int:
    inner = key.strip("uU'\"")
    if _NUMBER.fullmatch(inner) is None:
        raise InputError(f"has the key {key[:40]}, which is not the number of a class; {_FORMS}")
    return int(inner)


def _decoded(literal: str, number: int) -> str:
    plain = literal.lstrip("uU")
    if "\\" not in plain:
        return plain[1:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape that Python does not know stands for itself
            return str(ast.literal_eval(_paired(plain)))
    except (SyntaxError, ValueError) as error:
        raise InputError(f"has {plain[:40]} as name of class {number}, whose escapes mean nothing") from error


def _paired(literal: str) -> str:
    """JSON writes what is beyond 16 bits as two escapes, which Python would keep as two halves."""
    return re.sub(
        r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})",
        lambda pair: f"{pair[1]}\\U{0x10000 + ((int(pair[2], 16) & 0x3FF) << 10) + (int(pair[3], 16) & 0x3FF):08x}",
        literal,
    )


def _in_order(pairs: list[tuple[int, str]]) -> tuple[str, ...]:
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = Counter(number for number, _ in pairs).most_common(1)[0][0]
        raise InputError(f"has the number {twice} twice")
    first = min(names)
    if first not in (0, 1):
        raise InputError(f"counts from {first}; classes are numbered from 0, or from 1, without gaps")
    missing = next((number for number in range(first, first + len(names)) if number not in names), None)
    if missing is not None:
        raise InputError(f"has {len(names)} names from {first} to {max(names)}, but none for {missing}")
    return tuple(names[number] for number in range(first, first + len(names)))


def _near(text: str, position: int) -> str:
    shown = re.split(r"(?<=.)[,\])}]", text[position : position + 20])[0].strip()
    return repr(shown) if shown else "nothing"
