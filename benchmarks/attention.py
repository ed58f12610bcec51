"""What 16 bits bring to the layers beside an attention block: on scenes by which nothing was selected.

Usage: python benchmarks/attention.py [--scenes 200] [--seeds 11 12 13] [--folder DIR]

The example with attention is built with the emulator as the presets say, and three times more with lines of its own
that set some of these layers back to 8 bits. All of them run on scenes from seeds that neither training nor calibration
nor the tests use. Printed are mAP50 of each pool and of all, and the root mean square error of each output against the
float network's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from build_rules.alls.script import Name, parse_script  # noqa: E402
from build_rules.calibration.pixels.images import decode  # noqa: E402
from build_rules.calibration.pixels.letterbox import fit, place  # noqa: E402
from build_rules.hef import read_members  # noqa: E402
from build_rules.objects.average_precision import average_precisions  # noqa: E402
from build_rules.objects.found import Objects  # noqa: E402
from build_rules.records.split_json import load_split  # noqa: E402
from tests.chain.conftest import make_workspace  # noqa: E402
from tests.chain.test_accuracy import (  # noqa: E402
    CLASSES,
    INPUT,
    Tensors,
    as_float,
    detect,
    in_pixels_of,
    rms_errors,
)
from tests.decoders import DECODERS, physical_outputs  # noqa: E402
from training.scenes import Scene, jpeg_bytes, make_scene  # noqa: E402

MODEL = "shapes-attn"
DOIT = (sys.executable, "-m", "doit")
DECODER = next(iter(DECODERS))


def run_doit(folder: Path, *arguments: str) -> None:
    subprocess.run([*DOIT, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def wide_layers(script: Path) -> list[str]:
    """Return the layers that a script gives 16 bits, without the outputs."""
    statements = parse_script(script.read_text(encoding="utf-8")).statements
    named = [s.arguments[0] for s in statements if s.command == "quantization_param"]
    layers = [value.text.rpartition("/")[2] for value in named if isinstance(value, Name)]
    return [layer for layer in layers if not layer.startswith("output_layer")]


def build_variants(folder: Path) -> list[tuple[str, Path]]:
    """Build the presets, and `accurate` with some layers in 8 bits; return what each is called, and its executable."""
    make_workspace(folder, (MODEL,))
    run_doit(folder)
    built = folder / "build" / MODEL
    variants = [(preset, built / f"hailo8l-{preset}/model+meta.hef") for preset in ("fast", "balanced", "accurate")]
    layers = wide_layers(built / "hailo8l-accurate/model.alls")
    beside = [layer for layer in layers if layer.startswith("dw")]
    ends = [layer for layer in layers if layer not in beside]
    for name, narrow in (("without", layers), ("beside-alone", ends), ("ends-alone", beside)):
        model = folder / "models" / name
        model.mkdir()
        (model / f"{MODEL}.onnx").symlink_to(folder / "models" / MODEL / f"{MODEL}.onnx")
        line = f"quantization_param([{', '.join(narrow)}], precision_mode=a8_w8)"
        (model / "model.toml").write_text(
            f'calibration = "../scenes/calibration"\ncalibration_count = 288\n[alls]\nappend = ["{line}"]\n'
            '[[target]]\nhw_arch = "hailo8l"\npreset = "accurate"\n',
            encoding="utf-8",
        )
        variants.append((name, folder / "build" / name / "hailo8l-accurate/model+meta.hef"))
    run_doit(folder)
    return variants


def run_float(folder: Path, files: Sequence[Path]) -> Tensors:
    """Return the float tensors of the cut graph by endpoint, [scenes, H, W, C], with what is folded applied."""
    split = load_split(folder / f"build/{MODEL}/split.json")
    session = onnxruntime.InferenceSession(str(folder / f"build/{MODEL}/split.onnx"))
    rows = []
    for file in files:
        image = decode(file)
        pixels = fit(image, place((image.shape[0], image.shape[1]), INPUT)).transpose(2, 0, 1)[None]
        rows.append(session.run([e.tensor for e in split.endpoints], {split.input.name: pixels / np.float32(255)}))
    stacked = (np.concatenate(column).transpose(0, 2, 3, 1) for column in zip(*rows, strict=True))
    return {
        endpoint.name: 1 / (1 + np.exp(-array)) if endpoint.name in split.folded else array
        for endpoint, array in zip(split.endpoints, stacked, strict=True)
    }


def score(found: Sequence[Objects], scenes: Sequence[Scene], pool: int) -> str:
    """Return mAP50 of each pool, and of all."""
    truths = []
    for scene in scenes:
        boxes = np.array([thing.box for thing in scene.objects], np.float64).reshape(-1, 4)
        labels = np.array([thing.label for thing in scene.objects], np.int64)
        truths.append(Objects(boxes, np.ones(len(labels)), labels))
    ranges = [slice(start, start + pool) for start in range(0, len(scenes), pool)]
    pools = [average_precisions(truths[part], found[part], CLASSES)[:, 0] for part in (*ranges, slice(None))]
    *each, everything = [f"{np.nanmean(values):.4f}" for values in pools]
    return f"{', '.join(each)}; all {everything}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What 16 bits bring to the layers beside an attention block.")
    parser.add_argument("--scenes", type=int, default=200, help="scenes of each pool")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13], help="one for each pool")
    parser.add_argument("--folder", type=Path, help="where to build; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        scenes = [make_scene(seed, index) for seed in arguments.seeds for index in range(arguments.scenes)]
        files = [folder / f"{index:05}.jpg" for index in range(len(scenes))]
        for file, scene in zip(files, scenes, strict=True):
            file.write_bytes(jpeg_bytes(scene.image))
        variants = build_variants(folder)
        floats = list(run_float(folder, files).values())
        for number, (name, hef) in enumerate(variants):
            run_doit(folder, "infer", str(hef), *map(str, files), "--output", str(folder / f"{name}.npz"))
            document = json.loads(read_members(hef)["edgefirst.json"])
            with np.load(folder / f"{name}.npz") as arrays:
                tensors = dict(arrays)
            names = [physical["name"] for physical in physical_outputs(document)]
            reference = dict(zip(names, floats, strict=True))
            cases = [] if number else [("float", as_float(document), reference)]
            for case, described, values in (*cases, (name, document, tensors)):
                found = [
                    Objects(in_pixels_of(scene.image.shape[:2], one.boxes), one.scores.astype(float), one.classes)
                    for one, scene in zip(detect(DECODER, described, values), scenes, strict=True)
                ]
                errors = ", ".join(f"{error:.5f}" for error in rms_errors(described, values, reference).values())
                print(f"{case:12} mAP50 {score(found, scenes, arguments.scenes)}; errors {errors}", flush=True)


if __name__ == "__main__":
    main()
