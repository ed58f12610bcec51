"""From the export to the executable, step by step: however a graph prepares its pixels, the chip sees the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.compilers.protocol import Compiler
from build_rules.errors import InputError
from build_rules.hef import read_hef
from build_rules.presets import PRESETS
from build_rules.records.calibration_json import dump_feed, load_feed
from build_rules.records.choices import InputChoice
from build_rules.records.split_json import Split, load_split
from build_rules.steps import alls, calibration, har, hef, parse, split
from tests.graph.fronts import FORMS, U8, Form, by, cast, gathered, scores_of
from tests.graph.graphs import SIZE

# The graph leaves these where a chip has no layer for them.
UNBUILDABLE = (
    "another order",
    "one colour three times",
    "pixels into channels",
    "pixels into channels, by 255",
    "repeated, then by 255",
)


@dataclass
class Chain:
    """The steps up to the executable, run in this process in one folder."""

    folder: Path
    choice: InputChoice | None = None
    compiler: Compiler = Emulator()  # noqa: RUF009 - it is frozen

    def export(self, model: onnx.ModelProto) -> None:
        """Put the model and eight colourful pictures there."""
        onnx.save(model, self.folder / "model.onnx")
        (self.folder / "labels.txt").write_text("one\ntwo\n")
        (self.folder / "pool").mkdir()
        random = np.random.default_rng(3)
        for number in range(8):
            low = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(low).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(self.folder / f"pool/{number}.png")

    def cut(self) -> Split:
        f = self.folder
        split.run(
            f / "model.onnx", f / "split.onnx", f / "split.json", "m", None, str(f / "labels.txt"), str(f / "pool"),
            pixels=self.choice,
        )  # fmt: skip
        return load_split(f / "split.json")

    def script(self) -> str:
        f = self.folder
        calibration.run(
            f / "split.json", sorted((f / "pool").iterdir()), f / "snapshot", f / "calibration.json", f / "chosen",
            f / "sheet", str(f / "pool"), None, 8, False, "", str(f / "known"), str(f / "snapshot"),
        )  # fmt: skip
        parse.run(f / "split.onnx", f / "split.json", f / "parsed.har", self.compiler, "m", "hailo8l")
        alls.run(
            f / "split.json",
            f / "calibration.json",
            f / "parsed.har",
            f / "model.alls",
            f / "compile.alls",
            f / "feed.json",
            PRESETS["fast"],
            "hailo8l",
        )
        return next(line for line in (f / "model.alls").read_text().splitlines() if "normalization(" in line)

    def quantize(self) -> None:
        f = self.folder
        har.run(
            *(f / "parsed.har", f / "model.alls", f / "snapshot", f / "split.onnx", f / "feed.json"),
            *(f / "har", f / "har.json"),
            self.compiler,
        )

    def executable(self) -> Path:
        f = self.folder
        hef.run(
            f / "har", f / "compile.alls", f / "model.alls", f / "model.hef", f / "hef.json", self.compiler, "hailo8l"
        )
        return f / "model.hef"


def built(folder: Path, form: Form, choice: InputChoice | None = None, compiler: Compiler = Emulator()) -> Chain:  # noqa: B008
    chain = Chain(folder, choice, compiler)
    chain.export(scores_of(form))
    chain.cut()
    chain.script()
    return chain


def picture(chain: Chain) -> NDArray[np.uint8]:
    """A picture in RGB, [H, W, C]."""
    return np.asarray(Image.open(chain.folder / "pool/5.png"))


def of_the_export(chain: Chain, pixels: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """The scores of the exported graph on its own input."""
    session = onnxruntime.InferenceSession(str(chain.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    image = pixels[None] if source.shape[3] == 3 else pixels.transpose(2, 0, 1)[None]
    fed = image if source.type == "tensor(uint8)" else (image * np.float32(scale)).astype(np.float32)
    scores: NDArray[np.float32] = session.run(["output0"], {source.name: fed})[0]
    return scores


def of_the_chip(chain: Chain, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    path = chain.executable()
    (stream,) = read_hef(path).network_groups[0].outputs
    (values,) = HostSession(path).run(pixels).values()
    grid = stream.quantization
    real = (values.astype(np.float64) - grid.zero_point) * grid.scale
    return np.asarray(real.transpose(0, 3, 1, 2).reshape(1, 2, -1))


@pytest.mark.parametrize("name", [name for name in FORMS if name not in UNBUILDABLE])
def test_the_chip_sees_what_the_graph_saw(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    chain = built(tmp_path, form)
    chain.quantize()
    rgb = picture(chain)
    scale = 1.0 if form.takes == "raw" else 1 / 255
    color = load_split(tmp_path / "split.json").preprocessing.color
    # Without a word the network is one of rgb, and a swap before it is for bgr; unless means say which colour is which.
    assert color == ("bgr" if name == "spread, then swapped" else "rgb")
    taken = {"rgb": rgb, "bgr": rgb[..., ::-1]}[color]
    expected = of_the_export(chain, taken[..., ::-1] if form.swapped else taken, scale)
    found = of_the_chip(chain, taken)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert np.ptp(expected) > 0.2, "a picture that shows nothing proves nothing"


def test_two_channels_of_yuyv(tmp_path: Path) -> None:
    chain = Chain(tmp_path, InputChoice(color="yuyv"))
    form = Form(lambda b, x: x, None, None, shape=(1, 2, SIZE, SIZE))
    chain.export(_two_channels(form))
    assert chain.cut().preprocessing.color == "yuyv"
    assert chain.script() == "normalization1 = normalization([0.0, 0.0], [255.0, 255.0])"
    chain.quantize()
    assert read_hef(chain.executable()).network_groups[0].inputs[0].shape == (SIZE, SIZE, 2)


def test_two_channels_of_nobody_knows_what(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.export(_two_channels(Form(lambda b, x: x, None, None, shape=(1, 2, SIZE, SIZE))))
    chain.cut()
    with pytest.raises(InputError, match=r"2 channels.*\[input\] color"):
        chain.script()


def _two_channels(form: Form) -> onnx.ModelProto:
    model = scores_of(form)
    kernel = next(t for t in model.graph.initializer if list(t.dims) == [2, 2, 8, 8])
    assert kernel.dims[1] == 2
    return model


@pytest.mark.parametrize(
    ("form", "choice", "script"),
    [
        ("nothing", None, "[0.0, 0.0, 0.0], [255.0, 255.0, 255.0]"),
        ("nothing", InputChoice(normalization="signed"), "[127.5, 127.5, 127.5], [127.5, 127.5, 127.5]"),
        ("nothing", InputChoice(mean=(1, 2, 3), std=(4, 5, 6)), "[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]"),
        ("mean, deviation", None, "[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]"),
        ("ImageNet on 0..1", None, "[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]"),
        ("spread, then swapped", None, "[103.53, 116.28, 123.675], [57.375, 57.12, 58.395]"),
        ("bytes", None, "[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]"),
        ("swapped by Gather", InputChoice(mean=(1, 2, 3), std=(4, 5, 6)), "[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]"),
    ],
)
def test_the_script(form: str, choice: InputChoice | None, script: str, tmp_path: Path) -> None:
    chain = Chain(tmp_path, choice)
    chain.export(scores_of(FORMS[form]))
    chain.cut()
    assert chain.script() == f"normalization1 = normalization({script})"
    chain.quantize()


@pytest.mark.parametrize(
    ("choice", "normalization", "cure"),
    [
        (InputChoice(normalization="unsigned"), None, 'write normalization = "raw" there.'),
        (None, "unsigned", "under [input] in model.toml, or correct the metadata (in the ONNX, or [metadata])."),
        (None, "unknown", "write normalization under [input] in model.toml."),
    ],
)
def test_the_cure_is_in_the_table_that_is_wrong(
    choice: InputChoice | None, normalization: str | None, cure: str, tmp_path: Path
) -> None:
    chain = Chain(tmp_path, choice)
    said = {} if normalization is None else {"validation": {"normalization": normalization}}
    chain.export(scores_of(FORMS["bytes by 255"], said))
    with pytest.raises(InputError) as caught:
        chain.cut()
    assert str(caught.value).endswith(cure)


@pytest.mark.parametrize("was", ["255.0, 255.0, 255.0", "0.0, 0.0, 0.0"])
@pytest.mark.parametrize("form", ["nothing", "bytes by 255", "by 255"])
def test_a_wrong_script_is_caught(form: str, was: str, tmp_path: Path) -> None:
    chain = built(tmp_path, FORMS[form])
    script = tmp_path / "model.alls"
    script.write_text(script.read_text().replace(was, "256.0, 256.0, 256.0" if "255" in was else "0.5, 0.5, 0.5", 1))
    with pytest.raises(InputError, match=r"model\.alls: the network does not see the pixels.*'map'") as caught:
        chain.quantize()
    assert not (tmp_path / "har").exists()
    assert "normalization" in str(caught.value)


@pytest.mark.parametrize("form", ["swapped by Slice", "nothing"])
def test_swapped_colours_are_caught(form: str, tmp_path: Path) -> None:
    chain = built(tmp_path, FORMS[form])
    feed = load_feed(tmp_path / "feed.json")
    (tmp_path / "feed.json").write_text(dump_feed(replace(feed, swapped=not feed.swapped)))
    with pytest.raises(InputError, match="does not see the pixels"):
        chain.quantize()


@pytest.mark.parametrize("change", [{"std": [250.0] * 3}, {"mean": [1.0] * 3}, {"start": "cast_0"}])
def test_a_front_that_was_folded_wrongly_is_caught(change: dict[str, object], tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.export(scores_of(FORMS["bytes by 255"]))
    chain.cut()
    record = json.loads((tmp_path / "split.json").read_text())
    record["front"].update(change)
    (tmp_path / "split.json").write_text(json.dumps(record))
    chain.script()
    with pytest.raises(InputError, match="does not see the pixels"):
        chain.quantize()


def test_pixels_described_as_others_are_caught(tmp_path: Path) -> None:
    """What the metadata say and the graph contradicts ends before anything is calibrated."""
    chain = Chain(tmp_path)
    chain.export(scores_of(FORMS["bytes by 255"], {"validation": {"normalization": "unsigned"}}))
    with pytest.raises(InputError, match=r"model\.onnx: the metadata says .*'unsigned'.*'image' is UINT8"):
        chain.cut()
    chain.choice = InputChoice(normalization="raw")
    assert chain.cut().preprocessing.word == "raw"


def test_the_proof_of_the_cut_uses_a_sample_as_the_graph_takes_it(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    form = Form(lambda b, x: by(b, cast(b, gathered(b, x)), 255), "raw", None, kind=U8)
    chain.export(scores_of(form))
    proof = chain.cut().proof
    assert proof is not None
    assert proof.inputs == 2
