"""What a HAR says of its network without the compiler that made it: the same for every compiler.

Its HN tells names, shapes and activations, `<n>.q.npz` the bits that the quantization has given each layer: keys such
as `net/output_layer1/output_activation_bits:0`, as seen in archives of the DFC 3.27 to 3.33.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from build_rules.compilers.archive import open_member, read_members
from build_rules.compilers.har_file import Har, OutputLayer, har_of, outline_har, output_layers
from build_rules.compilers.npz_numbers import read_numbers
from build_rules.errors import InputError

__all__ = ["HarDescription", "HarLayer", "HarOutput", "describe", "output_grids"]

QUANTIZED = ".q.npz"
SCRIPT = ".alls"
SCRIPT_BYTES = 4 << 20
SHAPE = "[1, H, W, C]"
MAX_SIDE = 1 << 24
"""Of one axis of a tensor in the HN."""

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class HarLayer:
    """One layer of the HN; `original_names` are the ONNX nodes fused into it, `inputs` the layers that it reads.

    `shape` is that of its first output, [1, H, W, C], None when the HN does not tell. `bits` are those of its output
    (8, 16), None when the HAR is not quantized or does not tell; `activation` is the HN's word, None without one.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    original_names: tuple[str, ...]
    shape: Shape | None
    bits: int | None
    activation: str | None


@dataclass(frozen=True)
class HarOutput:
    """One output: `stream` is what a HEF calls it (`net/producer`), `output_layer` the HN's `net/output_layerN`.

    The others are as in `HarLayer`, of the producing layer; `bits` are those that are delivered.
    """

    stream: str
    output_layer: str
    original_names: tuple[str, ...]
    shape: Shape
    bits: int | None
    activation: str | None


@dataclass(frozen=True)
class HarDescription:
    """What a HAR says; `outputs` are in the order of the HEF's, `layers` in that of the HN.

    `script` is the text of the model script in it, None when there is none. `input_shape` is [1, H, W, C], None when
    the network has no input, or several.
    """

    state: str
    sdk_version: str
    hw_arch: str | None
    network: str
    input_shape: Shape | None
    outputs: tuple[HarOutput, ...]
    layers: tuple[HarLayer, ...]
    script: str | None

    @property
    def is_quantized(self) -> bool:
        """Whether its numbers are those that the chip will compute with."""
        return self.state in ("quantized_model", "compiled_model")

    @property
    def frame_bytes(self) -> int:
        """What it sends to the host for one frame."""
        return sum(prod(output.shape) * (output.bits or 8) // 8 for output in self.outputs)

    @property
    def wide_layers(self) -> tuple[HarLayer, ...]:
        """The layers that work in 16 bits; that an output is delivered in them makes none."""
        return tuple(layer for layer in self.layers if layer.bits == 16 and layer.kind != "output_layer")


def describe(path: Path) -> HarDescription:
    """Describe a HAR of any compiler. Raises `InputError` when it is none, is damaged or exceeds what one may hold."""
    members, _ = read_members(path, (".hn", ".metadata.json", SCRIPT))
    har = har_of(path, members)
    outputs = output_layers(har.hn)
    bits = _numbers(path, har, [f"{name}/output_activation_bits:0" for name in har.hn["layers"]])
    layers = {name: _layer(name, layer, bits) for name, layer in har.hn["layers"].items()}
    inputs = [layer for layer in layers.values() if layer.kind == "input_layer"]
    script = members.get(har.name + SCRIPT)
    return HarDescription(
        state=har.state,
        sdk_version=har.sdk_version,
        hw_arch=har.hw_arch,
        network=har.name,
        input_shape=inputs[0].shape if len(inputs) == 1 else None,
        outputs=tuple(_output(path, output, layers) for output in outputs),
        layers=tuple(layers.values()),
        script=None if script is None or len(script) > SCRIPT_BYTES else script.decode("utf-8", "replace"),
    )


def output_grids(path: Path) -> tuple[tuple[str, float, float], ...]:
    """Return (stream, scale, zero point) of every output in order: real = scale * (stored - zero point).

    Raises `InputError` as `describe` does, and when the HAR does not tell one.
    """
    har, _ = outline_har(path)
    outputs = output_layers(har.hn)
    wanted = [f"{out.output_layer}/output_{what}:0" for out in outputs for what in ("scale", "zero_point")]
    numbers = _numbers(path, har, wanted)
    if missing := next((name for name in wanted if name not in numbers), None):
        raise InputError(f"{path}: does not tell {missing} of its outputs; build it again.")
    pairs = [numbers[name] for name in wanted]
    return tuple((out.producer, scale, zero) for out, scale, zero in zip(outputs, pairs[::2], pairs[1::2], strict=True))


def _numbers(path: Path, har: Har, names: list[str]) -> Mapping[str, float]:
    with open_member(path, har.name + QUANTIZED) as stream:
        return {} if stream is None else read_numbers(stream, names)


def _layer(name: str, layer: Any, bits: Mapping[str, float]) -> HarLayer:
    """Return a layer as far as the HN has it in the form that is known."""
    told = layer if isinstance(layer, dict) else {}
    params = told.get("params")
    activation = params.get("activation") if isinstance(params, dict) else None
    shapes = told.get("output_shapes")
    return HarLayer(
        name=name,
        kind=str(told.get("type", "")),
        inputs=_texts(told.get("input")),
        original_names=_texts(told.get("original_names")),
        shape=_shape(shapes[0]) if isinstance(shapes, list) and shapes else None,
        bits=_bits(bits.get(f"{name}/output_activation_bits:0")),
        activation=activation if isinstance(activation, str) else None,
    )


def _output(path: Path, output: OutputLayer, layers: Mapping[str, HarLayer]) -> HarOutput:
    producer, delivered = layers[output.producer], layers[output.output_layer]
    if delivered.shape is None:
        raise InputError(f"{path}: {output.output_layer} has no shape {SHAPE} in the HN; build it again.")
    return HarOutput(
        stream=output.producer,
        output_layer=output.output_layer,
        original_names=producer.original_names,
        shape=delivered.shape,
        bits=producer.bits if delivered.bits is None else delivered.bits,
        activation=producer.activation,
    )


def _shape(shape: Any) -> Shape | None:
    """Return an HN shape, [-1, H, W, C], [-1, W, C] or [-1, C], as a HEF has it."""
    if not isinstance(shape, (list, tuple)) or not 2 <= len(shape) <= 4:
        return None
    sides = shape[1:]
    if not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
        return None
    height, width, channels = (1,) * (3 - len(sides)) + tuple(sides)
    return 1, height, width, channels


def _bits(number: float | None) -> int | None:
    return int(number) if number in (8, 16) and number is not None else None


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()
