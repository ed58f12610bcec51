"""The step that quantizes: an error about one sample says which image that was, and bits that got lost are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.protocol import OptimizeJob
from build_rules.errors import InputError
from build_rules.records.calibration_json import Feed, dump_feed
from build_rules.records.normalization import Normalization
from build_rules.records.stage_report import StageReport
from build_rules.steps import har
from tests.compilers.nets import NORMAL, SIZE, Build, Net

IMAGES = [{"name": "one.jpg", "samples": 1}, {"name": "two.jpg", "samples": 3}, {"name": "three.jpg", "samples": 1}]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A network that takes a root of what is negative where a pixel is white; sample 3 has one."""
    net = Net()
    out = net.conv(net.op("Sqrt", net.op("Sub", net.constant(0.999), "images")), (3, 4), k=1)
    made = Build(tmp_path, net.model([out]), [net.node(out)]).parse()
    pixels = np.full((5, 3, SIZE, SIZE), 100, np.uint8)
    pixels[3, 0, 0, 0] = 255
    save_file({"images": pixels}, str(made.snapshot))
    made.script.write_text(NORMAL)
    return made


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (json.dumps({"images": IMAGES}), "sample 3, .* Sample 3 is two.jpg.$"),
        (json.dumps({"images": IMAGES[:1]}), "sample 3, .*export it again.$"),
        (json.dumps({"images": []}), "sample 3, .*export it again.$"),
        ("{", "sample 3, .*export it again.$"),
        (None, "sample 3, .*export it again.$"),
    ],
)
def test_the_image_of_a_wrong_sample(build: Build, record: str | None, told: str) -> None:
    chosen, feed = build.folder / "calibration-images.json", build.folder / "feed.json"
    feed.write_text(dump_feed(Feed(Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3))), encoding="utf-8")
    if record is not None:
        chosen.write_text(record)
    with pytest.raises(InputError, match=told):
        har.run(
            *(build.parsed, build.script, build.snapshot, build.onnx, feed),
            *(build.har, build.folder / "har.json", Emulator(), str(chosen)),
        )
    assert not build.har.exists()


class Lowering(Emulator):
    """A compiler that takes 16 bits for 8."""

    def optimize(self, job: OptimizeJob) -> StageReport:
        lowered = job.script.with_name("lowered.alls")
        lowered.write_text(job.script.read_text().replace("a16_w16", "a8_w8"))
        return super().optimize(replace(job, script=lowered))


@pytest.mark.parametrize(("compiler", "warnings"), [(Emulator(), 0), (Lowering(), 1)])
def test_bits_that_got_lost_are_told_before_it_is_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compiler: Emulator, warnings: int
) -> None:
    net = Net()
    out = net.conv("images", (3, 4), k=1)
    build = Build(tmp_path, net.model([out]), [net.node(out)]).parse()
    build.script.write_text(f"{NORMAL}quantization_param(output_layer1, precision_mode=a16_w16)\n")
    feed = tmp_path / "feed.json"
    feed.write_text(dump_feed(Feed(Normalization(1 / 255, (0.0,) * 3, (1.0,) * 3))), encoding="utf-8")
    paths = (build.parsed, build.script, build.snapshot, build.onnx, feed, build.har, tmp_path / "har.json")
    har.run(*paths, compiler)
    told = capsys.readouterr().out
    assert told.count("warning: output net/conv1") == warnings
    assert told.count("is quantized to 8 bits, and the script asks for 16") == warnings
