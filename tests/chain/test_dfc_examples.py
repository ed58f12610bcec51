"""The example models in the presets by the double of Hailo's compiler: what they find is what the emulator's find.

The double compiles through the emulator, so with the same algorithms the numbers are the same. That proves the chain
around the compiler (scripts, pixels, layer names, order and description of outputs), and nothing about a device.
A plain run takes each model once and each preset once, `PROPERTIES=all` every model in every preset.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import fit, place
from build_rules.compilers.emulator import Emulator
from build_rules.hef import read_hef, read_members
from tests.chain.conftest import MODELS, make_workspace, single_target
from tests.chain.dfc_workspaces import choose_dfc
from tests.decoders import DECODERS, physical_outputs
from tests.dfc_double.environment import make_environment
from tests.doit_runs import doit
from tests.profiles import sampled

EXAMPLES = ("shapes-det", "shapes-seg", "shapes-attn")
PRESETS = ("fast", "balanced", "accurate")
BUILT = sampled(tuple(product(EXAMPLES, PRESETS)), 3)
"""Of a plain run it is the diagonal of the table, in which attention has the preset that asks most."""
SCENES = 2


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples with the targets of `BUILT`, by both compilers; the double has a GPU and keeps levels."""
    base = tmp_path_factory.mktemp("examples")
    python = make_environment(base / "dfc", gpus=1, written_level="kept")
    folder = base / "work"
    folder.mkdir()
    make_workspace(folder, EXAMPLES, images=24)
    for model in EXAMPLES:
        targets = [f'[[target]]\npreset = "{preset}"' for name, preset in BUILT if name == model]
        single_target(folder, model, "calibration_count = 16", *targets)
    choose_dfc(folder, python, 'gpus = "all"')
    for compiler in ("emulator", "dfc"):
        run = doit(folder, f"compiler={compiler}")
        assert run.code == 0, run.err
    return folder


@cache
def scenes() -> tuple[Path, ...]:
    return tuple(sorted((MODELS / "scenes/heldout").glob("*.jpg"))[:SCENES])


def executable(folder: Path, model: str, preset: str, suffix: str) -> Path:
    return folder / f"build/{model}/hailo8l-{preset}{suffix}/model+meta.hef"


def delivered(hef: Path) -> tuple[dict[str, Any], list[dict[str, npt.NDArray[Any]]]]:
    """The metadata of a HEF, and what each scene makes of its network."""
    network = Emulator().open(hef)
    _, height, width, _ = network.input_shape
    results = []
    for scene in scenes():
        image = decode(scene)
        pixels = fit(image, place((image.shape[0], image.shape[1]), (height, width)))
        results.append(dict(network.run(np.ascontiguousarray(pixels))))
    return json.loads(read_members(hef)["edgefirst.json"]), results


def test_every_example_and_every_preset_is_among_them() -> None:
    assert [set(column) for column in zip(*BUILT, strict=True)] == [set(EXAMPLES), set(PRESETS)]


@pytest.mark.parametrize(("model", "preset"), BUILT)
def test_what_is_found_is_what_the_emulator_finds(examples: Path, model: str, preset: str) -> None:
    ours, theirs = (delivered(executable(examples, model, preset, suffix)) for suffix in ("", "-dfc"))
    assert len(physical_names(ours[0])) == len(physical_names(theirs[0])) > 1
    for one, other in zip(ours[1], theirs[1], strict=True):
        for name, counterpart in zip(physical_names(ours[0]), physical_names(theirs[0]), strict=True):
            assert one[name].dtype == other[counterpart].dtype
            np.testing.assert_array_equal(one[name], other[counterpart])
        for detect in DECODERS.values():
            boxes = [detect(document, tensors) for document, tensors in ((ours[0], one), (theirs[0], other))]
            assert len(boxes[0].boxes) > 0
            for field in ("boxes", "scores", "classes"):
                np.testing.assert_array_equal(getattr(boxes[0], field), getattr(boxes[1], field))
            assert all(map(np.array_equal, boxes[0].masks, boxes[1].masks))


def physical_names(document: dict[str, Any]) -> list[str]:
    return [physical["name"] for physical in physical_outputs(document)]


def test_hars_of_both_compilers_are_compared_side_by_side(examples: Path) -> None:
    """Each is run by the compiler that made it, beside the same float network, and the cheapest comes first."""
    model, preset = BUILT[0]
    hars = [str(executable(examples, model, preset, suffix).with_name("model.har")) for suffix in ("", "-dfc")]
    run = doit(examples, "compare", *hars, *map(str, scenes()), "--json")
    assert run.code == 0, run.err
    (chip,) = json.loads(run.out)
    ours, theirs = chip["presets"]
    assert (ours["sdk_version"], theirs["sdk_version"]) == ("0.1.0-emulated", "3.33.0-double-emulated")
    assert theirs["emulated"], "the double says that it is none of Hailo's"
    measured = [
        [
            (each["endpoint"], each["snr"], each["snr_at_objects"], each["cosine"])
            for each in preset["sets"][0]["outputs"]
        ]
        for preset in (ours, theirs)
    ]
    assert measured[0] == measured[1]
    assert ours["sets"][0]["agreement"] == theirs["sets"][0]["agreement"]
    run = doit(examples, "compare", model, *map(str, scenes()), "--json")
    assert run.code == 0, run.err
    (chip,) = json.loads(run.out)
    assert [each["target"] for each in chip["presets"]] == [f"{model}:hailo8l-{preset}-dfc"]
    assert any("so it is not compared" in note for note in chip["notes"])


@pytest.mark.parametrize(("model", "preset"), BUILT)
def test_the_quantized_network_before_the_compile(examples: Path, model: str, preset: str) -> None:
    """By `doit infer`, each HAR by the compiler that made it: the real values of what the HEF delivers."""
    values = []
    for suffix in ("", "-dfc"):
        hef = executable(examples, model, preset, suffix)
        output = examples / f"{model}-{preset}{suffix}.npz"
        run = doit(examples, "infer", str(hef.with_name("model.har")), str(scenes()[0]), "--output", str(output))
        assert run.code == 0, run.err
        with np.load(output) as arrays:
            values.append([arrays[name] for name in arrays.files])
    for one, other in zip(*values, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_both_compilers_are_compared_in_one_call(examples: Path) -> None:
    model, preset = BUILT[0]
    hars = [str(executable(examples, model, preset, suffix).with_name("model.har")) for suffix in ("-dfc", "")]
    run = doit(examples, "compare", *hars, *map(str, scenes()), "--json")
    assert run.code == 0, run.err
    (chip,) = json.loads(run.out)
    double, emulator = chip["presets"]
    assert double["preset"] == f"{emulator['preset']}-dfc"
    assert double["sdk_version"] == "3.33.0-double-emulated"
    for one, other in zip(double["sets"][0]["outputs"], emulator["sets"][0]["outputs"], strict=True):
        assert one["snr"] == pytest.approx(other["snr"], abs=0.05)
        assert one["bits"] == other["bits"]


def test_the_files_say_whose_they_are(examples: Path) -> None:
    for model, preset in BUILT:
        hef = executable(examples, model, preset, "-dfc")
        assert read_hef(hef).sdk_version == "3.33.0-double-emulated"
        assert doit(examples, "verify-hef", str(hef)).code == 0


def test_nothing_is_left_to_do(examples: Path) -> None:
    for compiler in ("dfc", "emulator"):
        run = doit(examples, f"compiler={compiler}")
        assert (run.code, run.executed) == (0, [])
