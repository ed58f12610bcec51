"""What is asked of the outputs of a network: by its HAR and by its model script, the same for every compiler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from build_rules.alls.script import Glob, Name, Script, Statement, Value
from build_rules.compilers.describe_har import HarDescription, HarOutput

__all__ = ["AskedOutput", "asked_outputs", "call_outputs", "find_demoted"]

DEFAULT_BITS = 8
FEW = 2
"""Outputs that are named with their ONNX nodes."""
_MODE = re.compile(r"a(\d+)_w\d+(?:_a(\d+))?")


@dataclass(frozen=True)
class AskedOutput:
    """An output as the HAR has it and the script asks for it.

    `bits` is None where the script has no word for what is delivered; `activation` is the one that it folds, if any.
    """

    output: HarOutput
    bits: int | None
    activation: str | None

    @property
    def called(self) -> str:
        """The output as messages name it."""
        nodes = self.output.original_names
        return self.output.stream + (f" (ONNX node {nodes[0]})" if nodes else "")


def asked_outputs(har: HarDescription, script: Script) -> tuple[AskedOutput, ...]:
    """Return what is asked of every output of a HAR, in their order; later lines of the script win."""
    modes: dict[str, int | None] = {}
    folded: dict[str, str] = {}
    for statement in script.statements:
        layers = [name for name in _layers(har) if any(_names(value, name) for value in statement.arguments[:1])]
        if statement.command == "quantization_param" and (mode := _word(statement, "precision_mode")) is not None:
            modes |= dict.fromkeys(layers, _output_bits(mode))
        if statement.command == "change_output_activation" and len(statement.arguments) > 1:
            activation = statement.arguments[1]
            folded |= dict.fromkeys(layers, activation.text if isinstance(activation, Name) else "")
    return tuple(AskedOutput(out, _asked_bits(out, modes), folded.get(out.stream)) for out in har.outputs)


def find_demoted(har: HarDescription, script: Script) -> tuple[str, ...]:
    """Return what a quantized HAR has in fewer bits than the script asks for, a sentence for each pair of widths.

    Only what it says of an output itself counts: what the layer before it works in tells nothing of what is delivered.
    """
    bits = {layer.name: layer.bits for layer in har.layers}
    demoted: dict[tuple[int, int], list[AskedOutput]] = {}
    for one in asked_outputs(har, script):
        found = bits.get(one.output.output_layer)
        if found is not None and one.bits is not None and found < one.bits:
            demoted.setdefault((found, one.bits), []).append(one)
    return tuple(
        f"{call_outputs(outputs)} quantized to {found} bits, and the script asks for {asked}: `hef` will refuse it."
        for (found, asked), outputs in demoted.items()
    )


def call_outputs(outputs: Sequence[AskedOutput]) -> str:
    """Return the beginning of a sentence about what became of outputs: all by name, a few with their ONNX nodes."""
    if len(outputs) == 1:
        return f"output {outputs[0].called} is"
    names = [one.called if len(outputs) <= FEW else one.output.stream for one in outputs]
    return f"outputs {', '.join(names)} are"


def _asked_bits(output: HarOutput, modes: Mapping[str, int | None]) -> int | None:
    """Return the bits that are asked for: what is said of the output itself, else what all have by default.

    Where the producing layer alone is to work in more bits, nothing is said of what is delivered.
    """
    if output.output_layer in modes:
        return modes[output.output_layer]
    return DEFAULT_BITS if modes.get(output.stream, DEFAULT_BITS) == DEFAULT_BITS else None


def _layers(har: HarDescription) -> Iterator[str]:
    for output in har.outputs:
        yield from (output.stream, output.output_layer)


def _names(value: Value, layer: str) -> bool:
    """Whether a value of the script, a name, a pattern or a list of these, stands for a layer (`net/conv1`)."""
    if isinstance(value, tuple):
        return any(_names(item, layer) for item in value)
    scope = layer.partition("/")[0]
    if isinstance(value, Glob):
        return fnmatchcase(layer, value.text if "/" in value.text else f"{scope}/{value.text}")
    return isinstance(value, Name) and layer in (value.text, f"{scope}/{value.text}")


def _word(statement: Statement, keyword: str) -> str | None:
    value = dict(statement.keywords).get(keyword)
    return value.text if isinstance(value, Name) else None


def _output_bits(mode: str) -> int | None:
    """Return the bits of what a layer delivers in a precision mode (`a8_w8_a16`), None for one that is not known."""
    match = _MODE.fullmatch(mode)
    return None if match is None else int(match[2] or match[1])
