"""What is tried when a network finds no place on the chip (`[dfc] retry = true`): the documented remedies, in turn.

Each adds lines to the compile stage's script, after those that are there, so that they win: nothing is optimized
again. Which help against what, and in which order, says the table of failures. Arguments are those of public scripts:
`performance_param(compiler_optimization_level=max)`, `context_switch_param(mode=allowed)` (YOLO26 on Hailo-8L),
`resources_param(max_control_utilization=0.6, max_compute_utilization=0.6, max_memory_utilization=0.6)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build_rules.alls.script import Name, Script, Statement, Value, format_script, parse_script
from build_rules.compilers.dfc.dfc_failures import Failure, known_failure
from build_rules.errors import InputError
from build_rules.records.stage_report import JSON

__all__ = ["LADDER", "Remedy", "next_remedy", "remedy_facts", "remedy_texts", "script_with"]

PARTS = ("max_control_utilization", "max_compute_utilization", "max_memory_utilization")


@dataclass(frozen=True)
class Remedy:
    """Lines of a script that may help, and in words what they do."""

    name: str
    statements: tuple[Statement, ...]
    text: str


def _line(command: str, **options: Value) -> Statement:
    return Statement(command, (), tuple(options.items()))


def _resources(part: float) -> Remedy:
    return Remedy(
        f"resources-{part}",
        (_line("resources_param", **dict.fromkeys(PARTS, part)),),
        f"fill each context to {part:.0%}",
    )


LADDER: Mapping[str, Remedy] = {
    remedy.name: remedy
    for remedy in (
        Remedy(
            "max", (_line("performance_param", compiler_optimization_level=Name("max")),), "search as hard as possible"
        ),
        Remedy("contexts", (_line("context_switch_param", mode=Name("allowed")),), "allow several contexts"),
        _resources(0.8),
        _resources(0.6),
    )
}
"""By name, in the order in which they cost."""


def next_remedy(failure: Failure, tried: Sequence[Remedy], script: str = "") -> Remedy | None:
    """Return what to try next; None when nothing is left, or when the failure is none that these help against.

    `script` is what was compiled: what it says already is no remedy.
    """
    known = known_failure(failure)
    if known is None:
        return None
    names = {remedy.name for remedy in tried}
    statements = _statements(script)
    left = (LADDER[name] for name in known.remedies if name not in names)
    return next((remedy for remedy in left if not _is_said(remedy, statements)), None)


def script_with(script: str, tried: Sequence[Remedy]) -> str:
    """Return the script with the lines of all remedies behind it; of two for the same command, the later one's."""
    lines = {statement.command: statement for remedy in tried for statement in remedy.statements}
    added = format_script(Script(tuple(lines.values())))
    return f"{script}{'' if not script or script.endswith(chr(10)) else chr(10)}{added}"


def remedy_facts(tried: Sequence[Remedy]) -> dict[str, JSON]:
    """Return what the report of a compile that succeeded says of them: by the last one it did."""
    if not tried:
        return {}
    return {"remedies": list(remedy_texts(tried))}


def remedy_texts(tried: Sequence[Remedy]) -> tuple[str, ...]:
    """Return what each remedy is, in words and as it stands in the script."""
    return tuple(f"{remedy.text}: {format_script(Script(remedy.statements)).strip()}" for remedy in tried)


def _statements(script: str) -> tuple[Statement, ...]:
    try:
        return parse_script(script).statements
    except InputError:
        return ()


def _is_said(remedy: Remedy, statements: Sequence[Statement]) -> bool:
    said: dict[str, dict[str, Value]] = {}
    for statement in statements:
        said.setdefault(statement.command, {}).update(statement.keywords)
    return all(
        _reaches(said.get(wanted.command, {}).get(name), value)
        for wanted in remedy.statements
        for name, value in wanted.keywords
    )


def _reaches(said: Value | None, wanted: Value) -> bool:
    if isinstance(wanted, float):
        return isinstance(said, (int, float)) and said <= wanted
    return said == wanted or (wanted == Name("allowed") and said == Name("enabled"))
