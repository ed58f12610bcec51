"""`doit compare MODEL --uncut`: what the cut buys in accuracy."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.commands.compare_inputs import Asked, gather, scratch_folder
from build_rules.commands.render import render_json, render_table
from build_rules.commands.task_command import Steps
from build_rules.comparison.uncut import Uncut, UncutRow, as_rows, find_reader, find_target, judge
from build_rules.errors import InputError, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from build_rules.commands.progress_line import ProgressLine
    from build_rules.comparison.comparison_inputs import ComparisonInputs, ImageSet, PresetInputs
    from build_rules.comparison.uncut import WholeReader
    from build_rules.compilers.protocol import Compiler
    from build_rules.declared.model import Model
    from build_rules.objects.found import Objects

__all__ = ["uncut_text"]

BATCH = 8
WIDE = "quantization_param(output_layer1, precision_mode=a16_w16)\n"


def uncut_text(model: Model, steps: Steps, asked: Asked, as_json: bool, line: ProgressLine) -> str:
    """Quantize with the tail, compare, and return what is to be printed; what cannot be emulated is an answer, too."""
    inputs = next(gather(model, steps, asked))
    compiler = inputs.presets[0].compiler
    if not compiler.is_emulated:
        raise InputError(
            f"{model.name}: --uncut is emulated, and {compiler.name} would take hours; set compiler=emulator."
        )
    try:
        with scratch_folder() as scratch:
            uncut = _Uncut(model, inputs, scratch, line).compare()
    except InputError as error:
        uncut = Uncut(model.name, 0, (), f"The whole graph cannot be compared with the cut one: {error}")
    return render_json(asdict(uncut)) if as_json else _text(uncut)


class _Uncut:
    """The two ways, on the images of the last set."""

    def __init__(self, model: Model, inputs: ComparisonInputs, scratch: Path, line: ProgressLine) -> None:
        from build_rules.compilers.exported_graph import ExportedGraph
        from build_rules.objects.read_objects import ObjectReader

        self._model, self._inputs, self._scratch, self._line = model, inputs, scratch, line
        self._images: ImageSet = inputs.sets[-1]
        self._preset: PresetInputs = inputs.presets[0]
        self._reader = ObjectReader(inputs.endpoints)
        self._exported = ExportedGraph(inputs.exported, inputs.feed)
        target, boxes, scores = find_target(inputs.split)
        self._target, self._channels = target, max(boxes[1], scores[1])

    def compare(self) -> Uncut:
        """Return both; raises `InputError` where the tail cannot be emulated or nobody reads its output."""
        from build_rules.compilers.delivered import exact_tensors
        from build_rules.compilers.exported_graph import ExportedGraph

        whole = self._scratch / "uncut.onnx"
        node = self._write(whole)
        hars = [
            (name, self._quantize(whole, node, name, line)) for name, line in (("8 bits", ""), ("output in 16", WIDE))
        ]
        graph, split = ExportedGraph(whole, self._inputs.feed), self._inputs.split
        reference, rows = [], []
        for number in range(len(self._images.images)):
            self._line.tell(number, len(self._images.images), "float, with the cut and without")
            sample = self._images.images.image(number).transpose(2, 0, 1)
            reference.append(self._reader.read(exact_tensors(split, self._exported.run(sample))))
            rows.append(as_rows(graph.run(sample)[0], self._channels))
        reader = find_reader(split, reference, rows, self._reader.classes)
        made = [self._cut(reference)]
        made += [self._whole(f"uncut, {name}", har, reader, reference) for name, har in hars]
        return Uncut(self._model.name, len(reference), tuple(made), _because(made))

    def _write(self, whole: Path) -> str:
        from build_rules.comparison.write_uncut import write_uncut

        image = self._inputs.split.input
        return write_uncut(self._model.onnx, self._target, (image.height, image.width), whole)

    def _quantize(self, whole: Path, node: str, name: str, line: str) -> Path:
        """Quantize the whole graph as `fast` does, with a further line in its script."""
        from build_rules.compilers.protocol import OptimizeJob, ParseJob

        compiler, files, split = self._preset.compiler, self._inputs.files, self._inputs.split
        assert files is not None
        self._line.tell(0, 0, f"quantizing the whole graph, {name}")
        parsed, har = self._scratch / "parsed.har", self._scratch / f"{name}.har"
        script = self._scratch / "model.alls"
        start = None if split.front is None else split.front.start
        with redirect_stdout(io.StringIO()):
            compiler.parse(ParseJob(whole, "uncut", self._inputs.hw_arch, (node,), parsed, start))
            script.write_text(self._script() + line, encoding="utf-8")
            compiler.optimize(OptimizeJob(parsed, script, files.snapshot, har))
        return har

    def _script(self) -> str:
        """Return what the preset's script says of no layer: the normalization, and the calibration."""
        from build_rules.alls.script import Script, format_script, parse_script, without_comments

        built = next(preset.har for preset in self._inputs.presets if preset.har is not None)
        script = without_comments(parse_script((built.parent / "model.alls").read_text(encoding="utf-8")))
        kept = [each for each in script.statements if each.command in ("normalization", "model_optimization_config")]
        told = format_script(Script(tuple(kept)))
        return told + "model_optimization_flavor(optimization_level=1, compression_level=0)\n"

    def _batches(self, compiler: Compiler, har: Path, what: str) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Return what a HAR makes of each image."""
        import numpy as np

        images = self._images.images
        for start in range(0, len(images), BATCH):
            self._line.tell(start, len(images), what)
            batch = np.stack([images.image(number) for number in range(start, min(start + BATCH, len(images)))])
            real = compiler.simulate(har, batch)
            yield from ({name: values[row] for name, values in real.items()} for row in range(len(batch)))

    def _cut(self, reference: Sequence[Objects]) -> UncutRow:
        from build_rules.compilers.delivered import outputs_of, quantized_tensors

        preset, split = self._preset, self._inputs.split
        har = preset.har
        if har is None:
            assert preset.quantize is not None
            har, _ = preset.quantize(self._scratch)
        description = preset.compiler.describe(har)
        outputs = outputs_of(split, description)
        found = []
        for real in self._batches(preset.compiler, har, f"cut, {preset.preset}"):
            single = {name: values[None] for name, values in real.items()}
            found.append(self._reader.read(quantized_tensors(split, outputs, single, 0)))
        name, size = f"cut, {preset.preset}", description.frame_bytes
        return judge(name, None, size, reference, found, self._images.truth, self._reader.classes)

    def _whole(self, name: str, har: Path, reader: WholeReader, reference: Sequence[Objects]) -> UncutRow:
        from build_rules.compilers.describe_har import output_grids

        compiler = self._preset.compiler
        found = [
            reader.read(as_rows(next(iter(real.values())), self._channels))
            for real in self._batches(compiler, har, name)
        ]
        size = compiler.describe(har).frame_bytes
        step = output_grids(har)[0][1]
        return judge(name, step, size, reference, found, self._images.truth, self._reader.classes)


def _because(rows: Sequence[UncutRow]) -> str:
    cut, whole = rows[0].agreement.map50_95, rows[1].agreement.map50_95
    if cut is None or whole is None:
        return "The float network finds nothing in these images, so nothing can be compared; name others."
    told = f"At 8 bits the cut network agrees with float by {cut:.3f} (AP50-95), the uncut one by {whole:.3f}"
    return f"{told}: boxes in pixels and scores share one scale, whose step is {rows[1].step:.3g}."


def _text(uncut: Uncut) -> str:
    if not uncut.rows:
        return printable(uncut.because) + "\n"
    head = (
        f"{uncut.model}: cut at its endpoints, and quantized whole, as its ONNX is, on {uncut.images} images\n"
        "EMULATED: both by this project's emulator, which runs a tail that a chip may refuse\n\n"
    )
    table = render_table([_row(row) for row in uncut.rows])
    return f"{head}{table}\n{printable(uncut.because)}\n"


def _row(row: UncutRow) -> dict[str, Any]:
    of = row.agreement
    cells = {
        "quantized": row.name,
        "AP50-95": _number(of.map50_95),
        "AP50": _number(of.map50),
        "IoU": _number(of.mean_iou),
        "lost": f"{of.lost} of {of.objects}",
        "invented": str(of.invented),
        "box error": "" if row.box_error is None else f"{row.box_error:.2f} px",
        "score error": _number(row.score_error),
        "step": "" if row.step is None else f"{row.step:.3g}",
        "bytes a frame": f"{row.frame_bytes:,}",
    }
    return cells if row.truth is None else {**cells, "true AP50-95": _number(row.truth.map50_95)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
