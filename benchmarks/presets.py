"""Which preset finds what the float network finds: every trained model at hand, measured at decoded objects.

Usage: python benchmarks/presets.py [EXAMPLE...] [--pages ONNX FOLDER] [--model ONNX CALIBRATION HELDOUT [TRUTH]]...
                                    [--images N] [--heldout N] [--toml TEXT] [--folder DIR] [--no-examples]
                                    [--peer PYTHON]

Each model is built with its three presets by the real doit, then float and presets run on the held-out pictures. Of
what is decoded it prints AP50-95 and mean IoU against the float network (its objects scored 0.25 and more), objects
lost and invented, mAP50-95 against the truth where there is one (COCO JSON or YOLO labels), and whether a preset is
worse than the one below it beyond what chance explains (paired bootstrap, 95 %).

PYTHON of `--peer` is an interpreter that has NNCF (`pip install nncf onnx onnxruntime`: too large for the tests): its
8-bit network, from the same cut and samples, is one more row. ONNX of `--pages` is a document detector, FOLDER has
`calibration/` and `heldout/`. Nothing of other people's models is kept, unless `--folder` says where.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors.numpy import load_file

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from build_rules.calibration.pixels.images import decode  # noqa: E402
from build_rules.calibration.pixels.letterbox import fit, place  # noqa: E402
from build_rules.compilers.describe_har import describe  # noqa: E402
from build_rules.compilers.emulator import Emulator  # noqa: E402
from build_rules.inference import new_session, session_options  # noqa: E402
from build_rules.objects.found import Objects  # noqa: E402
from build_rules.objects.measure_agreement import agree, precision  # noqa: E402
from build_rules.objects.paired import is_worse  # noqa: E402
from build_rules.objects.read_objects import ObjectReader  # noqa: E402
from build_rules.objects.truth import ImagePlace, read_truth  # noqa: E402
from build_rules.records.calibration_json import Feed, load_feed  # noqa: E402
from build_rules.records.split_json import Split, load_split, swapped_order  # noqa: E402

EXAMPLES = ("shapes-det", "shapes-seg", "shapes-attn", "shapes-wide")
PRESETS = ("fast", "balanced", "accurate")
PICTURES = (".jpg", ".jpeg", ".png")
AT_ONCE = 8
Pixels = NDArray[np.uint8]
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Subject:
    """A model with pictures to calibrate it and pictures to judge it; `truth` is None where nobody knows it."""

    name: str
    onnx: Path
    calibration: tuple[Path, ...]
    held_out: tuple[Path, ...]
    truth: Path | None
    toml: str = ""


@dataclass(frozen=True)
class Verdict:
    """What one network finds on the held-out pictures; `reader` has decoded it."""

    name: str
    objects: tuple[Objects, ...]
    decibels: Mapping[str, float]


# ------------------------------------------------------------------------------------------------------------ building


def build(subject: Subject, folder: Path) -> Path:
    """Build a model with its three presets for one chip; the folder of its build is returned."""
    folder = folder / subject.name
    home, pool = folder / "models" / subject.name, folder / "models" / f"{subject.name}-pictures"
    home.mkdir(parents=True, exist_ok=True)
    pool.mkdir(exist_ok=True)
    (folder / "dodo.py").write_text("from build_rules.dodo import *\n")
    shutil.copy(subject.onnx, home / f"{subject.name}.onnx")
    for number, picture in enumerate(subject.calibration):
        shutil.copy(picture, pool / f"{number:04}{picture.suffix}")
    targets = "".join(f'\n[[target]]\nhw_arch = "hailo8l"\npreset = "{preset}"\n' for preset in PRESETS)
    head = f'calibration = "../{pool.name}"\ncalibration_count = {len(subject.calibration)}\n'
    (home / "model.toml").write_text(f"{head}{subject.toml}\n{targets}")
    subprocess.run([sys.executable, "-m", "doit"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "build" / subject.name


# ------------------------------------------------------------------------------------------------------------- running


def fitted(pictures: Sequence[Path], split: Split) -> Iterator[tuple[Pixels, ImagePlace]]:
    """Yield each picture as the network's input, [H, W, C], and where in it the picture lies."""
    size = (split.input.shape[2], split.input.shape[3])
    for picture in pictures:
        image = decode(picture)  # [H, W, C]
        height, width = image.shape[:2]
        at = place((height, width), size)
        yield (
            fit(image, at).reshape(*size, 3),
            ImagePlace(width, height, at.width / width, at.height / height, at.left, at.top),
        )


def in_float(build_folder: Path, split: Split, images: Sequence[Pixels]) -> Iterator[Tensors]:
    """Yield what the cut float network delivers of each image, by endpoint, [H, W, C], folded activations applied."""
    session = new_session(str(build_folder / "split.onnx"), session_options())
    feed = load_feed(build_folder / f"hailo8l-{PRESETS[0]}" / "feed.json")
    names = [endpoint.tensor for endpoint in split.endpoints]
    for image in images:
        values = session.run(names, {split.input.name: normalized(image, feed)})
        tensors = {
            endpoint.name: value[0].transpose(1, 2, 0) for endpoint, value in zip(split.endpoints, values, strict=True)
        }
        yield {n: 1 / (1 + np.exp(-v)) if n in split.folded else v for n, v in tensors.items()}


def normalized(image: Pixels, feed: Feed) -> NDArray[np.float32]:
    """Return pixels [H, W, C] as the exported graph takes them, [1, C, H, W]."""
    sample = image.transpose(2, 0, 1)
    numbers, column = feed.normalization, (-1, 1, 1)
    values = (sample * np.float64(numbers.scale) - np.reshape(numbers.mean, column)) / np.reshape(numbers.std, column)
    return np.asarray((values[swapped_order(3)] if feed.swapped else values)[None], np.float32)


def quantized(har: Path, split: Split, images: Sequence[Pixels]) -> Iterator[Tensors]:
    """Yield what a quantized network delivers of each image, as `in_float` does."""
    streams = {}
    for endpoint in split.endpoints:
        (streams[endpoint.name],) = (o.stream for o in describe(har).outputs if endpoint.node in o.original_names)
    for start in range(0, len(images), AT_ONCE):
        batch = np.stack(images[start : start + AT_ONCE])
        outputs = Emulator().simulate(har, batch)
        for row in range(len(batch)):
            yield {name: outputs[stream][row] for name, stream in streams.items()}


def by_peer(python: str, build_folder: Path, split: Split, images: Sequence[Pixels]) -> Iterator[Tensors]:
    """Yield what the same cut network delivers, quantized to 8 bits by a library of others."""
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        folder = Path(name)
        source, samples, target = folder / "float.onnx", folder / "samples.npy", folder / "quantized.onnx"
        onnx.save(with_folded(build_folder / "split.onnx", split), str(source))
        np.save(samples, load_file(build_folder / "calibration.safetensors")[split.input.name])
        script = Path(__file__).with_name("peer_nncf.py")
        quiet = {**os.environ, "NNCF_CI": "1"}  # else it sends statistics
        subprocess.run([python, script, source, samples, target], check=True, env=quiet, stdout=subprocess.DEVNULL)
        session = new_session(target.read_bytes(), session_options())
        for image in images:
            values = session.run(None, {split.input.name: image.transpose(2, 0, 1)[None] / np.float32(255)})
            pairs = zip(split.endpoints, values, strict=True)
            yield {endpoint.name: value[0].transpose(1, 2, 0) for endpoint, value in pairs}


def with_folded(split_onnx: Path, split: Split) -> onnx.ModelProto:
    """Return the cut network with the activations that are folded, its outputs those of the split in their order."""
    model = onnx.load(str(split_onnx))
    names = []
    for endpoint in split.endpoints:
        names.append(endpoint.tensor)
        if endpoint.name in split.folded:
            names[-1] = f"{endpoint.name}_folded"
            model.graph.node.append(onnx.helper.make_node("Sigmoid", [endpoint.tensor], names[-1:], names[-1]))
    del model.graph.output[:]
    float_, pairs = onnx.TensorProto.FLOAT, zip(names, split.endpoints, strict=True)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, float_, one.shape) for name, one in pairs)
    return model


def judge(name: str, reader: ObjectReader, tensors: Iterator[Tensors], truths: Iterator[Tensors]) -> Verdict:
    """Decode what a network delivers, and measure its outputs against the float network's."""
    objects, sums = [], dict[str, NDArray[np.float64]]()
    for delivered, wanted in zip(tensors, truths, strict=True):
        objects.append(reader.read(delivered))
        for output, values in wanted.items():
            noise = float(np.square(delivered[output].astype(np.float64) - values).sum())
            signal = float(np.square(values.astype(np.float64)).sum())
            sums[output] = sums.get(output, np.zeros(2)) + np.array([signal, noise])
    decibels = {output: 10 * float(np.log10(s / max(n, 1e-30))) for output, (s, n) in sums.items()}
    return Verdict(name, tuple(objects), decibels)


# ------------------------------------------------------------------------------------------------------------- printing


def measure(subject: Subject, folder: Path, peer: str | None) -> None:
    """Build, run and print one model."""
    print(f"\n{subject.name}: {len(subject.calibration)} pictures calibrate, {len(subject.held_out)} judge", flush=True)
    made = build(subject, folder)
    split = load_split(made / "split.json")
    pairs = list(fitted(subject.held_out, split))
    images = [image for image, _ in pairs]
    reader = ObjectReader(split)
    floats = judge("float", reader, in_float(made, split, images), in_float(made, split, images))
    truth: Sequence[Objects] | None = None
    if subject.truth is not None:
        labels = (made / "labels.txt").read_text().splitlines() if (made / "labels.txt").exists() else []
        truth = read_truth(subject.truth, subject.held_out, [at for _, at in pairs], labels, reader.classes)
    print(f"  {'':9}{'AP50-95':>8}{'AP50':>8}{'IoU':>8}{'lost':>6}{'inv.':>6}  {'mAP50-95':>8}{'mAP50':>8}  lowest SNR")
    print(f"  {'float':9}{'':36}  {against(truth, floats.objects, reader.classes)}")
    rows = {preset: quantized(made / f"hailo8l-{preset}" / "model.har", split, images) for preset in PRESETS}
    if peer is not None:
        rows = {"NNCF": by_peer(peer, made, split, images), **rows}
    below: Verdict | None = None
    for name, tensors in rows.items():
        found = judge(name, reader, tensors, in_float(made, split, images))
        print_row(floats, found, truth, reader.classes)
        if below is not None:
            print_test(floats, below, found)
        below = found


def print_row(floats: Verdict, found: Verdict, truth: Sequence[Objects] | None, classes: int) -> None:
    """Print what one quantized network finds."""
    one = agree(floats.objects, found.objects, classes)
    shown = "".join(f"{number or 0:8.3f}" for number in (one.map50_95, one.map50, one.mean_iou))
    worst = min(found.decibels, key=lambda output: found.decibels[output])
    print(
        f"  {found.name:9}{shown}{one.lost:6}{one.invented:6}  {against(truth, found.objects, classes)}"
        f"  {found.decibels[worst]:.1f} dB {worst}",
        flush=True,
    )


def print_test(floats: Verdict, below: Verdict, found: Verdict) -> None:
    """Print whether a network is worse than the one before it."""
    test = is_worse(floats.objects, below.objects, found.objects)
    print(
        f"  {'':9}{'WORSE' if test else 'not worse'} than {below.name}: {test.difference:+.4f}, in 95 of 100 draws "
        f"{test.low:+.4f} to {test.high:+.4f} ({test.objects} objects)"
    )


def against(truth: Sequence[Objects] | None, found: Sequence[Objects], classes: int) -> str:
    """Return the columns of the truth."""
    if truth is None:
        return f"{'-':>8}{'-':>8}"
    reached = precision(truth, found, classes)
    return f"{reached.map50_95 or 0:8.3f}{reached.map50 or 0:8.3f}"


# ------------------------------------------------------------------------------------------------------------ arguments


def pictures_in(folder: Path, most: int | None) -> tuple[Path, ...]:
    """Return the pictures of a folder in the order of their names."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
    return tuple(found[:most])


def example(name: str, images: int | None, held_out: int | None) -> Subject:
    """Return one of the repository's own models."""
    models = REPOSITORY / "models"
    scenes = models / ("scenes-wide" if name == "shapes-wide" else "scenes")
    judged = pictures_in(scenes / "heldout", held_out)
    calibration = pictures_in(scenes / "calibration", images)
    return Subject(name, models / name / f"{name}.onnx", calibration, judged, scenes / "heldout" / "truth.json")


def subjects(arguments: argparse.Namespace) -> Iterator[Subject]:
    """Yield what the command line names."""
    images, held_out = arguments.images, arguments.heldout
    if not arguments.no_examples:
        for name in arguments.example or EXAMPLES:
            yield example(name, images, held_out)
    given = list(arguments.model)
    if arguments.pages:
        onnx, folder = map(Path, arguments.pages)
        given.append([onnx, folder / "calibration", folder / "heldout"])
    for onnx, calibration, judged, *truth in given:
        yield Subject(
            Path(onnx).stem,
            Path(onnx),
            pictures_in(Path(calibration), images),
            pictures_in(Path(judged), held_out),
            Path(truth[0]) if truth else None,
            arguments.toml,
        )


def main() -> None:
    """Measure one model after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("example", nargs="*", help="examples of this repository (all)")
    parser.add_argument("--pages", nargs=2, metavar=("ONNX", "FOLDER"), help="a document detector and its pages")
    parser.add_argument("--model", nargs="+", action="append", default=[], metavar="FILE", help="any other model")
    parser.add_argument("--images", type=int, help="pictures that calibrate, at most")
    parser.add_argument("--heldout", type=int, help="pictures that judge, at most")
    parser.add_argument("--toml", default="", help="further lines for model.toml of models that are no examples")
    parser.add_argument("--folder", type=Path, help="where builds are kept; else they are thrown away")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has NNCF")
    parser.add_argument("--no-examples", action="store_true", help="only what --pages and --model name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="presets-") as thrown_away:
        folder = arguments.folder or Path(thrown_away)
        for subject in subjects(arguments):
            measure(subject, folder, arguments.peer)


if __name__ == "__main__":
    main()
