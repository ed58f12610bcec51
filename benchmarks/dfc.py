"""What driving Hailo's compiler from outside costs: beside the compiler itself, and where nothing is to be done.

Usage: python benchmarks/dfc.py [--images 1024] [--size 640] [--runs 5] [--folder DIR]

A step: `optimize` of a compiler that does nothing (it is given the images and copies the HAR), in an environment of its
own, from the calibration snapshot to the HAR that was read back. Printed is what that takes beyond the same calls made
by hand in that environment on images that lie there already: seconds, those of a processor (which tell more on a busy
machine), and the most memory that either side held beyond its own start. Nothing to do: `doit` in a workspace of the
tests' double of the compiler beside the same workspace and the emulator, by turns in every round; printed are the
medians and the median of the ratios.

The double and its environments are those of the tests (`tests/dfc_double`). Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.chain.conftest import make_small  # noqa: E402
from tests.chain.dfc_workspaces import choose_dfc  # noqa: E402
from tests.dfc_double.environment import make_environment  # noqa: E402

DOIT = (sys.executable, "-m", "doit")
SDK = "3.33.0"
PEAK = "VmHWM:"
WEIGHTS = 50 << 20
"""Bytes of a HAR, as of a detector of ten million weights."""

IDLE = '''
"""A compiler that does nothing, so that only what is around it takes time."""
import pathlib, shutil, sys
__version__ = "3.33.0"

class ClientRunner:
    def __init__(self, hw_arch=None, har=None):
        self.har = har

    def load_model_script(self, script, append=False):
        self.script = script

    def optimize(self, images):
        self.shape = images.shape
        images[0].sum()

    def save_har(self, path):
        shutil.copyfile(self.har, path)
        status = pathlib.Path("/proc/self/status").read_text().splitlines()
        pathlib.Path(sys.prefix, "peak").write_text(next(line.split()[1] for line in status if "VmHWM" in line))
'''
BY_HAND = """
import sys
import numpy, hailo_sdk_client
har, images, out = sys.argv[1:]
runner = hailo_sdk_client.ClientRunner(har=har)
runner.load_model_script("")
runner.optimize(numpy.load(images, mmap_mode="r"))
runner.save_har(out)
"""


def cpu_seconds() -> float:
    """Return what this process, and those that it has waited for, have taken of processors."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(PEAK)) / 1024


def make_idle(folder: Path) -> Path:
    """Make an environment with the compiler that does nothing; return its interpreter."""
    python = make_environment(folder)
    (package,) = folder.glob("lib/python*/site-packages/hailo_sdk_client")
    for path in package.glob("*.py"):
        path.unlink()
    (package / "__init__.py").write_text(IDLE, encoding="utf-8")
    return python


def write_inputs(folder: Path, images: int, size: int) -> None:
    """Write a snapshot of so many images, the same as an array, a HAR and a model script."""
    import numpy as np

    from build_rules.compilers.har_file import Har, write_har

    row = np.random.default_rng(0).integers(0, 256, (3, size, size), np.uint8)
    entry = {"dtype": "U8", "shape": [images, 3, size, size], "data_offsets": [0, images * row.nbytes]}
    header = json.dumps({"images": entry}).encode()
    header += b" " * (-len(header) % 8)
    with (folder / "snapshot.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for _ in range(images):
            stream.write(row.tobytes())
    by_hand = np.lib.format.open_memmap(folder / "by_hand.npy", "w+", np.uint8, (images, size, size, 3))
    by_hand[:] = row.transpose(1, 2, 0)
    source = {"type": "input_layer", "original_names": ["images"], "output_shapes": [[-1, size, size, 3]]}
    hn = {"name": "net", "net_params": {"output_layers_order": []}, "layers": {"net/input_layer1": source}}
    weights = {"net.npz": np.random.default_rng(1).bytes(WEIGHTS)}
    write_har(folder / "parsed.har", Har("net", hn, "hailo_model", SDK, "hailo8l", weights))
    (folder / "model.alls").write_text(
        "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])\n"
        "model_optimization_flavor(optimization_level=0, compression_level=0)\n"
        f"model_optimization_config(calibration, batch_size=8, calibset_size={images})\n",
        encoding="utf-8",
    )


def by_hand(python: Path, folder: Path) -> tuple[float, float, float]:
    """Call the compiler as one does by hand; return seconds, those of a processor, and its memory in MB."""
    arguments = (folder / "parsed.har", folder / "by_hand.npy", folder / "by_hand.har")
    started, used = time.perf_counter(), cpu_seconds()
    subprocess.run([python, "-c", BY_HAND, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started, cpu_seconds() - used, _peak_over_there(python)


def _peak_over_there(python: Path) -> float:
    return int((python.parent.parent / "peak").read_text(encoding="utf-8")) / 1024


def driven(python: Path, folder: Path) -> None:
    """In a process of its own: optimize through the driver; print what `by_hand` returns, and MB of memory here."""
    from build_rules.compilers.dfc import Dfc
    from build_rules.compilers.dfc.drive import optimize
    from build_rules.compilers.protocol import OptimizeJob

    dfc = Dfc(python=str(python))
    dfc = dfc.informed(dfc.find_out(None).facts)
    job = OptimizeJob(
        folder / "parsed.har", folder / "model.alls", folder / "snapshot.safetensors", folder / "driven.har"
    )
    before, used = peak_mb(), cpu_seconds()
    started = time.perf_counter()
    optimize(dfc, job)
    seconds, processor = time.perf_counter() - started, cpu_seconds() - used
    sys.stdout.write(json.dumps([seconds, processor, _peak_over_there(python), peak_mb() - before]))


def measure_step(folder: Path, images: int, size: int, runs: int) -> None:
    """Print what the driver adds to a step."""
    python = make_idle(folder / "idle")
    write_inputs(folder, images, size)
    added, processor, here, there, alone = [], [], [], [], []
    for _ in range(runs):
        own, own_processor, own_peak = by_hand(python, folder)
        command = [sys.executable, __file__, "--driven", str(python), "--folder", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
        seconds, used, far, peak = json.loads(done.stdout.splitlines()[-1])
        alone.append(own)
        added.append(seconds - own)
        processor.append(used - own_processor)
        here.append(peak)
        there.append(far - own_peak)
    if (folder / "driven.har").read_bytes() != (folder / "by_hand.har").read_bytes():
        raise RuntimeError("the driver gave another HAR than the calls by hand")
    megabytes = images * size * size * 3 / 1e6
    sys.stdout.write(
        f"optimize with {images} images of {size}x{size} ({megabytes:.0f} MB): {statistics.median(added):.2f} s beyond "
        f"the {statistics.median(alone):.2f} s of the calls by hand (worst {max(added):.2f} s), "
        f"{statistics.median(processor):.2f} s of a processor; at most "
        f"{max(here):.0f} MB here and {max(there):.0f} MB over there beyond their own start\n"
    )


def timed(folder: Path, *command: str) -> float:
    """Return the wall seconds of a doit that must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    done = subprocess.run([*DOIT, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"doit ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return seconds


def measure_nothing(folder: Path, runs: int) -> None:
    """Print what `doit` takes with nothing to do, with either compiler."""
    python = make_environment(folder / "environment")
    places = {compiler: folder / compiler for compiler in ("emulator", "dfc")}
    for compiler, place in places.items():
        place.mkdir()
        make_small(place)
        choose_dfc(place, python, compiler=compiler)
        for _ in range(3):
            timed(place)
            time.sleep(0.1)
    _tell("nothing to do", places, runs, ())
    _tell("nothing to do, one target by name", places, runs, ("meta:*",))


def _tell(what: str, places: dict[str, Path], runs: int, words: Sequence[str]) -> None:
    rounds = [{compiler: timed(place, *words) for compiler, place in places.items()} for _ in range(runs)]
    medians = {compiler: statistics.median(row[compiler] for row in rounds) for compiler in places}
    ratio = statistics.median(row["dfc"] / row["emulator"] for row in rounds)
    told = ", ".join(f"{compiler} {seconds:.3f} s" for compiler, seconds in medians.items())
    sys.stdout.write(f"{what}: {told}; ratio {ratio:.2f}\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--driven", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.driven is not None:
        driven(options.driven, options.folder)
        return
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        measure_step(Path(scratch), options.images, options.size, options.runs)
        measure_nothing(Path(scratch), 4 * options.runs)


if __name__ == "__main__":
    main()
