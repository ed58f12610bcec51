"""The grammar of model scripts: text <-> statements.

One grammar accepts every script of Hailo's public model zoo (v2.14 to v2.18)::

    script  = { NL | stmt (NL | EOF) }            # '#' comment to end of line; NL ignored inside () and []
    stmt    = [ target {"," target} "=" ] command "(" [ arg {"," arg} ] ")"
    target  = NAME | "{}"                          # an empty set: the command makes nothing that has a name
    arg     = [ NAME "=" ] value                   # positionals first, no trailing comma
    value   = list | GLOB | STRING | NUMBER | NAME
    list    = "[" [ value {"," value} ] "]"        # nestable
    GLOB    = "{" 1*(not { } NL : , =) "}"
    NAME    = [A-Za-z0-9_*?][A-Za-z0-9_*?./-]*
    STRING  = '"' ... '"'

A command may be dotted (`shortcut.split`), which NAME already allows. Comments are kept with the statements that they
stand at. In lines that users write (`parse_script(..., origins=True)`) a value may also name a layer by its ONNX node::

    ORIGIN  = "onnx:" 1*(not blank ( ) [ ] { } , = " #) | '"onnx:' ... '"'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NoReturn, Union

from build_rules.errors import InputError

__all__ = [
    "NOTHING",
    "Glob",
    "Name",
    "Origin",
    "Script",
    "Statement",
    "String",
    "Value",
    "format_script",
    "parse_script",
    "show_value",
    "without_comments",
]

NOTHING = "{}"
"""The target of a command whose result gets no name."""
MAX_NESTING = 32
MAX_DIGITS = 100
"""Characters of the longest number. Python itself refuses integers of a few thousand, some versions take minutes."""


@dataclass(frozen=True)
class Name:
    """A bare word: a layer, a mode, an option's value."""

    text: str


@dataclass(frozen=True)
class Glob:
    """A layer pattern in braces, kept without them: `{conv*}` is `Glob("conv*")`."""

    text: str


@dataclass(frozen=True)
class String:
    """A double-quoted string (used for paths)."""

    text: str


@dataclass(frozen=True)
class Origin:
    """The layer that comes from an ONNX node, by the node's name; users write it, and no compiler knows it."""

    text: str


Value = Union[Name, Glob, String, Origin, int, float, "tuple[Value, ...]"]


@dataclass(frozen=True)
class Statement:
    """One command, e.g. `n1 = normalization([0.0], [255.0])`; `line` counts from 1 and is 0 for composed statements.

    A target is a name or `NOTHING`. `comments` are the lines of comment above it and those within it, `remark` is the
    one at its end; without `#`, and without blanks around them.
    """

    command: str
    arguments: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()
    targets: tuple[str, ...] = ()
    line: int = 0
    comments: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Script:
    """Statements in order; where two contradict each other, the compiler lets the later one win.

    `comments` are those that come after the last statement.
    """

    statements: tuple[Statement, ...]
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


_TOKENS = re.compile(
    r"""(?P<space>[ \t\f]+)
      | (?P<comment>\#[^\r\n]*)
      | (?P<newline>\r\n?|\n)
      | (?P<origin>onnx:[^\s(){}\[\],="#]+)
      | (?P<string>"[^"\n]*")
      | (?P<nothing>\{[ \t]*\})
      | (?P<glob>\{[^{}\n:,=]+\})
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![A-Za-z0-9_*?./-]))
      | (?P<name>[A-Za-z0-9_*?][A-Za-z0-9_*?./-]*)
      | (?P<mark>[()\[\],=])""",
    re.VERBOSE,
)


def _tokens(text: str, source: str, origins: bool) -> Iterator[_Token]:
    line, depth, position = 1, 0, 0
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None or (match.lastgroup == "origin" and not origins):
            position += len("onnx") if match else 0
            raise InputError(f"{source}, line {line}: {text[position]!r} is not part of the model script language.")
        kind, word = str(match.lastgroup), match.group()
        position = match.end()
        if kind == "mark":
            depth += (word in "([") - (word in ")]")
        if kind == "newline":
            if depth <= 0:
                yield _Token(kind, "end of line", line)
            line += 1
        elif kind != "space":
            yield _Token(kind, word, line)
    yield _Token("newline", "end of file", line)


class _Parser:
    """Recursive descent over the token list, one token of look-ahead; one method per rule of the grammar."""

    def __init__(self, text: str, source: str, origins: bool) -> None:
        self.source = source
        self.origins = origins
        self.tokens: list[_Token] = []
        self.comments: list[tuple[int, str]] = []
        """How many tokens are before a comment, and its text; those of which nothing is made yet."""
        for token in _tokens(text, source, origins):
            if token.kind == "comment":
                self.comments.append((len(self.tokens), token.text[1:].strip()))
            else:
                self.tokens.append(token)
        self.position = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def fail(self, expected: str) -> NoReturn:
        token = self.token
        raise InputError(f"{self.source}, line {token.line}: expected {expected}, found {token.text!r}.")

    def accept(self, text: str) -> bool:
        if self.token.kind == "mark" and self.token.text == text:
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(repr(text))

    def name(self, what: str) -> str:
        token = self.token
        if token.kind != "name":
            self.fail(what)
        self.position += 1
        return token.text

    def target(self, what: str) -> str:
        if self.token.kind != "nothing":
            return self.name(what)
        self.position += 1
        return NOTHING

    def comments_before(self, position: int) -> tuple[str, ...]:
        taken = list(takewhile(lambda comment: comment[0] < position, self.comments))
        del self.comments[: len(taken)]
        return tuple(text for _, text in taken)

    def script(self) -> Script:
        statements = []
        while self.position < len(self.tokens):
            if self.token.kind == "newline":
                self.position += 1
                continue
            statements.append(self.statement())
            if self.token.kind != "newline":
                self.fail("the end of the line")
        return Script(tuple(statements), self.comments_before(len(self.tokens)))

    def statement(self) -> Statement:
        line = self.token.line
        words = [self.target("a command")]
        while self.accept(","):
            words.append(self.target("a name"))
        targets: tuple[str, ...] = ()
        if self.accept("="):
            targets, words = tuple(words), [self.name("a command")]
        if len(words) > 1 or words == [NOTHING]:
            self.fail("'='")
        self.expect("(")
        arguments, keywords = self.arguments()
        comments, remark = self.comments_before(self.position), self.comments_before(self.position + 1)
        return Statement(words[0], arguments, keywords, targets, line, comments, "".join(remark))

    def arguments(self) -> tuple[tuple[Value, ...], tuple[tuple[str, Value], ...]]:
        arguments: list[Value] = []
        keywords: list[tuple[str, Value]] = []
        if self.accept(")"):
            return (), ()
        while True:
            following = self.tokens[self.position + 1] if self.position + 1 < len(self.tokens) else self.token
            if self.token.kind == "name" and following.kind == "mark" and following.text == "=":
                key = self.name("an option")
                self.expect("=")
                keywords.append((key, self.value(0)))
            elif keywords:
                self.fail("NAME = value, since positional arguments come first")
            else:
                arguments.append(self.value(0))
            if self.accept(")"):
                return tuple(arguments), tuple(keywords)
            self.expect(",")

    def value(self, nesting: int) -> Value:
        if nesting > MAX_NESTING:
            self.fail(f"at most {MAX_NESTING} nested lists")
        if self.accept("["):
            return self.items(nesting)
        token = self.token
        if token.kind not in _READERS:
            self.fail("a value")
        if len(token.text) > MAX_DIGITS and token.kind == "number":
            raise InputError(
                f"{self.source}, line {token.line}: a number of {len(token.text)} characters; "
                f"at most {MAX_DIGITS} are read."
            )
        self.position += 1
        if self.origins and token.text.startswith('"onnx:'):
            return Origin(token.text[len('"onnx:') : -1])
        return _READERS[token.kind](token.text)

    def items(self, nesting: int) -> tuple[Value, ...]:
        items: list[Value] = []
        if self.accept("]"):
            return ()
        while True:
            items.append(self.value(nesting + 1))
            if self.accept("]"):
                return tuple(items)
            self.expect(",")


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


_READERS: dict[str, Callable[[str], Value]] = {
    "name": Name,
    "string": lambda text: String(text[1:-1]),
    "glob": lambda text: Glob(text[1:-1]),
    "number": _number,
    "origin": lambda text: Origin(text[len("onnx:") :]),
}


def parse_script(text: str, source: str = "model.alls", origins: bool = False) -> Script:
    """Parse a model script. Raises `InputError` naming `source`, the line and what was expected there.

    `origins`: layers may be named by their ONNX nodes, which only we understand.
    """
    return _Parser(text, source, origins).script()


def show_value(value: Value) -> str:
    """Return a value as a script has it."""
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Origin):
        return f'"onnx:{value.text}"'
    if isinstance(value, Glob):
        return "{" + value.text + "}"
    if isinstance(value, String):
        return f'"{value.text}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show_value, value)) + "]"
    return repr(value)


def without_comments(script: Script) -> Script:
    """Return a script with its statements alone."""
    return Script(tuple(replace(statement, comments=(), remark="") for statement in script.statements))


def format_script(script: Script) -> str:
    """Return the text of a script, one statement a line; parsing it gives equal statements and comments back."""
    lines: list[str] = []
    for statement in script.statements:
        arguments = [show_value(value) for value in statement.arguments]
        arguments += [f"{key}={show_value(value)}" for key, value in statement.keywords]
        assigned = f"{', '.join(statement.targets)} = " if statement.targets else ""
        remark = f"  # {statement.remark}" if statement.remark else ""
        lines += map(_comment_line, statement.comments)
        lines.append(f"{assigned}{statement.command}({', '.join(arguments)}){remark}\n")
    return "".join((*lines, *map(_comment_line, script.comments)))


def _comment_line(text: str) -> str:
    return f"# {text}\n" if text else "#\n"
