"""Why a step runs: what its record says, against what there is now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from build_rules.engine.freshness.fingerprint import as_fingerprint, is_unchanged
from build_rules.engine.freshness.key import Step
from build_rules.engine.memory.texts import first_difference, read_text_of

__all__ = ["Cause", "Judgement", "find_causes", "judge"]

MAX_VALUE = 80


@dataclass(frozen=True)
class Cause:
    """One thing that is not as it was. `kind`: never, output, setting, tool, code or input; `what` names it.

    Of the kind fault it is what is declared wrongly: the step cannot run, and `what` says why.

    `old` and `new` are values in words, None where there are none; `detail` is where a text differs.
    """

    kind: str
    what: str = ""
    old: str | None = None
    new: str | None = None
    detail: str = ""

    def __str__(self) -> str:
        """Return what the user reads after "because"."""
        change = f": {self.old} -> {self.new}" if self.old is not None and self.new is not None else ""
        detail = f": {self.detail}" if self.detail else ""
        return {
            "fault": self.what,
            "never": "it has never been built",
            "output": f"{self.what} {self.new}",
            "setting": f"setting {self.what} changed{change}",
            "tool": f"{self.what} changed{change}",
            "code": "the rule's own code changed",
            "input": f"{self.what} {self.new or 'changed'}{detail}",
        }[self.kind]


@dataclass(frozen=True)
class Judgement:
    """What would happen to a step: its own causes, and the steps before it that will run.

    With causes it runs. Without, but with `after`, it runs if one of these changes what it reads.
    """

    name: str
    causes: tuple[Cause, ...]
    after: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """`fresh`, `broken` (cannot run), `never` (built), `stale`, or `waits` for what runs before it."""
        if any(cause.kind == "fault" for cause in self.causes):
            return "broken"
        if any(cause.kind == "never" for cause in self.causes):
            return "never"
        return "stale" if self.causes else "waits" if self.after else "fresh"


def judge(
    steps: Mapping[str, Step], values: Callable[[str], Mapping[str, Any]], before: Mapping[str, str]
) -> dict[str, Judgement]:
    """Judge every step, each after those it reads from.

    `values` returns the record of a step, empty when it has none; `before` maps files to the steps that write them.
    """
    judged: dict[str, Judgement] = {}
    for name in steps:
        for one in _in_order(name, steps, before, judged):
            runs = {before[str(path)] for path in steps[one].input_files() if str(path) in before}
            after = [other for other in sorted(runs) if other in judged and judged[other].state != "fresh"]
            # What will be made again is looked at when it has been: it may well be the same as before.
            causes = (cause for cause in find_causes(steps[one], values(one)) if before.get(cause.what) not in after)
            judged[one] = Judgement(one, tuple(causes), tuple(after))
    return judged


def _in_order(
    name: str, steps: Mapping[str, Step], before: Mapping[str, str], judged: Mapping[str, Judgement]
) -> list[str]:
    """Return the steps that have to be judged for `name`, those before others first."""
    found: list[str] = []
    pending = [name]
    while pending:
        one = pending.pop()
        if one in judged or one not in steps:
            continue
        found.append(one)
        pending += [before[str(path)] for path in steps[one].input_files() if str(path) in before]
    return list(dict.fromkeys(reversed(found)))


def find_causes(step: Step, values: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield everything that keeps a step from being up to date; nothing when it is."""
    if step.fault is not None:
        yield Cause("fault", step.fault)
        return
    recorded = values.get("key")
    if not isinstance(recorded, dict):
        yield Cause("never")
        return
    key, found = step.key(), False
    read, written = values.get("inputs", {}), values.get("outputs", {})
    for cause in chain(_outputs(step, written), _key(recorded, key), _inputs(step, read)):
        found = True
        yield cause
    if not found and recorded != key:
        yield Cause("input", "the same files", new="are read in another order, or as something else")


def _outputs(step: Step, recorded: Mapping[str, list[Any]]) -> Iterator[Cause]:
    for path in dict.fromkeys((*map(str, step.outputs.values()), *recorded)):
        if path not in recorded:
            yield Cause("output", path, new="is a new output")
        elif not os.path.exists(path):
            yield Cause("output", path, new="is missing")
        elif not is_unchanged(path, as_fingerprint(recorded[path])):
            yield Cause("output", path, new="is not what the step wrote")


def _key(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    before, after = dict(_flat(old.get("settings", {}))), dict(_flat(new["settings"]))
    names = dict.fromkeys((*after, *before))
    changed = [name for name in names if before.get(name) != after.get(name)]
    # A table that came or went without a word in it is told only when nothing else is there to tell; nor is an empty
    # list worth a word that is no longer nothing, where something else is.
    worth = [name for name in changed if _words(before.get(name)) != "nothing" or _words(after.get(name)) != "nothing"]
    for name in worth or changed or [name for name in names if (name in before) != (name in after)]:
        yield Cause("setting", name, _words(before.get(name)), _words(after.get(name)))
    tools = old.get("tools", {})
    for name in dict.fromkeys((*new["tools"], *tools)):
        if tools.get(name) != new["tools"].get(name):
            yield Cause("tool", name, _words(tools.get(name)), _words(new["tools"].get(name)))
    if old.get("rule") == new["rule"] and any(old.get(part) != new[part] for part in ("function", "code", "version")):
        yield Cause("code")


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the members of nested objects with their names joined by dots."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _words(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else _listed(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, list) else str(value)


def _inputs(step: Step, recorded: Mapping[str, list[Any]]) -> Iterator[Cause]:
    declared = dict.fromkeys(map(str, step.input_files()))
    for path in dict.fromkeys((*declared, *recorded)):
        if path not in recorded:
            yield Cause("input", path, new="is a new input")
        elif not os.path.exists(path):
            yield Cause("input", path, new="is missing" if path in declared else "is no longer there")
        elif not is_unchanged(path, known := as_fingerprint(recorded[path])):
            yield Cause("input", path, detail=_line(path, known.sha256))


def _line(path: str, digest: str) -> str:
    """Say where a text differs from what it was, nothing when that is not known."""
    old = read_text_of(digest)
    if old is None:
        return ""
    try:
        with open(path, encoding="utf-8") as stream:
            return first_difference(old, stream.read().splitlines())
    except (OSError, UnicodeDecodeError):
        return ""
