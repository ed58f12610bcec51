"""From a failure of the compiler to what the person at the terminal reads: what it is, in our names, and what helps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from build_rules.alls.script import parse_script
from build_rules.compilers.dfc.failure_table import KINDS, SILENT, KnownFailure, find_failure
from build_rules.compilers.dfc.layer_origins import named_layers
from build_rules.compilers.dfc.log_text import last_lines, split_sections
from build_rules.errors import InputError

__all__ = ["PROBE", "CompilerError", "Failure", "Hints", "explain", "known_failure"]

LAST_LINES = 8
QUOTED = 400
"""Characters of a message of the compiler's that are told."""
SEARCHED = 200
"""Last lines of each log that are searched for what went wrong."""
NODES = 12
RAW = 1 << 16
"""Characters of a message, and of a traceback, that are looked at and kept."""
OWN = "from "
"""How a comment begins that says whose lines follow."""
STAGE_LOGS = {
    "parse": ("hailo_sdk.client.log", "hailo_sdk.core.log"),
    "optimize": ("acceleras.log", "hailo_sdk.client.log"),
    "compile": ("allocator.log", "hailo_sdk.client.log"),
}
PROBE = "probe"
"""The question which compiler there is; its answer is told where no log can be shown below it."""
RAISED = ("raised", "died", "garbage")
"""Kinds in which the compiler's own words may say what it is."""


class Failure(Protocol):
    """What is known of a run that failed; `launch/` raises it."""

    @property
    def kind(self) -> str:
        """One of `KINDS`, or `raised`."""

    @property
    def type(self) -> str:
        """The name of the exception's type, when one was raised."""

    @property
    def message(self) -> str:
        """Its text, or ours."""

    @property
    def traceback(self) -> str:
        """As Python printed it over there."""

    @property
    def log(self) -> str:
        """All logs, as `log_text.py` reads them."""

    @property
    def kept(self) -> Path | None:
        """The folder with everything of the run."""


@dataclass(frozen=True)
class Hints:
    """What a step knows of what it asked for; whatever it does not know is left out of the message.

    `script` is the model script by the name the user finds it under, `origins` the ONNX nodes of the compiler's layers
    (`layer_origins`), `endpoints` the names of endpoints by ONNX node, `tried` the remedies that did not help, in
    words. `is_wide`: some output has 16 bits, for all that is known.
    """

    model: str = ""
    target: str = ""
    preset: str = ""
    script: str = ""
    script_text: str = ""
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    tried: tuple[str, ...] = ()
    is_wide: bool = True


class _RawError(Exception):
    """What the compiler raised, in its own words."""


class CompilerError(InputError):
    """A failure of the compiler, told. `raw` is what it raised, which only `BUILD_RULES_DEBUG=1` shows.

    It stays with the error when that is sent to another process. `paste` are the last lines of the log.
    """

    def __init__(self, message: str, paste: str = "", facts: str = "", raw: str = "") -> None:
        super().__init__(message, paste, facts)
        self.raw = raw
        self.__cause__ = _RawError(f"\n{raw}") if raw else None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.paste, self._facts, self.raw)

    def within(self, place: object) -> InputError:
        """Return the same error, told of a file or another place."""
        return CompilerError(f"{place}: {self}", self.paste, self._facts and f"{place}: {self._facts}", self.raw)


def known_failure(failure: Failure) -> KnownFailure | None:
    """Return the row of the table that fits a failure, None when none does."""
    found = _find(failure)
    return found[0] if found else None


def explain(failure: Failure, stage: str, hints: Hints) -> CompilerError:
    """Return the error to raise for a failure: one paragraph, and below it the last lines of the log that tells most.

    `stage` is `parse`, `optimize`, `compile`, or another action of the worker's; of `probe` nothing is below.
    """
    found = _find(failure)
    known, line = found if found else (None, "")
    told, hint = _class(failure, known, hints, stage)
    said = _quote(failure, line)
    is_ours = known is None and failure.kind in KINDS  # what is said then is our sentence about it, not the compiler's
    name, tail = ("", ()) if stage == PROBE else _tail(failure.log, known, stage)
    sentences = [
        f"{_subject(stage, hints)}: {_sentence(f'{told[:-1]}: {said}') if is_ours and said else told}",
        _layers(f"{said}\n{failure.message[:RAW]}", hints),
        _line_of_script(said, hints) if known is not None and known.name == "model script" else "",
        _suggested(failure.message),
        hint,
        f"Tried without success: {'; '.join(hints.tried)}." if hints.tried else "",
        _sentence(f"It says: {said}") if said and not is_ours else "",
        f"The last lines of {name} are below." if tail else "",
        f"Everything of the run is in {failure.kept}." if failure.kept is not None else "",
    ]
    raw = f"{failure.type}: {failure.message[:QUOTED]}\n{failure.traceback}"[-RAW:]
    return CompilerError(" ".join(filter(None, sentences)), "\n".join(f"   | {each}" for each in tail), raw=raw.strip())


def _subject(stage: str, hints: Hints) -> str:
    if stage == PROBE:
        return "[dfc]"
    if not hints.model:
        return f"[dfc], {stage}"
    return f"{hints.model}{f' for {hints.target}' if hints.target else ''}, {stage}"


def _find(failure: Failure) -> tuple[KnownFailure, str] | None:
    if failure.kind not in RAISED:
        return None
    ends = [line for _, text in split_sections(failure.log) for line in last_lines(text, SEARCHED)]
    message = f"{failure.type}: {failure.message}" if failure.type else failure.message
    return find_failure(f"{message[:RAW]}\n{failure.traceback[-RAW:]}", "\n".join(ends))


def _sentence(text: str) -> str:
    return text if text.endswith(("?", "!")) else f"{text}."


def _class(failure: Failure, known: KnownFailure | None, hints: Hints, stage: str) -> tuple[str, str]:
    if known is not None:
        preset = f"`{hints.preset}`" if hints.preset else "this one"
        narrower = f"Take a preset with fewer 16-bit outputs than {preset}. " if hints.is_wide else ""
        names = {"target": hints.target or "the chip", "preset": preset, "narrower": narrower}
        return known.told.format_map(names), known.hint.format_map(names)
    if failure.kind == "timeout" and stage == PROBE:
        return SILENT
    if failure.kind in KINDS:
        return KINDS[failure.kind]
    if stage == PROBE:
        return (
            f"the compiler cannot be loaded ({failure.type or failure.kind}).",
            "`python -c 'import hailo_sdk_client'` in its environment shows all of it.",
        )
    return (
        f"the compiler failed in a way that is not known here ({failure.type or failure.kind}).",
        "Whoever can read its log finds more there; please report it with the log, so that the next one is told more.",
    )


def _quote(failure: Failure, line: str) -> str:
    """Return what the compiler says of it, in short: the line by which it is known, or what was raised."""
    text = line.strip() or next((each.strip() for each in failure.message.splitlines() if each.strip()), "")
    text = text.removeprefix("[error] ").removeprefix(f"{failure.type}: ").rstrip(" .:")
    return text if len(text) <= QUOTED else text[:QUOTED] + "..."


def _tail(log: str, known: KnownFailure | None, stage: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of the log that tells most, and its last lines."""
    sections = dict(split_sections(log))
    wanted = [*([known.log] if known is not None and known.log else []), *STAGE_LOGS.get(stage, ()), *sections]
    for name in wanted:
        if lines := last_lines(sections.get(name, ""), LAST_LINES):
            return name or "its output", lines
    return "", ()


def _layers(said: str, hints: Hints) -> str:
    """Return a sentence that says where the layers that are named come from."""
    told = []
    for layer, nodes in named_layers(said, hints.origins):
        endpoints = [hints.endpoints[node] for node in nodes if node in hints.endpoints]
        known = f"endpoint {endpoints[0]}, " if endpoints else ""
        told.append(f"{layer} is {known}made of {', '.join(nodes[:3])}")
    return f"In the graph {'; '.join(told)}." if told else ""


def _suggested(message: str) -> str:
    """Return the end nodes that the parser suggests, with what it does not take."""
    match = re.search(r"using these end node names: ?([^\n]{1,4000})", message)
    if match is None:
        return ""
    nodes = [node.strip(" .'\"[]") for node in match[1].split(",")]
    more = f" and {len(nodes) - NODES} more" if len(nodes) > NODES else ""
    refused = dict.fromkeys(re.findall(r"^\s*\w{1,60}Error in op (\S{1,200}):", message, re.MULTILINE))
    said = f"It does not take {', '.join(list(refused)[:NODES])}. " if refused else ""
    return f"{said}It suggests these end nodes: {', '.join(nodes[:NODES])}{more}."


def _line_of_script(said: str, hints: Hints) -> str:
    """Return which line of the script names the layer or the option that is complained about, and whose it is."""
    statements = _statements(hints.script_text)
    for word in _complained(said):
        named = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w/])")
        for number, text in statements:
            if named.search(text):
                where = f"line {number} of {hints.script or 'the model script'}"
                return f"That is {where}{_origin(hints.script_text, number)}: `{text}`."
    return ""


def _statements(script: str) -> list[tuple[int, str]]:
    """Return the statements of a script as they stand there, without comments, with the line each begins in."""
    try:
        begins = [statement.line for statement in parse_script(script).statements]
    except InputError:
        return []
    lines = [line.partition("#")[0].strip() for line in script.split("\n")]
    ends = [*(begin - 1 for begin in begins), len(lines)][1:]
    return [(begin, " ".join(filter(None, lines[begin - 1 : end]))) for begin, end in zip(begins, ends, strict=True)]


def _origin(script: str, number: int) -> str:
    """Return where a line comes from, as the comment above it or above lines before it says: `# from [alls] append`."""
    above = (line.strip("# ") for line in reversed(script.split("\n")[: number - 1]) if line.startswith("#"))
    comment = next(above, "")
    return f" ({comment})" if comment.startswith(OWN) else ""


def _complained(said: str) -> list[str]:
    """Return the words of a message that may be in the script, the likeliest first."""
    named = re.findall(r"\b(?=(?:named|layer|argument|command|option|name) ['\"`]?([\w./*-]{1,200}))", said)
    quoted = re.findall(r"['\"`]([\w./*-]{1,200})['\"`]", said)
    numbered = re.findall(r"\b(?:[\w.-]{1,100}/)?[a-z_]{2,40}\d{1,6}\b", said)
    words = [word.rstrip(".") for word in (*named, *quoted, *numbered)]
    short = [word.rpartition("/")[2] for word in words if "/" in word]
    return [word for word in dict.fromkeys((*words, *short)) if word not in ("", "in", "the", "is", "doesn't", "named")]
