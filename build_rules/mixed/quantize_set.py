"""One set of layers, tried: really quantized with its lines, run, and compared with float by its objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log10
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_rules.alls.wide_layers import NEVER_WIDE
from build_rules.compilers.delivered import Tensors, outputs_of, quantized_tensors
from build_rules.compilers.describe_har import HarDescription
from build_rules.compilers.in_order import in_order
from build_rules.compilers.network_images import Images
from build_rules.compilers.protocol import Compiler, OptimizeJob
from build_rules.errors import InputError
from build_rules.mixed.candidates import Candidate
from build_rules.mixed.search import Trial
from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree
from build_rules.objects.paired import is_worse
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.split_json import Split

__all__ = ["SetTrials"]

AT_ONCE = 8
"""Images of which outputs are held; the signal-to-noise ratio is measured on the first so many."""


class SetTrials:
    """Tries sets on some images. Objects of the float network are found once, and kept."""

    def __init__(
        self,
        compiler: Compiler,
        job: OptimizeJob,
        split: Split,
        images: Images,
        exact: Callable[[NDArray[np.uint8]], Tensors],
        scratch: Path,
    ) -> None:
        """`job` is that of the script without any set; sets are quantized in the folder `scratch`, one at a time.

        `exact` gives what the float network delivers, by endpoint, and is called from several threads.

        Raises `InputError` when nobody decodes the outputs.
        """
        self.compiler, self.job, self.split, self.images = compiler, job, split, images
        self._scratch = scratch
        self.reader = ObjectReader(split)
        self.reference: list[Objects] = []
        self._kept: list[Tensors] = []
        self._found: dict[tuple[Candidate, ...], list[Objects]] = {}
        computed = in_order(lambda number: exact(images.image(number)), range(len(images)))
        for number, tensors in enumerate(computed):
            job.around.progress(f"float network on image {number + 1} of {len(images)}")
            self.reference.append(self.reader.read(tensors))
            if number < AT_ONCE:
                self._kept.append(tensors)

    def try_set(self, chosen: tuple[Candidate, ...]) -> Trial:
        """Quantize with a set of layers in 16 bits, and compare."""
        lines = [f"quantization_param({each.layer}, precision_mode={each.mode})\n" for each in chosen]
        script, har = self._scratch / "model.alls", self._scratch / "model.har"
        script.write_text("".join((self.job.script.read_text(encoding="utf-8"), *lines)), encoding="utf-8")
        self.compiler.optimize(replace(self.job, script=script, output=har))
        description = self.compiler.describe(har)
        found, snr = self._run(har, description)
        self._found[chosen] = found
        return Trial(
            candidates=chosen,
            agreement=agree(self.reference, found, self.reader.classes),
            snr=snr,
            frame_bytes=description.frame_bytes,
            wide=wide_layers(description),
        )

    def helps(self, before: Trial, after: Trial) -> bool:
        """Say whether a set finds what is not found without it, beyond what chance explains."""
        return is_worse(self.reference, self._found[after.candidates], self._found[before.candidates]).worse

    def _run(self, har: Path, description: HarDescription) -> tuple[list[Objects], float]:
        """Return what the quantized network finds, and its signal-to-noise ratio at objects in dB."""
        outputs = outputs_of(self.split, description)
        found: list[Objects] = []
        ratio = 0.0
        for start in range(0, len(self.images), AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, len(self.images)))
            real = self.compiler.simulate(har, np.stack([self.images.image(number) for number in numbers]))
            each = [quantized_tensors(self.split, outputs, real, row) for row in range(len(numbers))]
            found += map(self.reader.read, each)
            if start == 0:
                ratio = self._noise_ratio(each)
        return found, -10 * log10(max(ratio, 1e-12))

    def _noise_ratio(self, delivered: Sequence[Tensors]) -> float:
        """Return the power of the error over that of the signal, the mean over the roles of the outputs.

        Cells are weighted by the float network's best score there, as for the noise of layers.
        """
        roles = {endpoint.name: endpoint.role for endpoint in self.split.endpoints}
        sums = {role: np.zeros(4) for role in roles.values()}
        for exact, real in zip(self._kept, delivered, strict=True):
            cells = self.reader.cells(exact)
            for name, role in roles.items():
                weights, values = cells[name].astype(np.float64)[:, :, None], exact[name].astype(np.float64)
                error = (weights * (real[name] - values) ** 2).sum()
                sums[role] += [
                    weights.sum() * values.shape[-1],
                    (weights * values).sum(),
                    (weights * values**2).sum(),
                    error,
                ]
        signals = {role: second - first**2 / weight for role, (weight, first, second, _) in sums.items() if weight > 0}
        ratios = [sums[role][3] / signal for role, signal in signals.items() if signal > 0]
        return float(np.mean(ratios)) if ratios else 0.0


def wide_layers(description: HarDescription) -> tuple[str, ...]:
    """Return the layers that make 16 bits. Raises `InputError` when one of them is of a kind that never may."""
    wide = description.wide_layers
    if never := [layer.name for layer in wide if layer.kind in NEVER_WIDE]:
        raise InputError(
            f"{description.network}: {never[0]} would get 16 bits, in which the allocator crashes; please report this."
        )
    return tuple(layer.name for layer in wide)
