"""What quantizing costs beside onnxruntime's own quantizer, and what running the result costs beside the float network.

Usage: python benchmarks/quantize.py [--onnx FILE] [--images FOLDER] [--count 256] [--infer 96] [--runs 3]
                                     [--folder DIR]

Without a file the detector of `benchmarks/detector.py` is generated, without images pictures are. The model is built up
to its scripts. Then, by turns in every round and each in a process of its own, on the same cut graph and samples:

    peer      `onnxruntime.quantization.quantize_static` (QDQ, MinMax, 8 bits, weights per channel)
    fast      the steps `statistics` and `har` of the preset `fast`
    second    the step `har` of `balanced`, for which the statistics are there
    accurate  the step `har` of `accurate`, likewise
    float     onnxruntime on the float graph with all cores, images read and fitted one after the other
    infer     `doit infer` on the quantized HAR

Printed are medians of seconds, of a processor's seconds (which tell more on a busy machine) and of peak memory, and the
medians of the ratios within a round: `fast` to the peer; `second` to `fast`; `accurate` with the statistics to `fast`;
images per second of `infer` to `float`, without what both take to start (two runs: a sixth of the images, and all).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

MODEL, CHIP = "net", "hailo8l"
PRESETS = ("fast", "balanced", "accurate")


def prepare(folder: Path, onnx: Path | None, images: Path | None, count: int) -> None:
    """Make a repository of one model with three presets, and build it up to its model scripts."""
    model = folder / "models" / MODEL
    model.mkdir(parents=True)
    if onnx is None:
        command = [sys.executable, str(REPOSITORY / "benchmarks/detector.py"), str(model / "net.onnx")]
        subprocess.run([*command, "--width", "0.25"], check=True)
    else:
        shutil.copyfile(onnx, model / "net.onnx")
    if images is None:
        images = folder / "pool"
        draw(images, count)
    targets = "".join(f'[[target]]\npreset = "{preset}"\n' for preset in PRESETS)
    head = f'onnx = "net.onnx"\ncalibration = {json.dumps(str(images.resolve()))}\ncalibration_count = {count}\n'
    (model / "model.toml").write_text(head + targets)
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    (folder / "pyproject.toml").write_text("[tool.build_rules]\n")
    subprocess.run([sys.executable, "-m", "doit", "calibration", "parse", "alls"], cwd=folder, check=True)


def draw(folder: Path, count: int) -> None:
    """Draw pictures with edges and areas of every size."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        random = np.random.default_rng(number)
        layers = [random.integers(0, 256, (4 << k, 6 << k, 3)).astype(np.uint8) for k in range(5)]
        sized = [np.asarray(Image.fromarray(layer).resize((960, 640), 0), np.float32) for layer in layers]
        picture = sum(layer / 2 ** (k + 1) for k, layer in enumerate(sized))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=92)


class Parts:
    """What is measured; each method runs in a process of its own, in the folder of the repository."""

    def __init__(self) -> None:
        self.model = Path("build") / MODEL
        self.snapshot = self.model / "calibration.safetensors"

    def peer(self, *_: str) -> None:
        """Quantize with onnxruntime."""
        import numpy as np
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        from build_rules.compilers.samples import Samples

        name, shape = self._input()
        samples = Samples(self.snapshot, name, (1, shape[2], shape[3], shape[1]))

        class Reader:
            def __init__(self) -> None:
                self.rows = iter(range(samples.count))

            def get_next(self) -> dict[str, Any] | None:
                row = next(self.rows, None)
                if row is None:
                    return None
                planes = samples.sample(row).transpose(0, 3, 1, 2)
                return {name: np.ascontiguousarray(planes).astype(np.float32) / np.float32(255)}

        quantize_static(
            str(self.model / "split.onnx"),
            "peer.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )

    def fast(self, *_: str) -> None:
        """Collect statistics, and quantize as `fast` says."""
        from build_rules.compilers import find_compiler
        from build_rules.steps import statistics as step

        place = self.model / CHIP
        step.run(
            place / "parsed.har",
            self.model / "split.json",
            self.model / "calibration.json",
            self.snapshot,
            place / "statistics.npz",
            find_compiler("emulator"),
        )
        self._har("fast")

    def second(self, *_: str) -> None:
        """Quantize as `balanced` says."""
        self._har("balanced")

    def accurate(self, *_: str) -> None:
        """Quantize as `accurate` says."""
        self._har("accurate")

    def _har(self, preset: str) -> None:
        from build_rules.compilers import find_compiler
        from build_rules.steps import har

        place = self.model / f"{CHIP}-{preset}"
        har.run(
            self.model / CHIP / "parsed.har",
            place / "model.alls",
            self.snapshot,
            self.model / "split.onnx",
            place / "feed.json",
            place / "model.har",
            place / "har.json",
            find_compiler("emulator"),
            preset=preset,
            endpoints=(self.model / "endpoints.json",),
            statistics=(self.model / CHIP / "statistics.npz",),
        )

    def float(self, *images: str) -> None:
        """Run the float graph as onnxruntime does when it is left alone."""
        import numpy as np
        import onnxruntime

        from build_rules.calibration.pixels.images import decode
        from build_rules.calibration.pixels.letterbox import fit, place

        name, shape = self._input()
        session = onnxruntime.InferenceSession(str(self.model / "split.onnx"))
        for image in images:
            pixels = decode(Path(image))
            fitted = fit(pixels, place((pixels.shape[0], pixels.shape[1]), (shape[2], shape[3]), "letterbox"))
            planes = np.ascontiguousarray(fitted.transpose(2, 0, 1)[None])
            session.run(None, {name: planes.astype(np.float32) / np.float32(255)})

    def infer(self, *images: str) -> None:
        """Run the quantized HAR as a user does."""
        har = self.model / f"{CHIP}-fast" / "model.har"
        subprocess.run([sys.executable, "-m", "doit", "infer", str(har), *images, "--output", "out.npz"], check=True)

    def _input(self) -> tuple[str, list[int]]:
        import onnx

        value = onnx.load(str(self.model / "split.onnx"), load_external_data=False).graph.input[0]
        return value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def measured(folder: Path, part: str, *words: str) -> dict[str, float]:
    """Run a part in a process of its own; return seconds, a processor's seconds, and peak memory in MB."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", part, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{part} failed: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_part(part: str, words: list[str]) -> None:
    """Run one part here, and print what it took."""
    work: Callable[..., None] = getattr(Parts(), part)
    began = time.perf_counter()
    work(*words)
    seconds = time.perf_counter() - began
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    peak = max(each.ru_maxrss for each in used) / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak}))


def each_second(folder: Path, part: str, images: list[str]) -> dict[str, float]:
    """Return what a part takes for the images beyond the first sixth of them."""
    few, all_ = (measured(folder, part, *images[:count]) for count in (len(images) // 6, len(images)))
    return {"seconds": all_["seconds"] - few["seconds"], "cpu": all_["cpu"] - few["cpu"], "peak": all_["peak"]}


def measure(folder: Path, images: list[str], runs: int) -> None:
    """Print a table of what each part takes, and the ratios."""
    rounds = []
    for _ in range(runs):
        row = {part: measured(folder, part) for part in ("peer", "fast", "second", "accurate")}
        row |= {part: each_second(folder, part, images) for part in ("float", "infer")}
        rounds.append(row)
    for part in rounds[0]:
        told = {key: statistics.median(row[part][key] for row in rounds) for key in ("seconds", "cpu", "peak")}
        print(f"{part:9} {told['seconds']:7.1f} s {told['cpu']:7.1f} s of a processor {told['peak']:6.0f} MB")
    for key in ("seconds", "cpu"):
        ratios = {
            "fast / peer": [row["fast"][key] / row["peer"][key] for row in rounds],
            "second / fast": [row["second"][key] / row["fast"][key] for row in rounds],
            "accurate / fast": [
                (row["fast"][key] - row["second"][key] + row["accurate"][key]) / row["fast"][key] for row in rounds
            ],
            "float / infer": [row["float"][key] / row["infer"][key] for row in rounds],
        }
        print(f"by {key}: " + ", ".join(f"{name} {statistics.median(each):.2f}" for name, each in ratios.items()))
    sys.stdout.flush()


def main() -> None:
    """Prepare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--infer", type=int, default=96)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(options.part[0], options.part[1:])
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "models").is_dir():
            prepare(folder, options.onnx, options.images, options.count)
        pool = options.images or folder / "pool"
        images = sorted(str(path.resolve()) for path in pool.iterdir() if path.is_file())[: options.infer]
        measure(folder, images, options.runs)


if __name__ == "__main__":
    main()
