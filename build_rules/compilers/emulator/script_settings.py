"""What a model script asks of the optimization, resolved against the layers of one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from build_rules.alls.commands import COMPILE_STAGE
from build_rules.alls.layers import Layers
from build_rules.alls.script import Name, Statement, Value, parse_script
from build_rules.errors import InputError

__all__ = ["MODES", "Adaround", "Finetune", "Precision", "Settings", "named_layers", "read_settings"]

PRE_QUANTIZATION = frozenset(
    {
        *("equalization", "ew_add_fusing", "ew_add_to_conv", "matmul_correction", "matmul_equalization"),
        *("activation_clipping", "weights_clipping", "layer_decomposition", "dead_channels_removal"),
        *("zero_static_channels", "se_optimization", "smart_softmax_stats", "conv_a16_w16", "switch_concat_with_add"),
        *("split_ew_mult_by_bit_significance", "global_avgpool_reduction", "defuse", "quarot", "negative_exponent"),
        *("layer_norm_decomposition", "resolution_reduction"),
    }
)
CONFIGURATIONS = frozenset(
    {
        *("calibration", "checker_cfg", "compression_params", "globals", "negative_exponent"),
        *("mixed_precision_search", "precision_change"),
    }
)
QUANTIZATION_OPTIONS = frozenset(
    {
        *("bias_mode", "quantization_groups", "gpu_policy", "null_channels_cutoff_factor"),
    }
)
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
class Adaround:
    """The search for the better way to round each weight; None means that no line says it."""

    dataset_size: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Settings:
    """A model script, understood.

    `mean`, `std`: per channel, in pixel units. `folded`: producing layer -> activation. `precision`: layer -> mode;
    `output_bits`: `net/output_layerN` -> 8 or 16. `calibset_size` None: the default of 64, or all there are.
    `clipping`: layer -> the percentiles (0 to 100) of its activations that its range ends at; `ranges`: layer -> the
    range itself (real values), where a line gives it. A layer is in one of them at most.
    `policies`: feature -> whether a line switches it on or off.
    `skipped` names what was asked for and has no counterpart here.
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
    finetune_options: Finetune = Finetune()
    adaround_options: Adaround = Adaround()
    skipped: tuple[str, ...] = ()

    @property
    def bias_correction(self) -> bool:
        """Level 1 and above correct biases, unless a line says otherwise."""
        return self.policies.get("bias_correction", self.optimization_level >= 1)

    @property
    def equalization(self) -> bool:
        """Every level equalizes, unless a line says otherwise."""
        return self.policies.get("equalization", True)

    @property
    def adaround(self) -> Adaround | None:
        """Level 3 and above search for the better rounding, unless a line says otherwise."""
        return self.adaround_options if self.policies.get("adaround", self.optimization_level >= 3) else None

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
    return reader.settings


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

    def read(self, statement: Statement) -> None:
        self.statement = statement
        if statement.command in COMPILE_STAGE:
            return
        method = _COMMANDS.get(statement.command)
        if method is None:
            self.fail(f"command {statement.command!r} is not known to the emulator; known are: {', '.join(_COMMANDS)}")
        method(self)
        self.named = self.named.after(statement)

    def fail(self, problem: str) -> NoReturn:
        raise InputError(f"{self.source}, line {self.statement.line}: {problem}.")

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
        if len(self.statement.arguments) != 1:
            self.fail("quantization_param takes one layer, list of layers or {glob}")
        names = self.some_layers(self.statement.arguments[0])
        for key, value in self.statement.keywords:
            if key == "precision_mode":
                self.set_precision(names, self.word(value))
            elif key not in QUANTIZATION_OPTIONS:
                self.fail(f"quantization_param has no option {key!r}; known are: precision_mode, "
                          f"{', '.join(sorted(QUANTIZATION_OPTIONS))}")  # fmt: skip

    def set_precision(self, names: Iterable[str], mode: str) -> None:
        if mode not in MODES:
            self.fail(f"precision mode {mode!r} does not exist on this device; choose one of: {', '.join(MODES)}")
        outputs, precision = dict(self.settings.output_bits), dict(self.settings.precision)
        for name in names:
            if self.layers[name]["type"] == "output_layer":
                outputs[name] = MODES[mode].output_bits
            else:
                precision[name] = MODES[mode]
        self.settings = replace(self.settings, output_bits=outputs, precision=precision)

    def model_optimization_flavor(self) -> None:
        if self.statement.arguments:
            self.fail("model_optimization_flavor takes named options alone, such as optimization_level=2")
        for key, value in self.statement.keywords:
            if key not in ("optimization_level", "compression_level", "batch_size"):
                self.fail(f"model_optimization_flavor has no option {key!r}")
            number = self.whole(value, key)
            if key == "optimization_level":
                self.settings = replace(self.settings, optimization_level=number)
            elif key == "compression_level":
                self.settings = replace(self.settings, compression_level=number)
        if self.settings.optimization_level > 4 or self.settings.compression_level > 5:
            self.fail("optimization_level goes from 0 to 4, compression_level from 0 to 5")

    def model_optimization_config(self) -> None:
        feature = self.feature(CONFIGURATIONS)
        if feature != "calibration":
            self.skip(feature)
            return
        for key, value in self.statement.keywords:
            if key == "calibset_size":
                self.settings = replace(self.settings, calibset_size=self.whole(value, key, least=1))
            elif key != "batch_size":
                self.fail(f"model_optimization_config(calibration) has no option {key!r}")

    def post_quantization_optimization(self) -> None:
        feature = self.feature(frozenset({"finetune", "bias_correction", "adaround", "mix_precision_search"}))
        options = dict(self.statement.keywords)
        policy = self.word(options.get("policy", Name("enabled")))
        if policy not in ("enabled", "disabled", "allowed"):
            self.fail(f"policy {policy!r} does not exist; choose enabled or disabled")
        if policy != "allowed":
            self.settings = replace(self.settings, policies={**self.settings.policies, feature: policy == "enabled"})
        if feature == "finetune" and "dataset_size" in options:
            size = self.whole(options["dataset_size"], "dataset_size", least=1)
            self.settings = replace(self.settings, finetune_options=Finetune(size))
        if feature in ("adaround", "mix_precision_search") and policy == "enabled":
            self.skip(feature)

    def pre_quantization_optimization(self) -> None:
        for key, value in self.statement.keywords:
            if key == "layers":
                self.some_layers(value)
        self.skip(self.feature(PRE_QUANTIZATION))

    def nms_postprocess(self) -> None:
        self.fail("nms_postprocess puts the decode into the HEF; here it runs on the host, so remove the line")

    def set_seed(self) -> None:
        self.skip("seed")  # nothing here is drawn at random

    def skip(self, feature: str) -> None:
        names = dict.fromkeys((*self.settings.skipped, f"{self.statement.command}({feature})"))
        self.settings = replace(self.settings, skipped=tuple(names))

    def feature(self, features: frozenset[str]) -> str:
        if not self.statement.arguments:
            self.fail(f"{self.statement.command} needs the name of a feature: {', '.join(sorted(features))}")
        feature = self.word(self.statement.arguments[0])
        if feature not in features:
            self.fail(f"{self.statement.command} has no feature {feature!r}; known are: {', '.join(sorted(features))}")
        return feature

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

    def whole(self, value: Value, key: str, least: int = 0) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fail(f"{key} must be a whole number of at least {least}")
        return value

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
    "set_seed": _Reader.set_seed,
}
