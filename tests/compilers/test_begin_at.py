"""A network that begins inside the graph that it was cut from."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from build_rules.compilers.begin_at import begin_at
from build_rules.errors import InputError
from tests.compilers.nets import SIZE, Net


def network() -> tuple[onnx.ModelProto, str, str]:
    """A network with a division before it; the tensors after the division and at the end."""
    net = Net()
    start = net.op("Div", "images", net.constant(255.0))
    end = net.silu(net.conv(start, (3, 8)))
    return net.model([end]), start, end


def test_what_led_there_is_left_out() -> None:
    model, start, end = network()
    begun = begin_at(model, start)
    onnx.checker.check_model(begun, full_check=True)
    assert [node.op_type for node in begun.graph.node] == ["Conv", "Sigmoid", "Mul"]
    assert [value.name for value in begun.graph.input] == ["images"]
    assert len(begun.graph.initializer) == len(model.graph.initializer) - 1
    image = np.random.default_rng(1).random((1, 3, SIZE, SIZE), dtype=np.float32)
    whole, rest = (
        onnxruntime.InferenceSession(m.SerializeToString()).run([end], {"images": fed})[0]
        for m, fed in ((model, image * 255), (begun, image))
    )
    np.testing.assert_allclose(whole, rest, rtol=1e-4, atol=1e-5)


def test_the_given_model_stays_as_it_is() -> None:
    model, start, _ = network()
    before = model.SerializeToString()
    begin_at(model, start)
    assert model.SerializeToString() == before


def test_a_tensor_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"begin at 'gone', which is no tensor"):
        begin_at(network()[0], "gone")
