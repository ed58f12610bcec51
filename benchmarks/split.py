"""Time and memory of the cut, beside the other ways to cut a graph at given tensors.

Usage: python benchmarks/split.py [--repeat 7] [FILE.onnx ...]

Without files, two detectors of about 43 and 130 MB are generated. Each way to cut runs in a process of its own, one
after the other, repeatedly: our cut, `onnx.utils.extract_model` and the extraction of onnx-ir (when it is installed)
to the same tensors, and our cut with its proof. Time and memory are measured inside the process, from when everything
is imported and the file is named until the cut model is written; memory is how far its peak rose above that start.
The ratios to `extract_model` in the same round are what counts: machines differ.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

MB = 1e6
GENERATED = (0.5, 0.875)
"""Widths of the detectors that are generated."""
REFERENCE = "onnx.utils.extract_model"


@dataclass(frozen=True)
class Cut:
    """What a process is asked to do: cut `source` between these tensors and write `output`."""

    source: Path
    output: Path
    inputs: Sequence[str]
    outputs: Sequence[str]


@dataclass(frozen=True)
class Cost:
    """What it took: seconds, and bytes above the memory that the process had before."""

    seconds: float
    memory: int


def our_cut(prove: bool) -> Callable[[Cut], object]:
    from build_rules.graph import split_model
    from build_rules.records.choices import SplitChoice

    if prove:
        importlib.import_module("build_rules.graph.prove.proof")
    choice = SplitChoice(prove=prove)
    return lambda cut: split_model(cut.source, cut.source.stem, cut.output, choice)


def extract_model() -> Callable[[Cut], object]:
    import onnx.utils

    return lambda cut: onnx.utils.extract_model(cut.source, cut.output, list(cut.inputs), list(cut.outputs))


def onnx_ir_extract() -> Callable[[Cut], object]:
    ir = importlib.import_module("onnx_ir")  # not a requirement of the project

    def run(cut: Cut) -> None:
        model = ir.load(cut.source)
        graph = ir.convenience.extract(model.graph, list(cut.inputs), list(cut.outputs))
        ir.save(ir.Model(graph, ir_version=model.ir_version), cut.output)

    return run


WAYS: dict[str, Callable[[], Callable[[Cut], object]]] = {
    "our cut": lambda: our_cut(prove=False),
    REFERENCE: extract_model,
    "onnx_ir.convenience.extract": onnx_ir_extract,
    "our cut and its proof": lambda: our_cut(prove=True),
}


def memory(peak: bool) -> int:
    """Return the memory of this process in bytes, now or at its peak."""
    status = Path("/proc/self/status")
    if status.exists():
        field = "VmHWM:" if peak else "VmRSS:"
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field)) * 1024
    # Without /proc only the peak is known; macOS gives it in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let the peak begin anew, where the system can: what imports needed once must not hide what follows."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def work(way: str, cut: Cut) -> Cost:
    """Measure one way, in this process."""
    run = WAYS[way]()
    forget_peak()
    before = memory(peak=False)
    start = time.perf_counter()
    run(cut)
    return Cost(time.perf_counter() - start, memory(peak=True) - before)


def measured(way: str, cut: Cut) -> Cost:
    """Measure one way, in a process of its own."""
    arguments = [str(cut.source), str(cut.output), json.dumps(list(cut.inputs)), json.dumps(list(cut.outputs))]
    command = [sys.executable, __file__, "--work", way, *arguments]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return Cost(answer["seconds"], answer["memory"])


def wanted(source: Path, output: Path) -> Cut:
    """Return the cut that all ways have to make: at the tensors that ours finds.

    Raises `InputError` when it finds none.
    """
    from build_rules.graph import split_model
    from build_rules.records.choices import SplitChoice

    split = split_model(source, source.stem, output, SplitChoice(prove=False)).split
    return Cut(source, output, [split.input.name], [endpoint.tensor for endpoint in split.endpoints])


def compare(cut: Cut, repeat: int) -> None:
    """Measure all ways, round by round, and print them."""
    costs: dict[str, list[Cost]] = {way: [] for way in WAYS if way != "onnx_ir.convenience.extract" or has_onnx_ir()}
    sizes: dict[str, int] = {}
    for _ in range(repeat):
        for way, found in costs.items():
            cut.output.unlink(missing_ok=True)
            found.append(measured(way, cut))
            sizes[way] = cut.output.stat().st_size
    print(f"\n{cut.source.name}, {cut.source.stat().st_size / MB:.0f} MB, cut at {len(cut.outputs)} tensors")
    print(f"{'':30}{'seconds':>9}{'  fastest - slowest':>19}{'peak MB':>9}{'written MB':>12}{'time':>8}{'memory':>8}")
    for way, found in costs.items():
        seconds = sorted(cost.seconds for cost in found)
        rounds = list(zip(found, costs[REFERENCE], strict=True))
        print(
            f"{way:30}{statistics.median(seconds):9.3f}{seconds[0]:11.3f} -{seconds[-1]:6.3f}"
            f"{statistics.median(cost.memory for cost in found) / MB:9.0f}{sizes[way] / MB:12.1f}"
            f"{statistics.median(a.seconds / b.seconds for a, b in rounds):7.2f}x"
            f"{statistics.median(a.memory / b.memory for a, b in rounds):7.2f}x"
        )


def has_onnx_ir() -> bool:
    return importlib.util.find_spec("onnx_ir") is not None


def generated(folder: Path) -> list[Path]:
    """Write the detectors to measure with."""
    script = Path(__file__).with_name("detector.py")
    files = []
    for width in GENERATED:
        files.append(folder / f"detector-{width}.onnx")
        subprocess.run([sys.executable, str(script), str(files[-1]), "--width", str(width)], check=True)
    return files


def main() -> None:
    """Measure and print."""
    from build_rules.errors import InputError

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", metavar="FILE.onnx", help="measured instead of the generated detectors")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="rounds (7)")
    parser.add_argument("--work", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        source, output, inputs, outputs = options.files
        cost = work(options.work, Cut(Path(source), Path(output), json.loads(inputs), json.loads(outputs)))
        print(json.dumps({"seconds": cost.seconds, "memory": cost.memory}))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    if not has_onnx_ir():
        print("onnx-ir is not installed and is left out (pip install onnx-ir)")
    with tempfile.TemporaryDirectory() as scratch:
        for source in [Path(name) for name in options.files] or generated(Path(scratch)):
            try:
                cut = wanted(source, Path(scratch) / "cut.onnx")
            except InputError as error:
                print(f"\nleft out: {error}")
                continue
            compare(cut, options.repeat)
    print(f"\nmedians; time and memory as multiples of {REFERENCE}, median of the rounds")


if __name__ == "__main__":
    main()
