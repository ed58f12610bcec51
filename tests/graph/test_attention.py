from __future__ import annotations

from build_rules.graph.attention import find_attention
from tests.graph.graphs import Builder, detection


def attention(b: Builder, source: str, name: str) -> str:
    tokens = b.reshape(source, 1, 3, -1)
    scores = b.op("MatMul", b.op("Transpose", tokens, perm=[0, 2, 1]), tokens, name=f"{name}_scores")
    soft = b.op("Softmax", b.op("Mul", scores, b.weight(0.5)), axis=-1)
    return b.op("MatMul", tokens, b.op("Transpose", soft, perm=[0, 2, 1]), name=f"{name}_mix")


def test_finds_both_products_of_every_block() -> None:
    b = Builder()
    first = attention(b, "image", "first")
    attention(b, first, "second")
    assert find_attention(b.nodes) == ("first_scores", "first_mix", "second_scores", "second_mix")


def test_a_head_has_none() -> None:
    assert find_attention(detection("matmul").graph.node) == ()


def test_a_softmax_between_layers_is_no_attention() -> None:
    b = Builder()
    first = b.op("MatMul", b.reshape("image", 32, -1), b.weight([[1.0]]))
    b.op("MatMul", b.op("Softmax", first), b.weight([[1.0]]))
    assert find_attention(b.nodes) == ()
