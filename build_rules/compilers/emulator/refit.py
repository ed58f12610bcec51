"""The fine-tune pass: refit the last convolutions of every output to the quantized network's own features.

A convolution that reads rounded tensors is no longer the best map from what it reads to what the float network makes
of it. Its least-squares correction has a closed form (ridge regression towards the present kernel), so no training is
needed:

    minimize  |A (W + D) - Z|^2 + r |D|^2      over D,    A: rounded inputs (im2col, 1), Z: float pre-activations.

Layers are refitted from the far end towards the outputs, since each changes what the next one reads. A refit is kept
only when it lowers the error of its output on samples that took no part in it.

Depth, ridge, shares and the threshold were chosen on trained detectors by the error on images outside the calibration
set: a weaker ridge, three layers or half the judges lower the error on the judges and raise it on new images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from build_rules.compilers.emulator.biases import with_integer_biases
from build_rules.compilers.emulator.finite import not_finite
from build_rules.compilers.emulator.fuse import WEIGHTED, Layer
from build_rules.compilers.emulator.graph import attribute
from build_rules.compilers.emulator.kernels import quantize_kernel
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.qdq import float_model, quantized_model, seen
from build_rules.compilers.emulator.quantization_plan import Kernel, Plan
from build_rules.compilers.emulator.score_cells import Target, Targets, on_grid
from build_rules.compilers.emulator.sessions import map_samples, open_session, run, sum_samples
from build_rules.compilers.samples import Samples

__all__ = ["DEPTH", "Candidate", "Refit", "candidates", "patches"]

Doubles = npt.NDArray[np.float64]

DEPTH = 2
ROWS = 8192
RIDGE = 3e-2
BACKGROUND = 0.02
"""What a place without any object counts, against 1 for one that surely holds one: objects are not to be invented."""


@dataclass(frozen=True)
class Candidate:
    """A convolution that serves one output only; `depth` counts the convolutions between it and that output."""

    layer: Layer
    output: str
    depth: int


def candidates(network: Network) -> tuple[Candidate, ...]:
    """Return the ordinary convolutions, at most `DEPTH` from an output, whose result reaches that output alone."""
    reached: dict[str, dict[str, int]] = {}
    for output in network.outputs:
        reached.setdefault(output.tensor, {})[output.name] = 0
    refittable = []
    for layer in reversed(network.layers):
        depths: dict[str, int] = {}
        for tensor in layer.outputs:
            for name, depth in reached.get(tensor, {}).items():
                depths[name] = min(depth, depths.get(name, depth))
        if len(depths) == 1 and _is_plain(network, layer):
            (output_name, depth), *_ = depths.items()
            if depth < DEPTH:
                refittable.append(Candidate(layer, output_name, depth))
        step = 1 if layer.kind in WEIGHTED else 0
        for tensor in layer.inputs:
            beyond = reached.setdefault(tensor, {})
            for name, depth in depths.items():
                beyond[name] = min(depth + step, beyond.get(name, depth + step))
    return tuple(refittable[::-1])


def _is_plain(network: Network, layer: Layer) -> bool:
    node = network.graph.nodes[layer.nodes[0]]
    shape = network.graph.shapes[node.output[0]]
    return layer.kind == "conv" and attribute(node, "group", 1) == 1 and len(shape) == 4 and layer.raw == node.output[0]


class Refit:
    """What the float network makes before the activations of some convolutions, at chosen places of the teachers."""

    def __init__(
        self, network: Network, plan: Plan, samples: Samples, chosen: Sequence[Candidate], teachers: Targets
    ) -> None:
        self.network, self.samples, self.teachers = network, samples, tuple(teachers)
        rows = ROWS // len(teachers)
        self.places = {
            (each.layer.name, index): _places(network, each, target, rows)
            for each in chosen
            for index, target in teachers.items()
        }
        session = open_session(float_model(network, plan, [each.layer.raw for each in chosen], delivers=False))

        def wanted(index: int) -> dict[str, Floats]:
            values = run(session, samples.sample(index))
            if not all(np.isfinite(values[each.layer.raw]).all() for each in chosen):
                raise not_finite(network, plan, samples.sample(index), index)
            return {
                each.layer.name: _at(values[each.layer.raw][0], self.places[each.layer.name, index].positions)
                for each in chosen
            }

        self.wanted = dict(zip(self.teachers, map_samples(wanted, self.teachers), strict=True))

    def refitted(self, plan: Plan, chosen: Sequence[Candidate]) -> Plan:
        """Return `plan` with the kernels and biases of `chosen` refitted to what the quantized network feeds them."""
        inputs = {each.layer.name: seen(plan, each.layer.inputs[0]) for each in chosen}
        session = open_session(quantized_model(self.network, plan, list(dict.fromkeys(inputs.values()))))
        products = open_session(_normal_equations())
        folded = {each.layer.name: plan.folded.get(each.output) if each.depth == 0 else None for each in chosen}
        present = {each.layer.name: _flat(self.network, plan, each.layer) for each in chosen}

        def normal_equations(index: int) -> dict[str, npt.NDArray[np.float32]]:
            values = run(session, self.samples.sample(index))
            parts = {}
            for each in chosen:
                name = each.layer.name
                place = self.places[name, index]
                rows = patches(self.network, each.layer, values[inputs[name]][0], place.positions)
                target = self.wanted[index][name]
                weight = _importance(target, folded[name]) * place.weights
                feeds = {"rows": rows * weight, "target": target * weight, "kernel": present[name]}
                parts[f"{name}/gram"], parts[f"{name}/cross"] = products.run(None, feeds)
            return parts

        sums = sum_samples(normal_equations, self.teachers)
        kernels, biases = dict(plan.kernels), dict(plan.biases)
        for name, flat in present.items():
            gram = _held_towards(sums[f"{name}/gram"])
            wanted = flat + _steady(np.asarray(np.linalg.solve(gram, sums[f"{name}/cross"])))
            kernels[name], biases[name] = _rounded(wanted, gram, plan.kernels[name])
        return with_integer_biases(self.network, replace(plan, kernels=kernels, biases=biases))


@dataclass(frozen=True, eq=False)
class _Places:
    """Positions in a convolution's output of one sample, and the root of what an error there counts, [positions, 1]."""

    positions: npt.NDArray[np.int64]
    weights: Floats


def _places(network: Network, candidate: Candidate, target: Target, count: int) -> _Places:
    """Return half of the places where objects are most, half of all places alike."""
    _, _, height, width = network.graph.shapes[candidate.layer.raw]
    weights = on_grid(target.weights[candidate.output], (height, width)).reshape(-1)
    if len(weights) <= count:
        positions = np.arange(len(weights))
    else:
        best = np.argsort(-weights, kind="stable")[: count // 2]
        others = np.setdiff1d(np.arange(len(weights)), best)
        step = max(1, len(others) // (count - len(best)))
        positions = np.sort(np.concatenate([best, others[:: step if step == 1 else step | 1]]))
    return _Places(positions, np.sqrt(weights[positions, None] + BACKGROUND).astype(np.float32))


def _at(value: Floats, positions: npt.NDArray[np.int64]) -> Floats:
    """Return [positions, channels] of a [C, H, W] tensor."""
    return np.ascontiguousarray(value.reshape(len(value), -1)[:, positions].T)


def patches(network: Network, layer: Layer, value: Floats, positions: npt.NDArray[np.int64]) -> Floats:
    """Return what the kernel sees at some output positions of a [C, H, W] input: [positions, C * kh * kw + 1].

    Columns are in the order of an OIHW kernel's rows; the last is 1, for the bias.
    """
    node = network.graph.nodes[layer.nodes[0]]
    _, _, _, out_width = network.graph.shapes[layer.raw]
    kernel_h, kernel_w = network.kernel(layer).shape[2:]
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    padded = np.pad(value, ((0, 0), (top, bottom), (left, right)))
    rows, columns = positions // out_width * strides[0], positions % out_width * strides[1]
    taps = [
        padded[:, rows + i * dilations[0], columns + j * dilations[1]] for i in range(kernel_h) for j in range(kernel_w)
    ]
    seen_by_kernel = np.stack(taps, axis=1).reshape(-1, len(positions)).T
    return np.concatenate([seen_by_kernel, np.ones((len(positions), 1), dtype=np.float32)], axis=1)


def _importance(target: Floats, folded: str | None) -> Floats:
    """Return a weight per row: under a sigmoid, errors count by its slope, so where it is saturated they hardly do."""
    if folded != "sigmoid":
        return np.ones((len(target), 1), dtype=np.float32)
    probability = 1 / (1 + np.exp(-np.clip(target, -30, 30)))
    slope = (probability * (1 - probability)).max(axis=1, keepdims=True)
    return np.asarray(slope + 0.01, dtype=np.float32)


def _flat(network: Network, plan: Plan, layer: Layer) -> Floats:
    """Return the kernel before rounding, and the bias, as [C * kh * kw + 1, O]."""
    kernel = network.kernel(layer)
    return np.concatenate([kernel.reshape(len(kernel), -1).T, plan.biases[layer.name][None]]).astype(np.float32)


def _normal_equations() -> onnx.ModelProto:
    """Return a model that computes A^T A and A^T (Z - A W): single-threaded, unlike numpy's products."""
    nodes = [
        helper.make_node("MatMul", ["rows", "kernel"], ["made"]),
        helper.make_node("Sub", ["target", "made"], ["missing"]),
        helper.make_node("Transpose", ["rows"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["turned", "rows"], ["gram"]),
        helper.make_node("MatMul", ["turned", "missing"], ["cross"]),
    ]
    kind = onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, kind, [None, None]) for name in ("rows", "target", "kernel")]
    outputs = [helper.make_tensor_value_info(name, kind, [None, None]) for name in ("gram", "cross")]
    graph = helper.make_graph(nodes, "normal_equations", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _held_towards(gram: Doubles) -> Doubles:
    """Return G + r I; the bias (last row) is not held by the ridge."""
    ridge = np.full(len(gram), RIDGE * np.mean(np.diag(gram)[:-1]))
    ridge[-1] = 1e-6 * gram[-1, -1]
    return np.asarray(gram + np.diag(ridge))


def _steady(solution: Doubles) -> Doubles:
    """Drop the last bits of a solver's result, which depend on how many threads it used."""
    unit = 2.0 ** (np.ceil(np.log2(np.abs(solution).max() + 1e-30)) - 20)
    return np.asarray(np.rint(solution / unit) * unit)


def _rounded(wanted: Doubles, gram: Doubles, like: Kernel) -> tuple[Kernel, Floats]:
    """Round a kernel row by row, making up for each row's error in the rows still to come, lastly in the bias.

    Row i's error e changes the rest by -U[i, i+1:] e / U[i, i], with U^T U the inverse of the Gram matrix, which keeps
    the squared error of the outputs least (Frantar et al. 2022, GPTQ, algorithm 1).
    """
    shape = like.values.shape
    scales = quantize_kernel(wanted[:-1].T.reshape(shape).astype(np.float32), 0, like.bits).scales
    upper = _steady(np.asarray(np.linalg.cholesky(np.linalg.inv(gram)).T, dtype=np.float64))
    top = (1 << (like.bits - 1)) - 1
    left, values = wanted.copy(), np.zeros(wanted[:-1].shape, dtype=like.values.dtype)
    for row in range(len(values)):
        values[row] = np.clip(np.rint(left[row] / scales), -top, top)
        error = (left[row] - values[row] * scales) / upper[row, row]
        left[row + 1 :] -= upper[row, row + 1 :, None] * error
    return Kernel(np.ascontiguousarray(values.T.reshape(shape)), scales, like.bits), left[-1].astype(np.float32)
