"""What the first layers of a graph say of the pixels it takes, however they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from build_rules.errors import InputError
from build_rules.graph.front import read_front
from build_rules.records.split_json import PixelFacts
from tests.graph.fronts import FORMS, U8, UNIT, Form, by, cast, scores_of, spread
from tests.graph.graphs import SIZE, Builder, save, split, view_of


def facts_of(form: Form, folder: Path) -> PixelFacts:
    return read_front(view_of(scores_of(form), folder))


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    facts = facts_of(form, tmp_path)
    assert facts.takes == form.takes, facts.because
    if form.does is None:
        assert facts.front is None
        return
    assert facts.front is not None
    assert facts.front.swapped == form.swapped
    np.testing.assert_allclose(facts.front.mean, form.does[0], rtol=1e-5)
    np.testing.assert_allclose(facts.front.std, form.does[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["bytes by 255", "bytes swapped, channels last", "mean, deviation"])
def test_the_cut_graph_keeps_its_front_and_is_proven_with_it(name: str, tmp_path: Path) -> None:
    found = split(save(scores_of(FORMS[name]), tmp_path))
    assert found.proof is not None
    assert found.front is not None
    cut = onnx.load_from_string((tmp_path / "model.cut").read_bytes())
    assert found.front.start in {name for node in cut.graph.node for name in node.output}
    assert cut.graph.input[0].type.tensor_type.elem_type == FORMS[name].kind


def test_bytes_that_are_worked_on_before_they_are_numbers(tmp_path: Path) -> None:
    form = Form(
        lambda b, x: by(b, cast(b, b.op("Pad", x, b.integers(0, 0, 0, 0, 0, 0, 8, 8))), 255), "raw", None, kind=U8
    )
    with pytest.raises(InputError, match=r"'image' holds bytes \(UINT8\), which are used by '.*' \(Pad\)"):
        facts_of(form, tmp_path)


def test_bytes_that_go_two_ways(tmp_path: Path) -> None:
    b = Builder()
    b.inputs = [helper.make_tensor_value_info("image", U8, [1, 3, SIZE, SIZE])]
    maps = [b.conv(cast(b, "image"), 3, 2, 8, name) for name in ("one", "two")]
    b.op("Sigmoid", b.reshape(b.op("Add", *maps), 1, 2, -1), name="output0")
    with pytest.raises(InputError, match=r"\(UINT8\), which go to the network in several ways"):
        read_front(view_of(b.model("output0"), tmp_path))


@pytest.mark.parametrize("kind", [TensorProto.INT8, TensorProto.UINT16, TensorProto.INT32, TensorProto.DOUBLE])
def test_other_types_are_refused_by_name(kind: int, tmp_path: Path) -> None:
    name = TensorProto.DataType.Name(kind)
    with pytest.raises(InputError, match=rf"the input 'image' holds {name}; export the model with a float input"):
        facts_of(Form(cast, None, None, kind=kind), tmp_path)


def test_a_branch_around_the_front_keeps_it_in_the_graph(tmp_path: Path) -> None:
    """A second reader of the pixels as they come could not be given them any more."""
    b = Builder()
    first = b.conv(by(b, "image", 255), 3, 2, 8, "map")
    b.op("Sigmoid", b.reshape(b.op("Add", first, b.conv("image", 3, 2, 8)), 1, 2, -1), name="output0")
    facts = read_front(view_of(b.model("output0"), tmp_path))
    assert (facts.front, facts.takes) == (None, "raw")


def test_the_size_of_an_image_may_be_asked_for(tmp_path: Path) -> None:
    b = Builder()
    shape = b.op("Shape", "image")
    rows = b.op("Div", b.op("Slice", shape, b.integers(2), b.integers(3), b.integers(0)), b.integers(8))
    scores = b.conv(by(b, "image", 255), 3, 2, 8, "map")
    target = b.op("Concat", b.integers(1, 2), rows, rows, axis=0)
    b.op("Sigmoid", b.op("Reshape", scores, target), name="output0")
    facts = read_front(view_of(b.model(("output0", [1, 2, 4, 4])), tmp_path))
    assert facts.front is not None
    assert facts.front.std == (255.0,) * 3


@pytest.mark.parametrize(
    ("mean", "variance", "gamma", "beta"),
    [(0.45, 0.07, 0.01, -0.6), (0.4, 0.06, 0.002, 0.1), (-0.2, 0.3, 1.5, 0.2)],
)
def test_what_a_batch_normalization_has_learned_is_no_sign_of_pixels(
    mean: float, variance: float, gamma: float, beta: float, tmp_path: Path
) -> None:
    def write(b: Builder, x: str) -> str:
        values = [np.full(3, value) for value in (gamma, beta, mean, variance)]
        return b.op("BatchNormalization", x, *map(b.weight, values))

    assert facts_of(Form(write, None, None), tmp_path).takes in (None, "unit")


def test_a_trained_convolution_is_no_sign_of_pixels(tmp_path: Path) -> None:
    def write(b: Builder, x: str) -> str:
        return b.op("Conv", x, b.weight(np.array([0.01, 0.3, 1.7]).reshape(3, 1, 1, 1)), group=3, kernel_shape=[1, 1])

    assert facts_of(Form(write, None, None), tmp_path).takes is None


def test_several_images_at_once(tmp_path: Path) -> None:
    form = Form(lambda b, x: spread(b, x), "raw", None, shape=(2, 3, SIZE, SIZE))
    b = Builder(image=form.shape)
    b.op("Sigmoid", b.reshape(b.conv(spread(b, "image"), 3, 2, 8, "map"), 2, 2, -1), name="output0")
    facts = read_front(view_of(b.model("output0"), tmp_path))
    assert facts.front is not None
    assert facts.front.shape == (1, 3, SIZE, SIZE)


def test_a_front_that_would_take_gigabytes_is_not_run(tmp_path: Path) -> None:
    b = Builder(image=(1, 3, 4096, 4096))
    b.op("Sigmoid", b.reshape(b.conv(by(b, "image", 255), 3, 2, 8, "map"), 1, 2, -1), name="output0")
    with pytest.raises(InputError, match="too large for its first layers"):
        read_front(view_of(b.model("output0"), tmp_path))


def test_many_large_layers_are_not_run(tmp_path: Path) -> None:
    b = Builder(image=(1, 3, 1024, 1024))
    source = "image"
    for _ in range(40):
        source = by(b, source, 1.5)
    b.op("Sigmoid", b.reshape(b.conv(source, 3, 2, 8, "map"), 1, 2, -1), name="output0")
    with pytest.raises(InputError, match="too large for its first layers"):
        read_front(view_of(b.model("output0"), tmp_path))


def test_why_is_told_with_the_layer(tmp_path: Path) -> None:
    facts = facts_of(FORMS["by 255"], tmp_path)
    assert facts.because == "begins with (x - 0) / 255 ('div_0', Div)"
    assert facts_of(FORMS["bytes"], tmp_path).because == "takes bytes ('image' is UINT8)"
    assert facts_of(Form(lambda b, x: spread(b, x, *UNIT), None, None), tmp_path).because.startswith(
        "begins with (x - 0.4"
    )
