"""The lines that users append to a script: parsed, translated, checked, and completed by what they leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import NoReturn

from build_rules.alls.commands import COMPILE_OPTIONS, COMPILE_STAGE, OPTIMIZE_STAGE, layer_values, replace_layers
from build_rules.alls.layers import Layers
from build_rules.alls.script import Name, Origin, Statement, Value, parse_script
from build_rules.errors import InputError

__all__ = ["OwnLines", "Sizes", "complete", "level_of", "read_own_lines"]

MAX_STATEMENTS = 4096
"""Of a user's; each that is like no known command is compared with all of them."""
NOT_FOR_USERS: Mapping[str, str] = {
    "normalization": "what is done to pixels is proven and written into the metadata; say it in [input] of model.toml",
    "input_conversion": "the colours of the input are written into the metadata; say them in [input] of model.toml",
    "resize": "the size of input and outputs is written into the metadata; say it in [input] of model.toml",
    "transpose": "the shapes of input and outputs are written into the metadata",
    "change_output_activation": "the build folds the activations that edgefirst.json says are folded, and no other",
    "logits_layer": "the outputs are those of the cut, which [split] of model.toml decides",
    "remove_node": "the outputs are those of the cut, which [split] of model.toml decides",
    "nms_postprocess": "it puts a decode and a sigmoid into the HEF; here the decode runs on the host",
}
"""Commands that would make something else of the network than what the build promises, and why."""

FLAVOR, CONFIG, POST = (
    "model_optimization_flavor",
    "model_optimization_config",
    "post_quantization_optimization",
)


@dataclass(frozen=True)
class OwnLines:
    """Lines of a user: `source` is what errors call the place, `heading` the comment above them in the script."""

    text: str
    source: str
    heading: str


@dataclass(frozen=True)
class Sizes:
    """What holds for options that a user's line leaves open, so that none falls back to what the data does not bear.

    `finetune` and `adaround` are the options of these algorithms that say how much data they take.
    """

    optimization_level: int
    calibration_count: int
    calibration_batch: int
    finetune: tuple[tuple[str, int], ...]
    adaround: tuple[tuple[str, int], ...]


def read_own_lines(lines: OwnLines, layers: Layers, samples: int) -> tuple[Statement, ...]:
    """Return a user's statements with the names that the compiler knows, each checked, and without their comments.

    A comment that is edited must not quantize the network again, so none gets into the scripts.

    `layers` are those of the parsed network and those that the statements before make. Raises `InputError` naming the
    place and the line for syntax, unknown layers, ONNX nodes and options, sets larger than the `samples` that there
    are, and what the build does not let a line decide.
    """
    reader = _Reader(lines, layers, samples)
    written = parse_script(lines.text, lines.source, True).statements
    if len(written) > MAX_STATEMENTS:
        raise InputError(f"{lines.source}: {len(written)} lines of a model script; at most {MAX_STATEMENTS} are read.")
    statements = [reader.read(statement) for statement in written]
    # The heading stands once, above the first of them.
    return tuple(
        replace(statement, comments=() if number else (lines.heading,), remark="")
        for number, statement in enumerate(statements)
    )


class _Reader:
    """Reads one statement after the other; what one adds, those behind it may name."""

    def __init__(self, lines: OwnLines, layers: Layers, samples: int) -> None:
        self.source = lines.source
        self.layers = layers
        self.samples = samples
        self.line = 0

    def fail(self, problem: str) -> NoReturn:
        raise InputError(f"{self.source}, line {self.line}: {problem}{'' if problem.endswith('?') else '.'}")

    def read(self, statement: Statement) -> Statement:
        self.line = statement.line
        if statement.command in NOT_FOR_USERS:
            self.fail(f"{statement.command} is not for a line of your own: {NOT_FOR_USERS[statement.command]}")
        if statement.command not in COMPILE_STAGE and statement.command not in OPTIMIZE_STAGE:
            self.check_spelling(statement.command)
        self.check_options(statement)
        if statement.command not in COMPILE_STAGE:  # the layers of a placement may be those that the compiler makes
            for value in layer_values(statement):
                self.layers.find(value, self.fail)
        values = (*statement.arguments, *(value for _, value in statement.keywords))
        named: dict[Value, Name] = {
            origin: Name(self.layers.find_origin(origin, self.fail)) for origin in _origins(values)
        }
        self.layers = self.layers.after(statement)
        return replace_layers(statement, named)

    def check_spelling(self, command: str) -> None:
        """Refuse what is nearly a known command; what is like none may be one that a newer compiler has."""
        if near := _near(command, {*OPTIMIZE_STAGE, *COMPILE_STAGE, *NOT_FOR_USERS}):
            self.fail(f"there is no command {command!r}; did you mean {near}?")

    def check_options(self, statement: Statement) -> None:
        for key, value in statement.keywords:
            if near := _near(key, COMPILE_OPTIONS.get(statement.command, frozenset())):
                self.fail(f"No argument named {key!r} in {statement.command}; did you mean {near}?")
            if key in ("calibset_size", "dataset_size") and isinstance(value, int) and value > self.samples:
                self.fail(f"{key}={value} asks for more than the {self.samples} calibration samples; add images")


def _near(word: str, known: Set[str]) -> str | None:
    """Return the known word that somebody misspelled; None for one that is known, or like none that is."""
    import difflib

    return None if word in known else next(iter(difflib.get_close_matches(word[:100], sorted(known), 1, 0.8)), None)


def _origins(values: Sequence[Value]) -> list[Origin]:
    found: list[Origin] = []
    for value in values:
        if isinstance(value, Origin):
            found.append(value)
        elif isinstance(value, tuple):
            found += _origins(value)
    return found


def level_of(statements: Sequence[Statement]) -> int | None:
    """Return the optimization level that the last of the statements asks for, None when none does."""
    levels = [
        value
        for statement in statements
        if statement.command == FLAVOR
        for key, value in statement.keywords
        if key == "optimization_level" and isinstance(value, int)
    ]
    return levels[-1] if levels else None


def complete(statement: Statement, sizes: Sizes) -> Statement:
    """Return a user's statement with the options that it leaves open as the build would have them.

    A command that is given again may set back what it does not say, and the compiler's defaults want 1024 images.
    """
    options = dict(statement.keywords)
    open_options: Sequence[tuple[str, int]] = ()
    feature = statement.arguments[:1]
    if statement.command == FLAVOR:
        open_options = (("optimization_level", sizes.optimization_level), ("compression_level", 0))
    elif statement.command == CONFIG and feature == (Name("calibration"),):
        open_options = (("batch_size", sizes.calibration_batch), ("calibset_size", sizes.calibration_count))
    elif statement.command == POST and options.get("policy") != Name("disabled"):
        open_options = {Name("finetune"): sizes.finetune, Name("adaround"): sizes.adaround}.get(
            feature[0] if feature and isinstance(feature[0], Name) else Name(""), ()
        )
    missing = tuple((key, value) for key, value in open_options if key not in options)
    return replace(statement, keywords=(*statement.keywords, *missing))
