"""Is a statement one that a compiler takes: its command, its feature, its options, and their values?

Layers are found elsewhere (`layers.py`), since they are those of one network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from build_rules.alls.commands import CLIPPED_BY, COMMANDS, FEATURES, options_of
from build_rules.alls.layers import MAX_SHOWN, Fail
from build_rules.alls.script import Name, Statement, Value, show_value

__all__ = ["check_statement", "subject"]

CLIPPING = ("pre_quantization_optimization(activation_clipping)", "pre_quantization_optimization(weights_clipping)")


def subject(statement: Statement) -> str:
    """Return what a statement is about: `command`, or `command(feature)` where a feature is its first argument."""
    first = statement.arguments[:1]
    if statement.command in FEATURES and first and isinstance(first[0], Name):
        return f"{statement.command}({first[0].text})"
    return statement.command


def check_statement(statement: Statement, fail: Fail, known_only: bool) -> None:
    """Refuse, through `fail`, what no compiler takes.

    `known_only`: also what is merely not in the table, since nobody behind it knows more. Otherwise a command, feature
    or option that is like none of the table's is left to the compiler, of which a newer one may have it; one that is
    nearly in it is misspelled.
    """
    if len(dict(statement.keywords)) < len(statement.keywords):
        fail(f"an option of {statement.command} is given twice")
    _look_up(statement.command, COMMANDS, "there is no command %s", fail, known_only)
    _check_positional(statement, fail)
    if statement.command in FEATURES:
        _check_feature(statement, fail, known_only)
    _check_options(statement, fail, known_only)
    if subject(statement) in CLIPPING:
        _check_clipping(dict(statement.keywords), fail)


def _look_up(word: str, known: Collection[str], problem: str, fail: Fail, known_only: bool) -> None:
    import difflib

    if word in known:
        return
    near = next(iter(difflib.get_close_matches(word[:100], sorted(known), 1, 0.8)), None)
    told = problem % repr(_cut(word))
    if near is not None:
        fail(f"{told} (did you mean {near}?)")
    if known_only:
        fail(f"{told}; known are: {', '.join(sorted(known)) or 'none'}")


def _check_positional(statement: Statement, fail: Fail) -> None:
    command = COMMANDS.get(statement.command)
    if command is None or command.positional is None:
        return
    least, most = command.positional
    if not least <= len(statement.arguments) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        noun = "value" if most == 1 else "values"
        fail(f"{statement.command} takes {wanted} {noun} without a name, not {len(statement.arguments)}")


def _check_feature(statement: Statement, fail: Fail, known_only: bool) -> None:
    features = FEATURES[statement.command]
    first = statement.arguments[0]
    if not isinstance(first, Name):
        fail(f"{statement.command} begins with the name of a feature: {', '.join(sorted(features))}")
    _look_up(first.text, features, f"{statement.command} has no feature %s", fail, known_only)


def _check_options(statement: Statement, fail: Fail, known_only: bool) -> None:
    options = options_of(statement)
    if options is None:
        return
    about = subject(statement)
    for key, value in statement.keywords:
        _look_up(key, options, f"No argument named %s in {about}", fail, known_only)
        if key in options and not options[key].fits(value):
            fail(f"{about}: {key}={_shown(value)} is not possible; choose {options[key].told}")


def _check_clipping(options: Mapping[str, Value], fail: Fail) -> None:
    """Percentiles lie within 0 and 100, values need not; whoever says neither has said nothing."""
    mode, values = options.get("mode"), options.get("clipping_values")
    kind = CLIPPED_BY.get(mode.text) if isinstance(mode, Name) else None
    if kind is None:
        if values is not None:
            fail(f"clipping_values={_shown(values)} need a mode that takes them: {' or '.join(CLIPPED_BY)}")
        return
    if values is None:
        fail(f"mode={_shown(options['mode'])} needs clipping_values: {kind.told}")
    if not kind.fits(values):
        fail(
            f"clipping_values={_shown(values)} are not possible with mode={_shown(options['mode'])}; choose {kind.told}"
        )


def _shown(value: Value) -> str:
    return _cut(show_value(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
