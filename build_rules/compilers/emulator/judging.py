"""Is one quantized network better than another, on samples that had no part in making it?

Three questions: is the error smaller where the objects are, is the error over all cells no larger than it may be, and
does decoding the outputs give objects that agree with the float network's at least as well?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.qdq import quantized_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.score_cells import Errors, Targets, weighted_errors
from build_rules.compilers.emulator.sessions import map_samples, open_session, run
from build_rules.compilers.samples import Samples
from build_rules.errors import InputError
from build_rules.objects.agreement import Agreement
from build_rules.objects.found import Objects
from build_rules.objects.measure_agreement import agree
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.split_json import load_split

__all__ = ["Judge", "Reading", "Verdict", "read_objects_by", "real_outputs"]

GAIN = 0.98
"""What is kept must bring the error where the objects are below this part of what it was."""

CONFIDENCE = 1.64
"""... and by this many standard errors of the mean gain, so that luck with the judges is not taken for skill: one
sided, 5 percent."""

SPREAD = 2.5
"""The error over all cells may grow to this many times what it was, in the mean over outputs by `shares`: where there
is no object nobody reads boxes, and what background scores invent is seen in the decoded objects."""


@dataclass(frozen=True)
class Reading:
    """How objects are read of delivered outputs (by vstream, [1, H, W, C], real values), and of how many classes."""

    read: Callable[[Mapping[str, Floats]], Objects]
    classes: int


def read_objects_by(network: Network, endpoints: Path | None) -> Reading | None:
    """Return how the outputs are decoded, by the `endpoints.json` of the cut; None where nobody decodes them."""
    if endpoints is None:
        return None
    split = load_split(endpoints)
    streams = {endpoint.name: output.name for endpoint in split.endpoints for output in network.outputs
               if endpoint.node in output.original_names}  # fmt: skip
    if len(set(streams.values())) < len(network.outputs):
        return None
    try:
        reader = ObjectReader(split)
    except InputError:
        return None
    return Reading(
        lambda delivered: reader.read({name: delivered[stream][0] for name, stream in streams.items()}), reader.classes
    )


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the judges say of one network.

    `at_objects` and `plain` are the errors of every output on every judging sample, weighted by objects and not.
    `agreement` is that of decoded objects with the float network's, None where nobody decodes the outputs.
    """

    at_objects: Mapping[str, npt.NDArray[np.float64]]
    plain: Mapping[str, npt.NDArray[np.float64]]
    agreement: Agreement | None

    def is_better(self, than: Verdict, shares: Mapping[str, float], outputs: Sequence[str] = ()) -> bool:
        """Say whether this network is to be kept instead, judged by `outputs` (all); see `shares` of the judge."""
        names = outputs or tuple(self.at_objects)
        now, before = self.loss(than, shares, names), than.loss(than, shares, names)
        gain = before - now
        doubt = float(gain.std(ddof=1)) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
        if not (now.sum() < GAIN * before.sum() and float(gain.mean()) > CONFIDENCE * doubt):
            return False
        grown = [
            (shares[name], self.plain[name].sum() / than.plain[name].sum()) for name in names if than.plain[name].any()
        ]
        if sum(share * ratio for share, ratio in grown) > SPREAD * sum(share for share, _ in grown):
            return False
        return bool(outputs) or self.agrees_as_well(than)

    def agrees_as_well(self, than: Verdict) -> bool:
        """Say whether decoded objects agree with the float network's no worse."""
        mine, other = self.agreement, than.agreement
        if mine is None or other is None or mine.map50_95 is None or other.map50_95 is None:
            return True
        return mine.map50_95 >= other.map50_95 and mine.lost + mine.invented <= other.lost + other.invented

    def loss(self, scale: Verdict, shares: Mapping[str, float], names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return per sample the sum of the outputs' errors at objects, each in units of what it is in `scale`."""
        units = {name: scale.at_objects[name].mean() for name in names}
        parts = [shares[name] * self.at_objects[name] / units[name] for name in names if units[name] > 0]
        return np.asarray(np.sum(parts, axis=0)) if parts else np.zeros(1)


class Judge:
    """Samples set aside to judge by."""

    def __init__(self, network: Network, samples: Samples, targets: Targets, reading: Reading | None) -> None:
        self.network, self.samples, self.targets, self.reading = network, samples, targets, reading
        self.truth = [reading.read(target.delivered) for target in targets.values()] if reading else []
        mass = {
            output.name: sum(float(target.weights[output.name].mean()) for target in targets.values())
            for output in network.outputs
        }
        whole = sum(mass.values()) or 1.0
        self.shares = {name: value / whole for name, value in mass.items()}
        """How much of all objects (by weight) lies in each output."""

    def verdict(self, plan: Plan) -> Verdict:
        """Run the network quantized as planned on the judging samples."""
        session = open_session(quantized_model(self.network, plan))

        def judged(index: int) -> tuple[Errors, Errors, Objects | None]:
            real = real_outputs(plan, run(session, self.samples.sample(index)))
            target = self.targets[index]
            plain = {
                name: float(np.mean((value - target.delivered[name]) ** 2, dtype=np.float64))
                for name, value in real.items()
            }
            return weighted_errors(real, target), plain, self.reading.read(real) if self.reading else None

        parts = map_samples(judged, tuple(self.targets))
        found = [objects for _, _, objects in parts if objects is not None]
        return Verdict(
            {name: np.asarray([errors[name] for errors, _, _ in parts]) for name in plan.outputs},
            {name: np.asarray([errors[name] for _, errors, _ in parts]) for name in plan.outputs},
            agree(self.truth, found, self.reading.classes) if self.reading else None,
        )


def real_outputs(
    plan: Plan, delivered: Mapping[str, npt.NDArray[np.uint8] | npt.NDArray[np.uint16]]
) -> dict[str, Floats]:
    """Return delivered codes as real values."""
    return {
        name: np.asarray((delivered[name].astype(np.float32) - grid.zero_point) * np.float32(grid.scale))
        for name, grid in plan.outputs.items()
    }
