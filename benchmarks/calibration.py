"""Making a calibration snapshot, beside what decoding and reducing the same images costs at the least.

Usage: python benchmarks/calibration.py [--images 5000] [--count 1024] [--size 640] [--folder DIR]

A pool of photographs is generated (1280x960 JPEG; kept in `--folder` for the next time). Measured in processes of their
own, one after the other: the limit (Pillow decodes and reduces every image on all cores, nothing else), a snapshot made
of the pool, the same again after ten images were added. Printed are images per second, the ratio to the limit, the
peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

WIDTH, HEIGHT = 1280, 960


def draw(path: Path, seed: int) -> None:
    """Write one picture of soft shapes with grain, as a camera might see them."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    coarse = rng.normal(rng.uniform(60, 190), rng.uniform(20, 60), (12, 16, 3)).clip(0, 255).astype(np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-12, 12, (HEIGHT, WIDTH, 1), dtype=np.int16)
    Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8)).save(path, quality=85)


def fill(folder: Path, first: int, last: int) -> None:
    """Write what is missing of the pictures `first` to `last`."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(first, last) if not (folder / f"{n:06}.jpg").exists()]
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        list(executor.map(lambda number: draw(folder / f"{number:06}.jpg", number), missing))


def limit(pool: Path, size: int) -> None:
    """Decode and reduce every image; without a size, decode only."""
    from PIL import Image

    def reduce(path: Path) -> None:
        with Image.open(path) as image:
            pixels = image.convert("RGB")
        if size:
            scale = size / max(pixels.size)
            pixels.resize((round(pixels.width * scale), round(pixels.height * scale)), Image.Resampling.BILINEAR)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        for _ in executor.map(reduce, sorted(pool.iterdir())):
            pass


def produce(pool: Path, size: int, count: int, work: Path, name: str) -> None:
    """Make a snapshot, with what earlier ones have found out."""
    from build_rules.calibration.produce import produce_snapshot
    from build_rules.calibration.snapshot.parameters import Parameters
    from build_rules.records.normalization import Normalization

    unit = Normalization(1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    parameters = Parameters(input_shape=(size, size), normalization=unit, count=count)
    produce_snapshot(pool, parameters, work / name, "images", database=work / "known.db")


def measured(*arguments: str) -> tuple[float, float]:
    """Run this script in a process of its own; return seconds and peak memory in MB."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["seconds"], found["megabytes"]


def compare(images: int, count: int, size: int, folder: Path) -> None:
    """Measure and print."""
    pool = folder / "pool"
    fill(pool, 0, images)
    for number in range(images, images + 10):
        (pool / f"{number:06}.jpg").unlink(missing_ok=True)
    common = ["--size", str(size), "--count", str(count), "--folder", str(folder)]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        least, _ = measured("--part", "limit", *common)
        whole, memory = measured("--part", "produce", "--work", work, "--name", "first", *common)
        again, _ = measured("--part", "limit", *common)
        decoded, _ = measured("--part", "limit", *common, "--size", "0")
        fill(pool, images, images + 10)
        added, memory_added = measured("--part", "produce", "--work", work, "--name", "second", *common)
        size_of = (Path(work) / "first").stat().st_size
    least = (least + again) / 2
    sys.stdout.write(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
        f"{images} images of {WIDTH}x{HEIGHT}, {count} wanted at {size}x{size} ({size_of / 1e6:.0f} MB)\n"
        f"limit: {least:.1f} s, {images / least:.0f} images a second; decoded only, {decoded:.1f} s\n"
        f"ours: {whole:.1f} s, {images / whole:.0f} a second, {least / whole:.2f} of the limit "
        f"({decoded / whole:.2f} of decoding); {memory:.0f} MB\n"
        f"10 images added: {added:.2f} s, {added / whole:.1%} of the whole, {memory_added:.0f} MB\n"
    )


def main() -> None:
    """Measure one part, or compare all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--part", choices=("limit", "produce"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        with tempfile.TemporaryDirectory() as scratch:
            compare(options.images, options.count, options.size, options.folder or Path(scratch))
        return
    started = time.perf_counter()
    if options.part == "limit":
        limit(options.folder / "pool", options.size)
    else:
        produce(options.folder / "pool", options.size, options.count, options.work, options.name)
    seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "megabytes": megabytes}) + "\n")


if __name__ == "__main__":
    main()
