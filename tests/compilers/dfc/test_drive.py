"""What the stages ask of the compiler: seen by what the double makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.compilers.dfc import Dfc
from build_rules.compilers.dfc.drive import simulate
from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.compilers.har_file import read_har
from build_rules.compilers.protocol import ParseJob
from build_rules.errors import InputError
from build_rules.records.split_json import load_split
from tests.compilers.nets import Build, detector
from tests.dfc_double.environment import make_environment
from tests.graph.fronts import FORMS
from tests.steps.test_pixels import built, of_the_chip, of_the_export, picture


@pytest.fixture(scope="module")
def dfc(tmp_path_factory: pytest.TempPathFactory) -> Dfc:
    return Dfc(python=str(make_environment(tmp_path_factory.mktemp("drive") / "dfc")))


@pytest.mark.parametrize("name", ["bytes by 255", "swapped, then spread"])
def test_the_chip_sees_what_the_graph_saw(dfc: Dfc, tmp_path: Path, name: str) -> None:
    chain = built(tmp_path, FORMS[name], compiler=dfc)
    split = load_split(tmp_path / "split.json")
    assert split.front is not None
    layers = read_har(tmp_path / "parsed.har").hn["layers"]
    begin = next(layer for layer in layers.values() if layer["type"] == "input_layer")
    assert begin["original_names"] == [split.input.name], (
        "the network begins behind the front, and keeps the input's name"
    )
    chain.quantize()
    rgb = picture(chain)
    expected = of_the_export(chain, rgb[..., ::-1] if FORMS[name].swapped else rgb, 1.0)
    assert np.abs(of_the_chip(chain, rgb) - expected).max() < 0.1 * np.abs(expected).max()


def test_the_simulation_gives_what_the_executable_will(dfc: Dfc, tmp_path: Path) -> None:
    chain = built(tmp_path, FORMS["bytes by 255"], compiler=dfc)
    chain.quantize()
    pixels = np.stack([picture(chain), picture(chain)[::-1]])
    values = simulate(dfc, tmp_path / "har", pixels)
    ((name, real),) = values.items()
    assert name in read_har(tmp_path / "har").hn["layers"]
    assert real.dtype == np.float32
    assert len(real) == 2
    path = chain.executable()
    assert list(HostSession(path).run(pixels[1])) == [name]
    of_device = of_the_chip(chain, pixels[1]).reshape(2, -1)
    assert np.allclose(real[1].transpose(2, 0, 1).reshape(2, -1), of_device, atol=1e-5)


def test_nothing_is_quantized_in_a_parsed_har(dfc: Dfc, tmp_path: Path) -> None:
    built(tmp_path, FORMS["bytes by 255"], compiler=dfc)
    with pytest.raises(InputError, match="is a hailo_model, in which nothing is quantized yet"):
        simulate(dfc, tmp_path / "parsed.har", np.zeros((1, 8, 8, 3), np.uint8))


def test_weights_in_a_file_beside_the_graph_are_not_handed_over(dfc: Dfc, tmp_path: Path) -> None:
    """As `split` leaves them of a network of more than 2 GiB."""
    build = Build(tmp_path, *detector())
    onnx.save(build.model, str(build.onnx), save_as_external_data=True, location="split.onnx.data", size_threshold=0)
    with pytest.raises(InputError, match=r"split.onnx: has more than 2 GiB of weights"):
        dfc.parse(ParseJob(build.onnx, "net", "hailo8l", build.ends, build.parsed))
    assert not build.parsed.exists()
