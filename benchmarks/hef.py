"""Time and memory of HEF work: `doit inspect`, and adding or taking off a ZIP, beside `cp` of the same file.

Usage: python benchmarks/hef.py [--repeat 9] [--megabytes 100] [FILE.hef ...]

For each header version a HEF of that many megabytes of random weights is written. Appending, sealing and stripping run
in a process of their own, one after the other with `cp` in every round; time is measured inside the process, from the
call to its return, and of `cp` from its start to its end; memory is how far the peak rose above the start. `inspect` is
timed as a user types it, beside Python's start and the start of doit alone, on the FILEs given, else on a generated one
of 4 MB. The ratios in the same round are what counts: machines differ.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

MB = 1_000_000
MEMBERS = {"edgefirst.json": b'{"schema_version": 2}' * 400, "labels.txt": b"person\n" * 80}
DOIT = (sys.executable, "-m", "doit")


def generate(path: Path, version: int, size: int) -> Path:
    """Write a HEF of about `size` bytes; version 0 keeps its weights in the message."""
    from build_rules.hef import HefSpec, Quantization, Stream, build_container
    from build_rules.hef.writer import build_proto
    from build_rules.protobuf import write_bytes

    image = Stream("net/in", "input", (640, 640, 3), (640, 640, 3), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0))
    boxes = replace(image, name="net/out", direction="output", shape=(80, 80, 64), padded_shape=(80, 80, 64))
    message = build_proto(HefSpec("hailo8", "3.30.0", 1, "net", (image,), (boxes,)), 5)
    weights = random.Random(version).randbytes(size).replace(b"PK\x03\x04", b"PK\x03\x05")
    if version == 0:
        path.write_bytes(build_container(message + write_bytes(3, weights), b"", 0))
    else:
        path.write_bytes(build_container(message, weights, version))
    return path


def job(name: str) -> Callable[[Path, Path], None]:
    """Return what a measured process calls, with everything it needs imported."""
    from build_rules.hef import embed_zip, strip

    if name == "append":
        return lambda source, output: embed_zip(source, MEMBERS, output, "append")
    if name == "seal":
        return lambda source, output: embed_zip(source, MEMBERS, output, "sealed")
    return strip


def measure(name: str, source: Path, output: Path) -> None:
    """Run in the measured process: print seconds and bytes."""
    call = job(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    call(source, output)
    seconds = time.perf_counter() - started
    sys.stdout.write(f"{seconds} {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10}\n")


def timed(*command: str) -> float:
    """Return the seconds of a command, output thrown away."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    return time.perf_counter() - started


def in_process(name: str, source: Path, output: Path) -> tuple[float, int]:
    """Return seconds and bytes of a job in a process of its own."""
    output.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--measure", name, str(source), str(output)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(told[0]), int(told[1])


def add_and_take_off(folder: Path, megabytes: int, repeat: int) -> None:
    """Print a line for every header version and job."""
    for version in range(4):
        source = generate(folder / f"v{version}.hef", version, megabytes * MB)
        appended, output = folder / "appended.hef", folder / "output.hef"
        in_process("append", source, appended)
        rounds: dict[str, list[tuple[float, int, float]]] = {}
        for _ in range(repeat):
            for name, read in (("append", source), ("seal", source), ("strip", appended)):
                output.unlink(missing_ok=True)
                copied = timed("cp", str(read), str(output))
                seconds, memory = in_process(name, read, output)
                rounds.setdefault(name, []).append((seconds, memory, seconds / copied))
        for name, found in rounds.items():
            seconds, memory, ratio = (statistics.median(column) for column in zip(*found, strict=True))
            sys.stdout.write(
                f"version {version}, {megabytes} MB, {name:6}: {seconds:.3f} s, {memory / MB:5.1f} MB, "
                f"{ratio:.2f}x of cp ({min(row[2] for row in found):.2f} to {max(row[2] for row in found):.2f})\n"
            )
        source.unlink()


def inspect(files: Sequence[Path], repeat: int) -> None:
    """Print what `doit inspect` takes beyond Python's own start, and beyond that of doit."""
    for file in files:
        rows = [
            (timed(sys.executable, "-c", "pass"), timed(*DOIT, "help"), timed(*DOIT, "inspect", str(file)))
            for _ in range(repeat * 3)
        ]
        python, doit, whole = (statistics.median(column) for column in zip(*rows, strict=True))
        sys.stdout.write(
            f"inspect {file.name}, {file.stat().st_size / MB:.1f} MB: {whole:.3f} s; {whole - python:.3f} s beyond "
            f"Python's start ({python:.3f} s), {whole - doit:.3f} s beyond `doit help` ({doit:.3f} s)\n"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]), Path(options.measure[2]))
        return
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory() as folder:
        files = [file.resolve() for file in options.files]
        inspect(files or [generate(Path(folder) / "4MB.hef", 1, 4 * MB)], options.repeat)
        add_and_take_off(Path(folder), options.megabytes, options.repeat)


if __name__ == "__main__":
    main()
