"""Reading TOML tables with errors for the person who typed them: file, key, value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from build_rules.errors import InputError
from build_rules.regular_file import TOML_BYTES, read_small

__all__ = ["Table", "read_toml", "shown", "table_beside"]

MAX_DOTTED = 32
"""Names in one dotted key. The parser needs time and memory that grow with the square of it."""
_DEEP = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{MAX_DOTTED}}}""", re.ASCII)
MAX_SHOWN = 200
"""Characters of a value in a message; a value may take the whole file."""


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file of at most 1 MiB, with or without BOM. Raises `InputError` with the parser's line."""
    import tomli

    try:
        # Editors that write a mark at the beginning of UTF-8 write TOML too, which allows none.
        text = read_small(path, TOML_BYTES, "a file of settings").decode("utf-8-sig")
        if (deep := _DEEP.search(text)) is not None:
            line = text.count("\n", 0, deep.start()) + 1
            raise InputError(f"{path}, line {line}: more than {MAX_DOTTED} names joined by dots, which no key here is.")
        return tomli.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}; save it as UTF-8.") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML: {error}.") from error
    except RecursionError as error:
        raise InputError(f"{path}: not valid TOML: nested too deeply.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def shown(value: object) -> str:
    """Return a value as a message has it: on one line, and no more of it than somebody reads."""
    try:
        text = repr(value)
    except RecursionError:
        return "what is nested too deep to be shown"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


class Table:
    """One TOML table whose every key must be asked for; `close` refuses the keys that nobody asked for.

    `where` begins its errors; `name` is what its own tables are headed by in the file (`split` in `[[split.hint]]`).
    `places` says where in the file the keys belong that people write elsewhere.
    """

    def __init__(
        self, content: Mapping[str, Any], where: str, name: str = "", places: Mapping[str, str] | None = None
    ) -> None:
        self._content = content
        self._where = where
        self._name = name
        self._places = places or {}
        self._known: list[str] = []

    def fail(self, key: str, expected: str) -> NoReturn:
        """Refuse the value of `key`."""
        raise InputError(
            f"{self._where}: {key} = {shown(self._content.get(key))} is not possible; expected {expected}."
        )

    def lack(self, what: str) -> NoReturn:
        """Refuse the table for something that it does not say."""
        raise InputError(f"{self._where}: needs {what}.")

    def names(self) -> tuple[str, ...]:
        """Return the keys that are there, in the order of the file, of a table that takes any."""
        return tuple(self._content)

    def _value(self, key: str, kind: type, expected: str) -> Any:
        if key not in self._known:
            self._known.append(key)
        value = self._content.get(key)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            self.fail(key, expected)
        return value

    def text(self, key: str) -> str | None:
        """Return a non-empty string, or None when the key is absent."""
        value: str | None = self._value(key, str, "a string")
        if value is not None and (not value or "\0" in value):
            self.fail(key, "a string that is not empty")
        return value

    def choice(self, key: str, allowed: Iterable[str], default: str) -> str:
        """Return one of the allowed words."""
        allowed = tuple(allowed)
        expected = "one of: " + ", ".join(f'"{word}"' for word in allowed)
        value = self._value(key, str, expected)
        if value is None:
            return default
        if value not in allowed:
            self.fail(key, expected)
        return str(value)

    def integer(self, key: str, default: int, minimum: int, maximum: int) -> int:
        """Return an integer within bounds."""
        expected = f"an integer from {minimum} to {maximum}"
        value = self._value(key, int, expected)
        if value is None:
            return default
        if not minimum <= value <= maximum:
            self.fail(key, expected)
        return int(value)

    def number(self, key: str, default: float, minimum: float, maximum: float) -> float:
        """Return a number within bounds."""
        expected = f"a number from {minimum:g} to {maximum:g}"
        value = self._value(key, object, expected)
        if value is None:
            return default
        if type(value) not in (int, float) or not minimum <= value <= maximum:
            self.fail(key, expected)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._value(key, bool, "true or false")
        return default if value is None else bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of strings that are not empty; an empty one when absent."""
        items = self._value(key, list, "an array of strings") or []
        if not all(isinstance(item, str) and item and "\0" not in item for item in items):
            self.fail(key, "an array of strings that are not empty")
        return tuple(items)

    def integers(self, key: str, minimum: int, maximum: int) -> tuple[int, ...]:
        """Return an array of integers within bounds; an empty one when absent."""
        expected = f"an array of integers from {minimum} to {maximum}"
        items = self._value(key, list, expected) or []
        if not all(type(item) is int and minimum <= item <= maximum for item in items):
            self.fail(key, expected)
        return tuple(items)

    def array(self, key: str, expected: str) -> list[Any]:
        """Return an array of anything, which the caller looks into; an empty one when absent."""
        return list(self._value(key, list, expected) or [])

    def numbers(self, key: str, minimum: float, maximum: float) -> tuple[float, ...]:
        """Return an array of numbers within bounds; an empty one when absent."""
        expected = f"an array of numbers from {minimum:g} to {maximum:g}"
        items = self._value(key, list, expected) or []
        if not all(type(item) in (int, float) and minimum <= item <= maximum for item in items):
            self.fail(key, expected)
        return tuple(map(float, items))

    def content(self, key: str) -> Mapping[str, Any] | None:
        """Return the content of a table (`[key]`) in which anything may stand, None when absent."""
        value: dict[str, Any] | None = self._value(key, dict, f"a table, headed [{self._inner_name(key)}]")
        return value

    def table(self, key: str) -> Table | None:
        """Return a table (`[key]`), None when absent."""
        name = self._inner_name(key)
        content = self._value(key, dict, f"a table, headed [{name}]")
        return None if content is None else Table(content, f"{self._where}, [{key}]", name, self._places)

    def tables(self, key: str) -> tuple[Table, ...]:
        """Return an array of tables (`[[key]]`), empty when absent."""
        name = self._inner_name(key)
        expected = f"tables, each headed [[{name}]]"
        items = self._value(key, list, expected) or []
        if not all(isinstance(item, dict) for item in items):
            self.fail(key, expected)
        where = f"{self._where}, [[{key}]] number"
        return tuple(Table(item, f"{where} {i + 1}", name, self._places) for i, item in enumerate(items))

    def _inner_name(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def close(self) -> None:
        """Refuse unknown keys, with their place in the file or the nearest known one as a suggestion."""
        for key in self._content:
            if key not in self._known:
                import difflib

                near = difflib.get_close_matches(key, self._known, n=1)
                if key in self._places:
                    advice = f"; it belongs {self._places[key]}."
                else:
                    advice = f'; did you mean "{near[0]}"?' if near else "."
                known = ", ".join(self._known) or "none"
                raise InputError(
                    f"{self._where}: unknown key {key} = {shown(self._content[key])}{advice} Allowed are: {known}."
                )


def table_beside(onnx: Path) -> Table:
    """Return the `model.toml` beside an ONNX file; an empty table when there is none, or it is about another file.

    Raises `InputError` when it is no TOML.
    """
    where = onnx.parent / "model.toml"
    content = read_toml(where) if where.is_file() else {}
    return Table(content if content.get("onnx", onnx.name) == onnx.name else {}, str(where))
