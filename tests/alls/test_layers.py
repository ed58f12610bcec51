"""Which layers a value means, and what is said when it means none or several."""

from __future__ import annotations

from typing import NoReturn

import pytest

from build_rules.alls.layers import Layers
from build_rules.alls.script import Value, parse_script

LAYERS = Layers(
    "net",
    {
        "net/input_layer1": ("images",),
        "net/conv1": ("/model.0/conv/Conv", "/model.0/act/Sigmoid"),
        "net/conv2": ("/model.1/conv/Conv",),
        "net/conv12": ("/split",),
        "net/slice1": ("/split",),
        "net/output_layer1": ("/model.1/conv/Conv",),
    },
)


class Refused(Exception):
    pass


def fail(problem: str) -> NoReturn:
    raise Refused(problem)


def value(text: str) -> Value:
    return parse_script(f"a({text})", origins=True).statements[0].arguments[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("conv1", ("net/conv1",)),
        ("net/conv1", ("net/conv1",)),
        ("{conv*}", ("net/conv1", "net/conv2", "net/conv12")),
        ("{net/*2}", ("net/conv2", "net/conv12")),
        ("[conv2, [net/conv2, conv1]]", ("net/conv2", "net/conv1")),
        ("onnx:/model.0/act/Sigmoid", ("net/conv1",)),
        ("[onnx:images, conv1]", ("net/input_layer1", "net/conv1")),
        # Some versions of the compiler say of an output where its layer comes from; the layer is meant.
        ("onnx:/model.1/conv/Conv", ("net/conv2",)),
        ("normalization1", ()),
        ("{normalization*}", ()),
    ],
)
def test_what_is_found(text: str, found: tuple[str, ...]) -> None:
    (statement,) = parse_script("normalization1 = normalization([0], [1])").statements
    assert LAYERS.after(statement).find(value(text), fail) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("conv3", r"layer 'conv3' doesn't exist in the HN of 'net' \(there are net/conv2, net/conv1, net/conv12\)"),
        ("other/conv1", "layer 'other/conv1' doesn't exist"),
        ("{dw*}", r"pattern \{dw\*\} matches no layer; it doesn't exist in the HN"),
        ("normalization1", "doesn't exist"),
        ("7", "a name is wanted here, not 7"),
        ('"conv1"', 'a name is wanted here, not "conv1"'),
        (
            "onnx:/model.0/conv/Con",
            r"no layer comes from an ONNX node '/model.0/conv/Con' \(did you mean '/model.0/conv/Co",
        ),
        ("onnx:zzz", "no layer comes from an ONNX node 'zzz'; `doit inspect .* --map` shows them all$"),
        ("onnx:/split", "2 layers come from the ONNX node '/split': net/conv12, net/slice1; name one of them"),
    ],
)
def test_what_is_not_found(text: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        LAYERS.find(value(text), fail)
