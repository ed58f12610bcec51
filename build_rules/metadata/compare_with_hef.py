"""Outputs as the HEF has them, each beside its description in the metadata, and where the two differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from build_rules.hef import Hef
from build_rules.metadata.physical import BOUNDED, PhysicalTensor, looks_folded
from build_rules.metadata.problems import Problem, axis, error, mapping

__all__ = ["Pair", "compare_outputs", "compare_whole", "physical_outputs", "same_as_hef"]

DIFFERENCES = {10: "shape", 12: "quantization", 14: "activation"}


@dataclass(frozen=True)
class Pair:
    """One output: `tensor` None when the HEF has none of this name, `described` None when the metadata have none.

    `differs` names what is not the same: name, shape, quantization (type, scale or zero point), activation.
    """

    output: str
    tensor: PhysicalTensor | None
    described: dict[str, Any] | None
    differs: tuple[str, ...]


def physical_outputs(outputs: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every physical tensor with its path and the name of what it is part of."""
    for index, output in enumerate(outputs):
        children = output.get("outputs")
        if not children:
            yield f"outputs[{index}]", str(output.get("type")), output
        elif isinstance(children, list):
            for number, child in enumerate(children):
                if isinstance(child, dict):
                    yield f"outputs[{index}].outputs[{number}]", str(output.get("name")), child


def compare_outputs(document: dict[str, Any], tensors: Sequence[PhysicalTensor]) -> tuple[Pair, ...]:
    """Return a pair for every described physical output, in their order, then for every output nobody describes."""
    by_name = {tensor.name: tensor for tensor in tensors}
    pairs = []
    for path, _, described in physical_outputs(mapping(document.get("outputs"))):
        tensor = by_name.pop(str(described.get("name")), None)
        pairs.append(Pair(path, tensor, described, _differences(path, tensor, described)))
    return (*pairs, *(Pair("", tensor, None, ("name",)) for tensor in by_name.values()))


def _differences(path: str, tensor: PhysicalTensor | None, described: dict[str, Any]) -> tuple[str, ...]:
    if tensor is None:
        return ("name",)
    items = [problem.item for problem in _differs(path, described, tensor)]
    return tuple(DIFFERENCES[item] for item in items)


def same_as_hef(outputs: list[dict[str, Any]], tensors: Sequence[PhysicalTensor]) -> Iterator[Problem]:
    """Yield where described outputs are not those of the HEF (items 9, 10, 12 and 14 of the checklist)."""
    by_name = {tensor.name: tensor for tensor in tensors}
    for path, _, described in physical_outputs(outputs):
        tensor = by_name.pop(str(described.get("name")), None)
        if tensor is None:
            yield error(9, f"{path}.name", f"is {described.get('name')!r}, which is not an output of the HEF")
        else:
            yield from _differs(path, described, tensor)
    for name in sorted(by_name):
        yield error(9, "outputs", f"do not describe the HEF's output {name!r}")


def _differs(path: str, described: dict[str, Any], tensor: PhysicalTensor) -> Iterator[Problem]:
    if described.get("shape") != list(tensor.shape):
        yield error(10, f"{path}.shape", f"is {described.get('shape')!r}, in the HEF {list(tensor.shape)}")
    stored = described.get("quantization")
    stored = stored if isinstance(stored, dict) else {}
    own = (described.get("dtype"), stored.get("scale"), stored.get("zero_point"))
    real = (tensor.dtype, tensor.exact_scale, tensor.zero_point or 0)
    if own != real and not (tensor.is_float and own == (tensor.dtype, None, None)):
        yield error(12, path, f"has dtype, scale and zero point {own!r}, but the HEF has {real!r}")
    if tensor.is_float:
        return
    applied, required = described.get("activation_applied"), described.get("activation_required")
    if required in BOUNDED and looks_folded(tensor):
        yield error(14, path, f"leaves the {required} to the reader, but the chip has applied it: values are in [0, 1]")
    if applied in BOUNDED and not looks_folded(tensor):
        low, high = tensor.range if tensor.limits is None else tensor.limits
        yield error(
            14, path, f"says that the chip applies the {applied}, but its values reach from {low:.4g} to {high:.4g}"
        )


def compare_whole(document: dict[str, Any], hef: Hef) -> Iterator[Problem]:
    """Yield where the document says another chip than the HEF, or another input image."""
    section = document.get("hailo")
    chip = section.get("hw_arch") if isinstance(section, dict) else None
    if chip is not None and chip not in hef.chips:
        yield error(9, "hailo.hw_arch", f"is {chip!r}, but the HEF was compiled for {hef.hw_arch}")
    yield from _compare_input(document, hef)


def _compare_input(document: dict[str, Any], hef: Hef) -> Iterator[Problem]:
    """The input image, of a HEF with one network group and one input."""
    inputs = hef.network_groups[0].inputs if len(hef.network_groups) == 1 else ()
    section = document.get("input")
    if len(inputs) != 1 or not isinstance(section, dict):
        return
    described = tuple(axis(section, name) for name in ("height", "width", "num_features"))
    if None not in described[:2] and described[:2] != inputs[0].shape[:2]:
        height, width, _ = inputs[0].shape
        yield error(2, "input", f"is {described[0]}x{described[1]} pixels, but the HEF's input {height}x{width}")
    if described[2] is not None and described[2] != inputs[0].shape[2]:
        yield error(2, "input", f"has {described[2]} channels, but the HEF's input {inputs[0].shape[2]}")
