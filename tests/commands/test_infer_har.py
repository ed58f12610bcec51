"""`doit infer` on a HAR: the real values that its compiler computes, by batches of images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from build_rules.commands import infer
from build_rules.commands.infer import Infer
from build_rules.compilers.dfc import Dfc
from build_rules.compilers.emulator import Emulator
from build_rules.hef import embed_zip, read_hef
from build_rules.records.calibration_json import Calibrated, Geometry, dump_calibrated
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import ModelInput, Preprocessing, Split, dump_split
from tests.commands.test_hostile import call, refused
from tests.compilers.nets import NORMAL, SIZE, Build, detector

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    script = f"{NORMAL}quantization_param(output_layer1, precision_mode=a16_w16)\n"
    return Build(tmp_path_factory.mktemp("infer"), *detector()).all(script)


@pytest.fixture(scope="module")
def images(build: Build) -> list[Path]:
    random = np.random.default_rng(5)
    paths = [build.folder / f"{number}.png" for number in range(5)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    return paths


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return dict(stored)


def test_a_har_gives_the_real_values_of_its_hef(
    build: Build, images: list[Path], tmp_path: Path, capfd: Captured
) -> None:
    assert call(Infer, build.har, *images, "-o", tmp_path / "real.npz") == 0
    assert capfd.readouterr().out.endswith("3 outputs of 5 images, real values of a quantized network, by emulator\n")
    assert call(Infer, build.hef, *images, "-o", tmp_path / "stored.npz") == 0
    real, stored = arrays(tmp_path / "real.npz"), arrays(tmp_path / "stored.npz")
    assert list(real) == list(stored)
    for stream in read_hef(build.hef).network_groups[0].outputs:
        grid, values = stream.quantization, real[stream.name]
        assert values.dtype == np.float32
        expected = np.float32(grid.scale) * (stored[stream.name].astype(np.float32) - np.float32(grid.zero_point))
        assert (values == expected).all()
        assert np.ptp(values) > 0


@pytest.mark.parametrize(("size", "batches"), [(1, [1, 1, 1, 1, 1]), (1 << 30, [5])])
def test_few_images_are_held_at_one_time(
    build: Build, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, batches: list[int]
) -> None:
    seen: list[int] = []
    simulate = Emulator.simulate

    def counted(self: Emulator, har: Path, samples: npt.NDArray[np.uint8]) -> Mapping[str, Any]:
        seen.append(len(samples))
        return simulate(self, har, samples)

    monkeypatch.setattr(Emulator, "simulate", counted)
    monkeypatch.setattr(infer, "BATCH_BYTES", size)
    assert call(Infer, build.har, *images, "-o", tmp_path / "o.npz") == 0
    assert seen == batches
    assert {len(values) for values in arrays(tmp_path / "o.npz").values()} == {5}


def test_images_are_fitted_as_what_lies_beside_it_says(build: Build, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(6).integers(0, 256, (20, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    har, target = tmp_path / "net/hailo8l-fast/model.har", tmp_path / "o.npz"
    har.parent.mkdir(parents=True)
    har.write_bytes(build.har.read_bytes())

    def values(path: Path) -> Any:
        assert call(Infer, path, tmp_path / "a.png", "-o", target) == 0
        return next(iter(arrays(target).values()))

    letterboxed = values(har)
    calibrated = Calibrated("a", 1, Geometry("stretch", (SIZE, SIZE)), Normalization(1.0, (0.0,), (1.0,)))
    (tmp_path / "net/calibration.json").write_text(dump_calibrated(calibrated))
    assert (values(har) == letterboxed).all(), "one file alone is not what a build leaves"
    pixels = Preprocessing(color="bgr")
    split = Split("net", ModelInput("images", (1, 3, SIZE, SIZE)), (), (), None, pixels)
    (tmp_path / "net/split.json").write_text(dump_split(split))
    document = {"hailo": {"calibration_geometry": {"resize": "stretch"}}, "input": {"cameraadaptor": "bgr"}}
    embed_zip(build.hef, {"edgefirst.json": json.dumps(document).encode()}, tmp_path / "a.hef", "append")
    stream = read_hef(build.hef).network_groups[0].outputs[0]
    stored = values(tmp_path / "a.hef").astype(np.float32)
    told = values(har)
    assert (told == np.float32(stream.quantization.scale) * (stored - np.float32(stream.quantization.zero_point))).all()
    assert (told != letterboxed).any()
    (tmp_path / "net/split.json").write_text("{}")
    assert (values(har) == letterboxed).all()


def test_what_is_not_quantized_is_not_run(build: Build, images: list[Path], tmp_path: Path, capfd: Captured) -> None:
    refused(capfd, Infer, build.parsed, images[0], "-o", tmp_path / "o.npz", told="nothing is quantized yet")
    assert not (tmp_path / "o.npz").exists()


def test_a_compiler_outside_is_found_by_the_settings_of_the_repository(
    build: Build, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.build_rules.dfc]\npython = "../dfc/bin/python"\n')
    monkeypatch.chdir(tmp_path)
    asked: list[Dfc] = []

    def simulate(self: Dfc, har: Path, samples: npt.NDArray[np.uint8]) -> Mapping[str, Any]:
        asked.append(self)
        return {"net/conv1": np.zeros((len(samples), 1, 1, 1), np.float32)}

    monkeypatch.setattr(Emulator, "is_maker", classmethod(lambda cls, version: False))
    monkeypatch.setattr(Dfc, "is_maker", classmethod(lambda cls, version: True))
    monkeypatch.setattr(Dfc, "simulate", simulate)
    har = tmp_path / "build/team/net/hailo8l-fast-dfc/model.har"
    har.parent.mkdir(parents=True)
    har.write_bytes(build.har.read_bytes())
    for path in (build.har, har):
        assert call(Infer, path, images[0], "-o", "o.npz") == 0
    (tmp_path / "models/team/net").mkdir(parents=True)
    for text in ("", '[dfc]\npython = "own/bin/python"\n'):
        (tmp_path / "models/team/net/model.toml").write_text(text)
        assert call(Infer, har, images[0], "-o", "o.npz") == 0
    assert [dfc.python for dfc in asked] == ["../dfc/bin/python"] * 3 + ["own/bin/python"]


def test_outputs_of_another_number_are_refused(
    build: Build, images: list[Path], tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Emulator, "simulate", lambda *_: {"net/conv1": np.zeros((2, 1, 1, 1), np.float32)})
    refused(capfd, Infer, build.har, *images, "-o", tmp_path / "o.npz", told="other outputs than one for each image")
