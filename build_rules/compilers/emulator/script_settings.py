"""What a model script asks of the optimization, resolved against the layers of one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from build_rules.alls.check import check_statement, subject
from build_rules.alls.commands import COMPILE_STAGE, layer_values
from build_rules.alls.layers import Layers
from build_rules.alls.script import Name, Statement, Value, parse_script
from build_rules.alls.wide_lines import WideLines
from build_rules.errors import InputError

__all__ = ["MODES", "Finetune", "Precision", "Settings", "named_layers", "read_settings"]

PERFORMED: Mapping[str, frozenset[str]] = {
    "quantization_param": frozenset({"precision_mode", "force_range_out"}),
    "model_optimization_flavor": frozenset({"optimization_level", "compression_level", "batch_size"}),
    "model_optimization_config(calibration)": frozenset({"calibset_size", "batch_size"}),
    "post_quantization_optimization(bias_correction)": frozenset({"policy"}),
    "post_quantization_optimization(finetune)": frozenset({"policy", "dataset_size", "epochs", "batch_size"}),
    "pre_quantization_optimization(equalization)": frozenset({"policy", "layers"}),
    "pre_quantization_optimization(activation_clipping)": frozenset({"layers", "mode", "clipping_values"}),
}
"""What is obeyed, by subject and option; whatever else a script asks for is told (`Settings.skipped`).

How many images are calibrated at once (`batch_size`) is a matter of memory: no result depends on it.
"""
MODIFICATIONS = ("input_conversion", "transpose", "resize", "logits_layer", "remove_node", "set_input_mask_to_softmax")
"""Commands that make another network; it cannot be passed over that nothing here does so."""
ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh")


@dataclass(frozen=True)
class Precision:
    """Bits of a layer's input activations, weights and output activations."""

    input_bits: int
    weight_bits: int
    output_bits: int


MODES = {
    "a8_w8": Precision(8, 8, 8),
    "a8_w4": Precision(8, 4, 8),
    "a16_w16": Precision(16, 16, 16),
    "a8_w8_a16": Precision(8, 8, 16),
}


@dataclass(frozen=True)
class Finetune:
    """The fine-tune pass; `dataset_size` None means every calibration sample, None elsewhere that no line says it."""

    dataset_size: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Settings:
    """A model script, understood.

    `mean`, `std`: per channel, in pixel units. `folded`: producing layer -> activation. `precision`: layer -> mode;
    `output_bits`: `net/output_layerN` -> 8 or 16. `calibset_size` None: the default of 64, or all there are.
    `clipping`: layer -> the percentiles (0 to 100) of its activations that its range ends at; `ranges`: layer -> the
    range itself (real values), where a line gives it. A layer is in one of them at most.
    `policies`: feature -> whether a line switches it on or off; `unequalized`: layers that a line takes out of it.
    `lines`: the line that last says something of the level or of a policy, by `optimization_level` or feature.
    `skipped`: what was asked for and is not done here, as `command(feature)`, or `command(feature): options`.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    folded: Mapping[str, str] = field(default_factory=dict)
    precision: Mapping[str, Precision] = field(default_factory=dict)
    output_bits: Mapping[str, int] = field(default_factory=dict)
    optimization_level: int = 0
    compression_level: int = 0
    calibset_size: int | None = None
    clipping: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    policies: Mapping[str, bool] = field(default_factory=dict)
    unequalized: frozenset[str] = frozenset()
    finetune_options: Finetune = Finetune()
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    skipped: tuple[str, ...] = ()

    @property
    def bias_correction(self) -> bool:
        """Level 1 and above correct biases, unless a line says otherwise."""
        return self.policies.get("bias_correction", self.optimization_level >= 1)

    @property
    def equalization(self) -> bool:
        """Every level from 0 on equalizes, unless a line says otherwise."""
        return self.policies.get("equalization", self.optimization_level >= 0)

    @property
    def adaround(self) -> int | None:
        """The line that asks for adaround, None when none does: level 3 and above ask, unless a line says otherwise."""
        if self.policies.get("adaround", self.optimization_level >= 3):
            return self.lines.get("adaround", self.lines.get("optimization_level"))
        return None

    @property
    def finetune(self) -> Finetune | None:
        """Level 2 fine-tunes (higher levels use adaround instead), unless a line says otherwise."""
        return self.finetune_options if self.policies.get("finetune", self.optimization_level == 2) else None


def read_settings(text: str, source: str, hn: Mapping[str, Any]) -> Settings:
    """Read a model script against the layers of `hn`; later lines win.

    Raises `InputError` naming `source` and the line for syntax, unknown commands, options and layers.
    """
    reader = _Reader(source, hn)
    for statement in parse_script(text, source).statements:
        reader.read(statement)
    return reader.result()


def named_layers(hn: Mapping[str, Any]) -> Layers:
    """Return the layers of an HN as scripts name them; a compiler is never told of ONNX nodes."""
    return Layers(str(hn["name"]), dict.fromkeys(map(str, hn["layers"]), ()))


class _Reader:
    """One method per command; each replaces `settings` by what the statement makes of it."""

    def __init__(self, source: str, hn: Mapping[str, Any]) -> None:
        self.source = source
        self.layers: Mapping[str, Any] = hn["layers"]
        self.named = named_layers(hn)
        self.settings = Settings()
        self.statement = Statement("")
        self.skipped: dict[str, dict[str, None]] = {}
        """What is asked for and not performed: options by subject, none where it is the subject as a whole."""
        self.forced: dict[str, frozenset[str]] = {}
        """Layers whose range a line forces, by the place of the line."""
        self.wide = WideLines()

    def read(self, statement: Statement) -> None:
        self.statement = statement
        if statement.command in COMPILE_STAGE:
            return
        check_statement(statement, self.fail, known_only=True)
        if statement.command in MODIFICATIONS:
            self.fail(f"{statement.command} makes another network, which the emulator does not; remove the line")
        for value in layer_values(statement):
            self.some_layers(value)
        if statement.command in _COMMANDS:
            _COMMANDS[statement.command](self)
        self.note_skipped()
        self.named = self.named.after(statement)

    def note_skipped(self) -> None:
        """Keep what of this statement is not performed; one that switches a feature off takes back what was asked."""
        about = subject(self.statement)
        if self.statement.command in ("normalization", "change_output_activation"):
            return
        options = dict(self.statement.keywords)
        if Name("disabled") in (options.get("policy"), options.get("mode")):
            if "layers" not in options:
                self.skipped.pop(about, None)
            return
        if options.get("policy") == Name("allowed"):
            return
        obeyed = PERFORMED.get(about)
        if obeyed is None:
            self.skipped[about] = {}
        elif ignored := dict.fromkeys(key for key in options if key not in obeyed):
            self.skipped.setdefault(about, {}).update(ignored)

    def fail(self, problem: str) -> NoReturn:
        raise InputError(f"{self.place}: {problem}.")

    @property
    def place(self) -> str:
        return f"{self.source}, line {self.statement.line}"

    def normalization(self) -> None:
        if len(self.statement.arguments) < 2:
            self.fail("normalization takes a list of means and a list of deviations")
        mean, std = (self.numbers(value) for value in self.statement.arguments[:2])
        source = next(layer for layer in self.layers.values() if layer["type"] == "input_layer")
        channels = source["output_shapes"][0][-1]
        if len(mean) != channels or len(std) != channels:
            self.fail(f"normalization gives {len(mean)} means and {len(std)} deviations for {channels} channels")
        if any(deviation == 0 for deviation in std):
            self.fail("normalization divides by a deviation of 0")
        self.settings = replace(self.settings, mean=mean, std=std)

    def change_output_activation(self) -> None:
        if len(self.statement.arguments) != 2:
            self.fail("change_output_activation takes a layer and an activation")
        layer = self.one_layer(self.statement.arguments[0])
        activation = self.word(self.statement.arguments[1])
        if activation not in ACTIVATIONS:
            self.fail(f"activation {activation!r} cannot be folded; choose one of: {', '.join(ACTIVATIONS)}")
        users = self.layers[layer]["output"]
        if not users or any(self.layers[user]["type"] != "output_layer" for user in users):
            self.fail(f"layer {layer!r} feeds {', '.join(users) or 'nothing'}; only a layer that feeds nothing but "
                      "outputs can take another activation")  # fmt: skip
        self.settings = replace(self.settings, folded={**self.settings.folded, layer: activation})

    def quantization_param(self) -> None:
        names, options = self.some_layers(self.statement.arguments[0]), dict(self.statement.keywords)
        self.wide.note(self.statement, names, self.place)
        if "precision_mode" in options:
            self.set_precision(names, self.word(options["precision_mode"]))
        if "force_range_out" in options:
            self.set_ranges(names, self.pair(options["force_range_out"]))
            self.forced[self.place] = frozenset(names)

    def set_precision(self, names: Iterable[str], mode: str) -> None:
        outputs, precision = dict(self.settings.output_bits), dict(self.settings.precision)
        for name in names:
            if self.layers[name]["type"] == "output_layer":
                outputs[name] = MODES[mode].output_bits
            else:
                precision[name] = MODES[mode]
        self.settings = replace(self.settings, output_bits=outputs, precision=precision)

    def set_ranges(self, names: Iterable[str], limits: tuple[float, float]) -> None:
        self.forget_ranges(names)
        self.settings = replace(self.settings, ranges={**self.settings.ranges, **dict.fromkeys(names, limits)})

    def forget_ranges(self, names: Iterable[str]) -> None:
        """Take back what earlier lines say of the ranges of layers."""
        gone = frozenset(names)
        kept = {name: value for name, value in self.settings.clipping.items() if name not in gone}
        ranges = {name: value for name, value in self.settings.ranges.items() if name not in gone}
        self.settings = replace(self.settings, clipping=kept, ranges=ranges)

    def model_optimization_flavor(self) -> None:
        for key, value in self.statement.keywords:
            if key == "optimization_level":
                self.settings = replace(self.settings, optimization_level=self.whole(value), lines=self.lines(key))
            elif key == "compression_level":
                self.settings = replace(self.settings, compression_level=self.whole(value))

    def model_optimization_config(self) -> None:
        options = dict(self.statement.keywords)
        if self.feature() == "calibration" and "calibset_size" in options:
            self.settings = replace(self.settings, calibset_size=self.whole(options["calibset_size"]))

    def post_quantization_optimization(self) -> None:
        feature, options = self.feature(), dict(self.statement.keywords)
        self.set_policy(feature)
        said: dict[str, Any] = {
            key: options[key] for key in ("dataset_size", "epochs", "learning_rate") if key in options
        }
        if feature == "finetune":
            tuned = replace(self.settings.finetune_options, **said)
            self.settings = replace(self.settings, finetune_options=tuned)

    def pre_quantization_optimization(self) -> None:
        feature = self.feature()
        if feature == "equalization" and "layers" in dict(self.statement.keywords):
            self.equalize_some()
            return
        self.set_policy(feature)
        if feature == "activation_clipping":
            self.activation_clipping()

    def equalize_some(self) -> None:
        options = dict(self.statement.keywords)
        names, kept = frozenset(self.some_layers(options["layers"])), self.settings.unequalized
        policy = self.word(options.get("policy", Name("enabled")))
        kept = kept | names if policy == "disabled" else kept - names
        self.settings = replace(self.settings, unequalized=kept)

    def activation_clipping(self) -> None:
        options = dict(self.statement.keywords)
        every = tuple(
            name for name, layer in self.layers.items() if layer["type"] not in ("input_layer", "output_layer")
        )
        names = self.some_layers(options["layers"]) if "layers" in options else every
        mode = self.word(options.get("mode", Name("disabled")))
        if mode == "manual":
            self.set_ranges(names, self.pair(options["clipping_values"]))
            return
        self.forget_ranges(names)
        if mode != "disabled":
            share = dict.fromkeys(names, self.pair(options["clipping_values"]))
            self.settings = replace(self.settings, clipping={**self.settings.clipping, **share})

    def set_policy(self, feature: str) -> None:
        policy = self.word(dict(self.statement.keywords).get("policy", Name("enabled")))
        if policy != "allowed":
            policies = {**self.settings.policies, feature: policy == "enabled"}
            self.settings = replace(self.settings, policies=policies, lines=self.lines(feature))

    def lines(self, decided: str) -> Mapping[str, int]:
        return {**self.settings.lines, decided: self.statement.line}

    def nms_postprocess(self) -> None:
        self.fail("nms_postprocess puts the decode into the HEF; here it runs on the host, so remove the line")

    def result(self) -> Settings:
        """Return the settings of all statements. Raises `InputError` for what they cannot ask for together."""
        self.wide.check()
        for place, names in self.forced.items():
            if both := names.intersection(self.settings.folded):
                raise InputError(
                    f"{place}: {min(both)} has its activation changed by change_output_activation, which decides its "
                    "range; force_range_out cannot be together with that, so take one of them out."
                )
        skipped = (f"{about}: {', '.join(ignored)}" if ignored else about for about, ignored in self.skipped.items())
        return replace(self.settings, skipped=tuple(skipped))

    def feature(self) -> str:
        return self.word(self.statement.arguments[0])

    def one_layer(self, value: Value) -> str:
        names = self.some_layers(value)
        if len(names) != 1:
            self.fail(f"one layer is wanted here, not {len(names)}")
        return names[0]

    def some_layers(self, value: Value) -> tuple[str, ...]:
        return self.named.find(value, self.fail)

    def word(self, value: Value) -> str:
        if not isinstance(value, Name):
            self.fail(f"a name is wanted here, not {value!r}")
        return value.text

    def whole(self, value: Value) -> int:
        if not isinstance(value, int):
            self.fail(f"a whole number is wanted here, not {value!r}")
        return value

    def pair(self, value: Value) -> tuple[float, float]:
        low, high = self.numbers(value)
        return low, high

    def numbers(self, value: Value) -> tuple[float, ...]:
        if not isinstance(value, tuple):
            self.fail("a list of numbers is wanted here")
        numbers: list[float] = []
        for item in value:
            if not isinstance(item, (int, float)):
                self.fail(f"a list of numbers is wanted here, it holds {item!r}")
            numbers.append(float(item))
        return tuple(numbers)


_COMMANDS = {
    "normalization": _Reader.normalization,
    "change_output_activation": _Reader.change_output_activation,
    "quantization_param": _Reader.quantization_param,
    "model_optimization_flavor": _Reader.model_optimization_flavor,
    "model_optimization_config": _Reader.model_optimization_config,
    "post_quantization_optimization": _Reader.post_quantization_optimization,
    "pre_quantization_optimization": _Reader.pre_quantization_optimization,
    "nms_postprocess": _Reader.nms_postprocess,
}
