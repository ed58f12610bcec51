"""Which layers may be proposed: never a softmax or a product, nor what would bring 16 bits to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.alls.layers import Layers
from build_rules.alls.own_lines import OwnLines, read_own_lines
from build_rules.alls.wide_layers import MODES, NEVER_WIDE
from build_rules.compilers.describe_har import HarLayer, describe
from build_rules.compilers.layer_noise import LayerNoise
from build_rules.errors import InputError
from build_rules.mixed.advice import advise, clip_line, wide_line
from build_rules.mixed.candidates import OUTPUT_ALONE, WHOLE, barred_modes, candidates, mode_of
from tests.compilers.nets import Build, attention


def noise(layer: str, kind: str, share: float = 0.5, **changes: object) -> LayerNoise:
    told = {"used": 0.9, "bits": 8, "weights": 0.1, **changes}
    return LayerNoise(layer, kind, (f"/{layer}",), share, (), 0.0, 1.0, **told)  # type: ignore[arg-type]


def layer(name: str, kind: str, *inputs: str) -> HarLayer:
    return HarLayer(name, kind, inputs, (), None, None, None)


@pytest.mark.parametrize(
    ("told", "mode"),
    [
        (noise("c", "conv"), OUTPUT_ALONE),
        (noise("c", "conv", weights=0.9), WHOLE),
        (noise("c", "conv", weights=None), OUTPUT_ALONE),
        (noise("c", "conv", bits=16), None),
        (noise("c", "conv", bits=16, weights=0.9), WHOLE),
        (noise("a", "ew_add"), WHOLE),
        (noise("m", "matmul"), None),
        (noise("s", "softmax"), None),
        (noise("x", "concat"), None),
    ],
)
def test_a_layer_gets_the_mode_that_takes_its_noise_away(told: LayerNoise, mode: str | None) -> None:
    assert mode_of(told, {}) == mode


def test_what_a_softmax_or_a_product_reads_or_feeds_gets_no_sixteen_bits() -> None:
    layers = [
        layer("far", "conv"),
        layer("qkv", "conv", "far"),
        layer("split", "feature_splitter", "qkv"),
        layer("product", "matmul", "split"),
        layer("softmax", "softmax", "product"),
        layer("mixed", "matmul", "split", "softmax"),
        layer("move", "format_conversion", "mixed"),
        layer("beside", "dw", "split"),
        layer("behind", "conv", "move"),
        layer("last", "conv", "behind"),
    ]
    barred = barred_modes(layers)
    assert {name for name, modes in barred.items() if OUTPUT_ALONE in modes} == {
        *("qkv", "split", "product", "softmax", "mixed", "move"),
    }
    assert {name for name, modes in barred.items() if WHOLE in modes} >= {"beside", "behind"}
    assert "far" not in barred
    assert "last" not in barred


def test_a_concatenation_brings_its_bits_to_all_that_it_joins() -> None:
    layers = [layer("a", "conv"), layer("b", "conv"), layer("c", "concat", "a", "b"), layer("s", "softmax", "c")]
    assert {"a", "b"} <= set(barred_modes(layers))


def test_attention_of_a_real_graph_is_never_proposed(tmp_path: Path) -> None:
    layers = describe(Build(tmp_path, *attention()).parse().parsed).layers
    proposed = candidates([noise(each.name, each.kind) for each in layers], layers)
    assert {each.kind for each in proposed} <= set(MODES)
    names = {each.layer for each in proposed}
    assert "net/conv1" in names
    assert "net/conv2" not in names  # it makes the queries, the keys and the values


@pytest.mark.parametrize("kind", NEVER_WIDE)
@pytest.mark.parametrize("mode", [WHOLE, OUTPUT_ALONE])
def test_a_user_s_line_is_refused_by_the_same_table(kind: str, mode: str) -> None:
    layers = Layers("net", {f"net/{kind}1": (f"/{kind}",)})
    line = OwnLines(f"quantization_param({kind}1, precision_mode={mode})", "extra.alls", "")
    with pytest.raises(InputError, match=f"net/{kind}1 cannot have 16 bits"):
        read_own_lines([line], layers, 64)


def test_advice_has_a_line_that_a_script_takes() -> None:
    origins = {"net/conv1": ("/a/Conv",), "net/conv2": ("/b c/Conv",), "net/softmax1": ("/s",)}
    noises = [
        LayerNoise("net/conv1", "conv", ("/a/Conv",), 0.6, (), 0, 9, 0.1, 8, 0.0),
        LayerNoise("net/conv2", "conv", ("/b c/Conv",), 0.3, (), 0, 9, 0.9, 8, 0.8),
        LayerNoise("net/softmax1", "softmax", ("/s",), 0.095, (), 0, 1, 0.9, 8, None),
        LayerNoise("net/conv9", "conv", ("/z",), 0.005, (), 0, 1, 0.9, 8, None),
    ]
    advice = advise(noises, [])
    assert [each.lines for each in advice] == [
        (wide_line("/a/Conv", OUTPUT_ALONE), clip_line("/a/Conv")),
        (wide_line("/b c/Conv", WHOLE),),
        (),
        (),
    ]
    assert "stays in 8 bits" in advice[2].text
    assert advice[3].text == "not worth a line"
    lines = OwnLines("\n".join(line for each in advice for line in each.lines), "model.toml", "")
    assert len(read_own_lines([lines], Layers("net", origins), 64)) == 3
