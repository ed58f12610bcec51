"""From the cut graph to the executable: its outputs are the endpoints, in their order, on the chip of the target."""

from __future__ import annotations

import pytest

from build_rules.compilers.har_file import outline_har, output_layers
from build_rules.hef import read_hef
from build_rules.records.split_json import Split
from tests.graph.graphs import CLASSES, detection
from tests.steps.test_pixels import Chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Split]:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    chain.export(detection())
    (chain.folder / "labels.txt").write_text("".join(f"{number}\n" for number in range(CLASSES)))
    split = chain.cut()
    chain.script()
    chain.quantize()
    chain.executable()
    return chain, split


def test_the_parsed_network_has_the_endpoints_as_outputs_in_their_order(chain: tuple[Chain, Split]) -> None:
    built, split = chain
    har, _ = outline_har(built.folder / "parsed.har")
    assert (har.state, har.name, har.hw_arch) == ("hailo_model", "m", "hailo8l")
    origins = [layer.original_names for layer in output_layers(har.hn)]
    assert [endpoint.node in names for endpoint, names in zip(split.endpoints, origins, strict=True)] == [True] * 4
    assert not (built.folder / "parsed.har").samefile(built.folder / "har")


def test_the_quantized_network_and_the_executable_are_of_that_network(chain: tuple[Chain, Split]) -> None:
    built, split = chain
    har, _ = outline_har(built.folder / "har")
    assert (har.state, har.name, har.hw_arch) == ("quantized_model", "m", "hailo8l")
    hef = read_hef(built.folder / "model.hef")
    (group,) = hef.network_groups
    assert (hef.hw_arch, group.name) == ("hailo8l", "m")
    assert {name for stream in group.outputs for name in stream.original_names} >= {e.node for e in split.endpoints}
    assert [stream.shape for stream in group.inputs] == [(32, 32, 3)]
