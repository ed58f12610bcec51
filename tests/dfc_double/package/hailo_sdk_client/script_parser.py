"""Model scripts: text to statements, by the grammar that accepts every script of the vendor's model zoo.

Written apart from the project's own parser, so that a mistake in that one is not repeated here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .exceptions import make

__all__ = ["Glob", "Statement", "Word", "parse"]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|\#[^\n]*)|(?P<newline>\n)|(?P<string>"[^"\n]*")
    |(?P<empty>\{\})|(?P<glob>\{[^{}\n:,=]+\})
    |(?P<number>[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?![A-Za-z0-9_*?./-]))
    |(?P<name>[A-Za-z0-9_*?][A-Za-z0-9_*?./-]*)|(?P<mark>[()\[\],=])""",
    re.VERBOSE,
)


class Word(str):
    """A bare name: a layer, a feature, a mode."""


class Glob(str):
    """A pattern in braces, without them."""


class Statement(NamedTuple):
    """One command: `targets` are the names it makes, `text` is its own text on one line."""

    command: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    targets: tuple[str, ...]
    line: int
    text: str


class _Token(NamedTuple):
    kind: str
    text: str
    line: int
    begin: int
    end: int


def parse(text: str) -> list[Statement]:
    """Return the statements of a script. Raises `AllocatorScriptParserException` for what is none."""
    tokens = _tokens(text)
    statements = []
    position = 0
    while position < len(tokens):
        if tokens[position].kind == "newline":
            position += 1
            continue
        statement, position = _statement(text, tokens, position)
        statements.append(statement)
    return statements


def _fail(line: int, what: str) -> Exception:
    return make("AllocatorScriptParserException", f"Failed to parse the model script, line {line}: {what}")


def _tokens(text: str) -> list[_Token]:
    tokens, line, depth, position = [], 1, 0, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _fail(line, f"unexpected character {text[position]!r}")
        kind, word = str(match.lastgroup), match.group()
        if kind == "mark":
            depth += (word in "([") - (word in ")]")
        if kind != "space" and not (kind == "newline" and depth > 0):
            tokens.append(_Token(kind, word, line, position, match.end()))
        line += kind == "newline"
        position = match.end()
    tokens.append(_Token("newline", "", line, position, position))
    return tokens


def _statement(text: str, tokens: list[_Token], position: int) -> tuple[Statement, int]:
    first, words = tokens[position], []
    while True:
        token = tokens[position]
        if token.kind not in ("name", "empty"):
            raise _fail(token.line, f"expected a command, found {token.text!r}")
        words.append(token.text)
        position += 1
        if tokens[position].text != ",":
            break
        position += 1
    targets: tuple[str, ...] = ()
    if tokens[position].text == "=":
        targets, words = tuple(words), [tokens[position + 1].text]
        if tokens[position + 1].kind != "name":
            raise _fail(first.line, "expected a command after '='")
        position += 2
    if len(words) != 1 or words[0] == "{}" or tokens[position].text != "(":
        raise _fail(first.line, f"expected '(' after {words[-1]!r}")
    arguments, keywords, position = _arguments(tokens, position + 1)
    if tokens[position].kind != "newline":
        raise _fail(tokens[position].line, f"expected the end of the line, found {tokens[position].text!r}")
    source = re.sub(r"\s*\n\s*", " ", text[first.begin : tokens[position - 1].end])
    return Statement(words[0], arguments, keywords, targets, first.line, source), position


def _arguments(tokens: list[_Token], position: int) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    if tokens[position].text == ")":
        return (), {}, position + 1
    while True:
        if tokens[position].kind == "name" and tokens[position + 1].text == "=":
            key = tokens[position].text
            keywords[key], position = _value(tokens, position + 2)
        elif keywords:
            raise _fail(tokens[position].line, "a positional argument follows a named one")
        else:
            value, position = _value(tokens, position)
            arguments.append(value)
        if tokens[position].text == ")":
            return tuple(arguments), keywords, position + 1
        if tokens[position].text != ",":
            raise _fail(tokens[position].line, f"expected ',' or ')', found {tokens[position].text!r}")
        position += 1


def _value(tokens: list[_Token], position: int) -> tuple[Any, int]:
    token = tokens[position]
    if token.text == "[":
        return _list(tokens, position + 1)
    if token.kind == "name":
        return Word(token.text), position + 1
    if token.kind == "string":
        return token.text[1:-1], position + 1
    if token.kind == "glob":
        return Glob(token.text[1:-1]), position + 1
    if token.kind == "number":
        whole = re.fullmatch(r"[-+]?\d+", token.text)
        return int(token.text) if whole else float(token.text), position + 1
    raise _fail(token.line, f"expected a value, found {token.text!r}")


def _list(tokens: list[_Token], position: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    if tokens[position].text == "]":
        return items, position + 1
    while True:
        item, position = _value(tokens, position)
        items.append(item)
        if tokens[position].text == "]":
            return items, position + 1
        if tokens[position].text != ",":
            raise _fail(tokens[position].line, f"expected ',' or ']', found {tokens[position].text!r}")
        position += 1
