"""Must a step run, and why: the one decision, on what its record says and what there is now.

`find_causes` yields everything that keeps a step from being up to date, one after the other: whoever only asks whether
it must run takes the first, which is the reason. `doit` itself, `why`, `status`, `plan` and the `because` of the
records ask here, and nobody decides otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from build_rules.engine.freshness.fingerprint import as_fingerprint, is_unchanged
from build_rules.engine.freshness.key import DISCOVERED, Step
from build_rules.engine.freshness.records import Mark, is_step_record

__all__ = ["Cause", "StepStatus", "find_causes", "find_statuses"]

MAX_VALUE = 80


class Cause(NamedTuple):
    """One thing that is not as it was; `what` names it.

    Of the kind fault it is what is declared wrongly: the step cannot run, and `what` says why.

    `old` and `new` are values in words, None where there are none; `detail` is where a text differs.
    """

    kind: Literal["fault", "never", "output", "setting", "tool", "code", "input"]
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


class StepStatus(NamedTuple):
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


def find_statuses(
    names: Iterable[str],
    steps: Mapping[str, Step],
    record: Callable[[str], Mapping[str, Any]],
    writers: Mapping[str, str],
) -> dict[str, StepStatus]:
    """Return the status of the named steps and of all that they read from, each after those it reads from.

    `record` returns the record of a step, empty when it has none; `writers` maps files to the steps that write them.
    """
    statuses: dict[str, StepStatus] = {}
    for wanted in names:
        for name in _in_order(wanted, steps, writers, statuses):
            runs = {writers[str(path)] for path in steps[name].input_files() if str(path) in writers}
            after = [other for other in sorted(runs) if other in statuses and statuses[other].state != "fresh"]
            # What will be made again is looked at when it has been: it may well be the same as before.
            causes = (cause for cause in find_causes(steps[name], record(name)) if writers.get(cause.what) not in after)
            statuses[name] = StepStatus(name, tuple(causes), tuple(after))
    return statuses


def _in_order(
    wanted: str, steps: Mapping[str, Step], writers: Mapping[str, str], statuses: Mapping[str, StepStatus]
) -> list[str]:
    """Return the steps whose status is needed for that of `wanted`, those before others first."""
    needed: list[str] = []
    pending = [wanted]
    while pending:
        name = pending.pop()
        if name in statuses or name not in steps:
            continue
        needed.append(name)
        pending += [writers[str(path)] for path in steps[name].input_files() if str(path) in writers]
    return list(dict.fromkeys(reversed(needed)))


def find_causes(step: Step, record: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield everything that keeps a step from being up to date; nothing when it is."""
    if step.fault is not None:
        yield Cause("fault", step.fault)
        return
    if not is_step_record(record):
        yield Cause("never")
        return
    yield from _output_causes(step, record["outputs"])
    if record["key"] != step.key:
        yield from _key_causes(record["key"], step.key)
    yield from _input_causes(step, record["inputs"])


def _output_causes(step: Step, recorded: Mapping[str, Mark]) -> Iterator[Cause]:
    for path in dict.fromkeys((*map(str, step.outputs.values()), *recorded)):
        if path not in recorded:
            yield Cause("output", path, new="is a new output")
        elif not is_unchanged(path, as_fingerprint(recorded[path])):
            yield Cause("output", path, new="is not what the step wrote" if os.path.exists(path) else "is missing")


def _key_causes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield what differs between two keys that are not equal; something always does."""
    yield from _setting_causes(old.get("settings", {}), new["settings"])
    tools = old.get("tools", {})
    for name in dict.fromkeys((*new["tools"], *tools)):
        if tools.get(name) != new["tools"].get(name):
            yield Cause("tool", name, _words(tools.get(name)), _words(new["tools"].get(name)))
    if any(old.get(part) != new[part] for part in ("rule", "function", "code", "version")):
        yield Cause("code")


def _setting_causes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Cause]:
    before, after = dict(_flat(old)), dict(_flat(new))
    names = dict.fromkeys((*after, *before))
    changed = [name for name in names if before.get(name) != after.get(name)]
    # A table that came or went without a word in it is told only when nothing else is there to tell; nor is an empty
    # list worth a word that is no longer nothing, where something else is.
    worth = [name for name in changed if _words(before.get(name)) != "nothing" or _words(after.get(name)) != "nothing"]
    for name in worth or changed or [name for name in names if (name in before) != (name in after)]:
        yield Cause("setting", name, _words(before.get(name)), _words(after.get(name)))


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


def _input_causes(step: Step, recorded: Mapping[str, Mapping[str, Mark]]) -> Iterator[Cause]:
    """Yield declared inputs that are new or changed, then those that are read no more or in another order."""
    for role, paths in step.roles.items():
        marks = recorded.get(role, {})
        for path in dict.fromkeys(paths):
            if path not in marks:
                yield Cause("input", path, new=_new_input(path, role, recorded))
            elif (cause := _content_cause(path, marks[path], "is missing")) is not None:
                yield cause
    for role, marks in recorded.items():
        if role != DISCOVERED and [*marks] != (now := [*dict.fromkeys(step.roles.get(role, ()))]):
            yield from _former_causes(step, role, [*marks], now)
    for path, mark in recorded.get(DISCOVERED, {}).items():
        if (cause := _content_cause(path, mark, "is no longer there")) is not None:
            yield cause


def _content_cause(path: str, mark: Mark, gone: str) -> Cause | None:
    before = as_fingerprint(mark)
    if is_unchanged(path, before):
        return None
    if not os.path.exists(path):
        return Cause("input", path, new=gone)
    return Cause("input", path, detail=_line(path, before.sha256))


def _new_input(path: str, role: str, recorded: Mapping[str, Mapping[str, Mark]]) -> str:
    """Say of an input that was not read as this whether it was read as something else."""
    before = next((other for other, marks in recorded.items() if path in marks), None)
    if before is None:
        return "is a new input"
    return f"is read as {role} now, " + ("not found by the step" if before == DISCOVERED else f"not as {before}")


def _former_causes(step: Step, role: str, before: Sequence[str], now: Sequence[str]) -> Iterator[Cause]:
    """Yield what is told of a role whose files are others than before, or come in another order."""
    read = {path for paths in step.roles.values() for path in paths}
    for path in before:
        if path not in read:
            yield Cause("input", path, new="is no longer read" if os.path.exists(path) else "is no longer there")
        elif path not in now:
            yield Cause("input", path, new=f"is no longer read as {role}")
    kept, still = [path for path in before if path in now], [path for path in now if path in before]
    if kept != still:
        moved = next(path for path, other in zip(still, kept, strict=True) if path != other)
        yield Cause("input", moved, new=f"is read at another place among {role}")


def _line(path: str, digest: str) -> str:
    """Say where a text differs from what it was, nothing when that is not known."""
    from build_rules.engine.memory.texts import first_difference, read_text_of  # to tell, not to decide

    before = read_text_of(digest)
    if before is None:
        return ""
    try:
        with open(path, encoding="utf-8") as stream:
            return first_difference(before, stream.read().splitlines())
    except (OSError, UnicodeDecodeError):
        return ""
