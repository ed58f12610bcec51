"""The lines that users append to a script: parsed, translated, checked, and completed by what they leave open."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from build_rules.alls.check import check_statement
from build_rules.alls.commands import COMPILE_STAGE, layer_values, replace_layers
from build_rules.alls.layers import Layers
from build_rules.alls.script import Name, Origin, Statement, Value, parse_script
from build_rules.alls.wide_lines import WideLines
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


def read_own_lines(
    places: Sequence[OwnLines],
    layers: Layers,
    samples: int,
    folded: Collection[str] = (),
    known_only: bool = False,
) -> tuple[Statement, ...]:
    """Return a user's statements with the names that the compiler knows, each checked, and without their comments.

    A comment that is edited must not quantize the network again, so none gets into the scripts.

    `layers` are those of the parsed network and those that our own statements make, `folded` those which these give
    another activation. `known_only` as `check_statement` has it. Raises `InputError` naming the place and the line for
    syntax, unknown layers, ONNX nodes, options and values, sets larger than the `samples` that there are, and what the
    build does not let a line decide.
    """
    reader = _Reader(layers, samples, frozenset(folded), known_only)
    statements: list[Statement] = []
    for place in places:
        written = parse_script(place.text, place.source, True).statements
        if len(written) > MAX_STATEMENTS:
            raise InputError(
                f"{place.source}: {len(written)} lines of a model script; at most {MAX_STATEMENTS} are read."
            )
        for number, statement in enumerate(written):
            # The heading stands once, above the first of them.
            heading = () if number else (place.heading,)
            statements.append(replace(reader.read(statement, place.source), comments=heading, remark=""))
    reader.wide.check()
    return tuple(statements)


class _Reader:
    """Reads one statement after the other; what one adds, those behind it may name."""

    def __init__(self, layers: Layers, samples: int, folded: frozenset[str], known_only: bool) -> None:
        self.layers = layers
        self.samples = samples
        self.folded = folded
        self.known_only = known_only
        self.place = ""
        self.wide = WideLines()

    def fail(self, problem: str) -> NoReturn:
        raise InputError(f"{self.place}: {problem}.")

    def read(self, statement: Statement, source: str) -> Statement:
        self.place = f"{source}, line {statement.line}"
        if statement.command in NOT_FOR_USERS:
            self.fail(f"{statement.command} is not for a line of your own: {NOT_FOR_USERS[statement.command]}")
        check_statement(statement, self.fail, self.known_only)
        self.check_sizes(statement)
        if statement.command not in COMPILE_STAGE:  # the layers of a placement may be those that the compiler makes
            found = [name for value in layer_values(statement) for name in self.layers.find(value, self.fail)]
            self.wide.note(statement, found, self.place)
            self.check_forced(statement, found)
        values = (*statement.arguments, *(value for _, value in statement.keywords))
        named: dict[Value, Name] = {
            origin: Name(self.layers.find_origin(origin, self.fail)) for origin in _origins(values)
        }
        if statement.command not in COMPILE_STAGE:  # what is made there is not there yet when the others are obeyed
            self.layers = self.layers.after(statement)
        return replace_layers(statement, named)

    def check_sizes(self, statement: Statement) -> None:
        for key, value in statement.keywords:
            if key in ("calibset_size", "dataset_size") and isinstance(value, (int, float)) and value > self.samples:
                self.fail(f"{key}={value} asks for more than the {self.samples} calibration samples; add images")

    def check_forced(self, statement: Statement, layers: Sequence[str]) -> None:
        """Refuse two decisions about one range, which the compiler does not take together."""
        both = self.folded.intersection(layers)
        if both and "force_range_out" in dict(statement.keywords):
            self.fail(
                f"{min(both)} has its activation folded into the chip, which decides its range; force_range_out cannot "
                "be together with that, so name other layers"
            )


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
