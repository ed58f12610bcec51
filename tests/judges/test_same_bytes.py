"""The same bytes of HAR and HEF for every preset: again, in another folder, with one, two and four threads."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest

from build_rules.presets import PRESETS
from tests.compilers.nets import NORMAL, Build, attention, detector

SCRIPTS = {
    "fast": "",
    "balanced": "quantization_param(output_layer1, precision_mode=a16_w16)\n",
    "accurate": "quantization_param({output_layer*}, precision_mode=a16_w16)\n"
    "post_quantization_optimization(finetune, policy=enabled, dataset_size=16, epochs=2)\n",
}
THREADS = (1, 2, 4, 1)
NETWORKS = {"detector": detector, "attention": attention}


def made(folder: Path, model: onnx.ModelProto, ends: list[str], preset: str) -> tuple[bytes, bytes]:
    level = PRESETS[preset].optimization_level
    build = Build(folder, model, ends)
    build.all(f"{NORMAL}model_optimization_flavor(optimization_level={level})\n{SCRIPTS[preset]}")
    return build.har.read_bytes(), build.hef.read_bytes()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_any_number_of_threads_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, preset: str
) -> None:
    model, ends = NETWORKS[network]()
    files = []
    for number, processors in enumerate(THREADS):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, n=processors: set(range(n)), raising=False)
        files.append(made(tmp_path / str(number), model, ends, preset))
    assert [one == files[0] for one in files] == [True] * len(THREADS)
