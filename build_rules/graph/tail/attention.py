"""Where the attention blocks are: a product of two computed tensors, a softmax of it, a product of that with a third.

Compilers need to treat these products, and the layers around them, apart: a product of computed tensors has no weights
that could be quantized per channel.

Only the flow of data counts. What is told of a tensor is passed on from node to node, nearest origin first, and every
node passes it on once: the cost is linear in the number of nodes, whatever the graph looks like. The neighbours of a
block are looked for in a neighbourhood of limited size. Subgraphs count as readers of what they capture; blocks inside
them are not looked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import onnx

from build_rules.graph.load.node_order import node_inputs
from build_rules.records.split_json import AttentionBlock

__all__ = ["find_attention"]

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = ("MatMul", "Gemm", "Einsum")
"""With one computed factor these are dense layers, convolutions over tokens; with two they are products of data."""
SHAPE_ONLY = ("Shape", "Size")
LAYOUT = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Slice", "Split", "Concat", "Pad")
ARITHMETIC = ("Mul", "Div", "Add", "Sum", "Sub", "Where", "Min", "Max", "Clip")
SAME = ("Identity", "Cast", "CastLike", "Dropout", "QuantizeLinear", "DequantizeLinear")
BETWEEN = frozenset((*LAYOUT, *ARITHMETIC, *SAME))
"""What may lie between a product and the softmax: layout, scale, mask, casts."""
ADDITIONS = ("Add", "Sum")
NEIGHBOURHOOD = 128
"""Steps of one search for the layers around a block; a real block needs about 20."""


@dataclass(frozen=True)
class _Flow:
    """Which node computes a tensor and which ones read it, nodes by their index: they may lack names.

    `kinds` are the operator types, empty for operators of other domains. `computed` holds the tensors that hang on the
    output of a layer, not on stored weights or shapes alone; `layers` the convolutions and dense layers; `products` the
    products of two computed tensors, each with those two.
    """

    nodes: Sequence[onnx.NodeProto]
    kinds: Sequence[str]
    reads: Sequence[Sequence[str]]
    producers: Mapping[str, int]
    users: Mapping[str, Sequence[int]]
    computed: Collection[str] = frozenset()
    layers: frozenset[int] = frozenset()
    products: Mapping[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Near:
    """What no layer separates from where a search began, and the layers at which it ended."""

    tensors: Collection[str]
    passed: Collection[int]
    layers: frozenset[int]


def find_attention(nodes: Sequence[onnx.NodeProto]) -> tuple[AttentionBlock, ...]:
    """Return the attention blocks of a graph, in the order of `nodes`, which is the order of computation.

    Each product with the softmax of one product makes a block of its own.
    """
    flow = _classified(_flow(nodes))
    scored = _spread(flow, _outputs(flow, flow.products), lambda index: flow.kinds[index] in BETWEEN)
    scores = {softmax: scored[source] for softmax, source in _softmaxes(flow) if source in scored}
    weighing = _spread(flow, _outputs(flow, scores), lambda index: flow.kinds[index] in BETWEEN)
    blocks = []
    for mixed, (first, second) in flow.products.items():
        for weights, values in ((first, second), (second, first)):
            if weights in weighing and weighing.get(values) != weighing[weights]:
                softmax = weighing[weights]
                blocks.append((scores[softmax], mixed, softmax, values))
    return tuple(_block(flow, *places) for places in sorted(blocks))


def _flow(nodes: Sequence[onnx.NodeProto]) -> _Flow:
    kinds = [node.op_type if node.domain in ("", "ai.onnx") else "" for node in nodes]
    reads = [list(filter(None, node_inputs(node))) for node in nodes]
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    users: dict[str, list[int]] = {}
    for index, names in enumerate(reads):
        for name in dict.fromkeys(names):
            users.setdefault(name, []).append(index)
    return _Flow(tuple(nodes), kinds, reads, producers, users)


def _classified(flow: _Flow) -> _Flow:
    """Return the same flow of data, with what is computed, what is a layer, and what a product of computed tensors."""
    candidates = [index for index, kind in enumerate(flow.kinds) if kind in CONVOLUTIONS or kind in PRODUCTS]
    computed = _spread(flow, _outputs(flow, candidates), lambda index: flow.kinds[index] not in SHAPE_ONLY)
    layers = set()
    products = {}
    for index in candidates:
        factors = tuple(flow.nodes[index].input[:2])
        count = sum(name in computed for name in factors)
        if flow.kinds[index] in CONVOLUTIONS or count == 1:
            layers.add(index)
        elif count == 2 and (flow.kinds[index] != "Einsum" or _contracts(flow.nodes[index])):
            products[index] = (factors[0], factors[1])
    return replace(flow, computed=computed.keys(), layers=frozenset(layers), products=products)


def _outputs(flow: _Flow, indices: Iterable[int]) -> dict[str, int]:
    """Return the output tensors of nodes, each with its node."""
    return {name: index for index in indices for name in flow.nodes[index].output if name}


def _spread(flow: _Flow, origins: Mapping[str, int], passes: Callable[[int], bool]) -> dict[str, int]:
    """Return, for every tensor reached from the given ones through nodes that pass, the origin nearest to it."""
    nearest = dict(origins)
    waiting = deque(nearest)
    done: set[int] = set()
    while waiting:
        tensor = waiting.popleft()
        for user in flow.users.get(tensor, ()):
            if user in done or not passes(user):
                continue
            done.add(user)
            for name in flow.nodes[user].output:
                if name and name not in nearest:
                    nearest[name] = nearest[tensor]
                    waiting.append(name)
    return nearest


def _softmaxes(flow: _Flow) -> Iterator[tuple[int, str]]:
    """Yield the nodes that give a softmax, each with the tensor of which it is one.

    A softmax may be written out: the exponential divided by its sum. The maximum that is subtracted before leaves the
    result as it is, and is passed like a mask.
    """
    for index, kind in enumerate(flow.kinds):
        names = flow.nodes[index].input
        if kind == "Softmax" and names:
            yield index, names[0]
        elif kind == "Div" and len(names) == 2:
            above, below = (flow.producers.get(name) for name in names)
            if above is None or below is None or flow.kinds[above] != "Exp" or flow.kinds[below] != "ReduceSum":
                continue
            if flow.nodes[below].input[:1] == [names[0]] and flow.nodes[above].input:
                yield index, flow.nodes[above].input[0]


def _contracts(node: onnx.NodeProto) -> bool:
    """Say whether an Einsum of two tensors sums over an index that both have."""
    equation = next((a.s.decode(errors="replace") for a in node.attribute if a.name == "equation"), "")
    terms, arrow, result = equation.replace(" ", "").partition("->")
    if len(node.input) != 2 or terms.count(",") != 1:
        return False
    first, second = (set(filter(str.isalpha, term)) for term in terms.split(","))
    return bool(first & second - set(result if arrow else ""))


def _block(flow: _Flow, scores: int, mixed: int, softmax: int, values: str) -> AttentionBlock:
    values_origin = _upwards(flow, [values])
    onward = _downwards(flow, flow.nodes[mixed].output)
    return AttentionBlock(
        scores=flow.nodes[scores].name,
        softmax=flow.nodes[softmax].name,
        mixed=flow.nodes[mixed].name,
        fed_by=_names(flow, _upwards(flow, flow.products[scores]).layers | values_origin.layers),
        feeds=_names(flow, onward.layers),
        beside=_names(flow, _added(flow, onward) & _downwards(flow, values_origin.tensors).layers),
    )


def _added(flow: _Flow, onward: _Near) -> frozenset[int]:
    """Return the layers whose output is added to what a block gives, before any layer reads that."""
    summands = (name for index in onward.passed if flow.kinds[index] in ADDITIONS for name in flow.reads[index])
    return _upwards(flow, [name for name in islice(summands, NEIGHBOURHOOD) if name not in onward.tensors]).layers


def _upwards(flow: _Flow, tensors: Iterable[str]) -> _Near:
    """Search from tensors back to the layers that they come from."""

    def step(tensor: str) -> Iterator[tuple[int, str]]:
        index = flow.producers.get(tensor)
        if index is not None:
            yield from ((index, name) for name in flow.reads[index])

    return _search(flow, tensors, step)


def _downwards(flow: _Flow, tensors: Iterable[str]) -> _Near:
    """Search from tensors onward to the layers that read them."""

    def step(tensor: str) -> Iterator[tuple[int, str]]:
        for user in flow.users.get(tensor, ()):
            yield from ((user, name) for name in flow.nodes[user].output)

    return _search(flow, tensors, step)


def _search(flow: _Flow, tensors: Iterable[str], step: Callable[[str], Iterator[tuple[int, str]]]) -> _Near:
    """Search step by step, nearest first, through computed tensors; layers end the way."""
    reached = dict.fromkeys(name for name in tensors if name in flow.computed)
    waiting = deque(reached)
    passed: dict[int, None] = {}
    layers: set[int] = set()
    left = NEIGHBOURHOOD
    while waiting and left:
        for index, name in step(waiting.popleft()):
            if index in flow.layers:
                layers.add(index)
            elif name in flow.computed and name not in reached:
                reached[name] = passed[index] = None
                waiting.append(name)
            left -= 1
            if not left:
                break
    return _Near(reached, passed, frozenset(layers))


def _names(flow: _Flow, indices: Iterable[int]) -> tuple[str, ...]:
    return tuple(flow.nodes[index].name for index in sorted(indices))
