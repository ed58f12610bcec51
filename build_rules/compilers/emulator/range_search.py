"""Which range of each inner tensor does the outputs least harm where the objects are?

A grid of 8 bits is chosen by what its tensor holds (`ranges.py`), which says little about what comes of its errors: a
wide range that only background reaches wastes steps that objects need; a step that is large against SiLU's negative
end moves all of it the same way, and the next layer adds that up. So the error is taken at the outputs:

    loss(grid of t) = sum over outputs o of  share_o * E_o(only t rounded) / E_o(all rounded as planned)
    E_o             = sum over cells of  weight * squared error,   weights: `score_cells.py`

with share_o the weight of the cells of output o among those of all. Errors of different tensors hardly hang together,
so each is searched alone, with everything else in float: only what lies beyond it runs again (`beyond.py`). Choosing
steps by the loss of the network instead of the tensor's own error: Nahshan et al. 2019, Loss Aware Post-Training
Quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from build_rules.compilers.emulator.beyond import SCALE, ZERO, Beyond, beyond
from build_rules.compilers.emulator.network import Floats, Network
from build_rules.compilers.emulator.qdq import float_model
from build_rules.compilers.emulator.quantization_plan import Grid, Plan, grid
from build_rules.compilers.emulator.score_cells import Errors, Targets, weighted_errors
from build_rules.compilers.emulator.sessions import map_samples, open_session, run
from build_rules.compilers.samples import Samples

__all__ = ["search_ranges"]

MOST_GROUPS = 8
"""Tensors on one grid are searched together; these many, which harm most, are searched at all."""

LEAST_HARM = 0.01
"""... unless their part of all harm is smaller than this."""

WIDER = 1.3
NARROWER = (0.8, 0.6, 0.4, 0.25)
FINE = (1.1, 0.9)
"""What the range is multiplied by: once wider, or narrower for as long as that helps; then the best of these again."""

HELD_BYTES = 256 << 20
SCREENED = 2
GAIN = 0.95
"""A range is changed when that brings its loss below this part of what it was."""


def search_ranges(
    network: Network,
    plan: Plan,
    shared: Mapping[str, str],
    fixed: frozenset[str],
    samples: Samples,
    targets: Targets,
    before: Mapping[str, float],
    progress: Callable[[str], None],
) -> Plan:
    """Return `plan` with better ranges of those 8-bit tensors that harm the outputs of the samples in `targets` most.

    `shared` tells which tensors lie on one grid, `fixed` those whose grid somebody asked for; `before` is the error of
    each output as planned.
    """
    search = _Search(network, plan, samples, targets, before)
    groups: dict[str, list[str]] = {}
    for tensor in plan.tensors:
        groups.setdefault(shared[tensor], []).append(tensor)
    open_groups = [
        tuple(tensors)
        for tensors in groups.values()
        if plan.tensors[tensors[0]].bits == 8
        and fixed.isdisjoint(tensors)
        and not _is_unit(plan.tensors[tensors[0]])
        and any(network.graph.consumers.get(tensor) for tensor in tensors)
    ]
    if not open_groups:
        return plan
    harms = search.screened(open_groups, progress)
    total = sum(harms.values())
    worst = sorted(open_groups, key=lambda tensors: (-harms[tensors], tensors))[:MOST_GROUPS]
    grids = dict(plan.tensors)
    searched = [tensors for tensors in worst if harms[tensors] > LEAST_HARM * total]
    for number, tensors in enumerate(searched):
        progress(f"fine-tune: ranges, {number + 1} of {len(searched)}")
        grids.update(dict.fromkeys(tensors, search.best(tensors)))
    return replace(plan, tensors=grids)


def _is_unit(grid: Grid) -> bool:
    """Say whether it is the range of a probability, which needs no search."""
    return grid.zero_point == 0 and abs(grid.limits[1] - 1.0) < 1e-6


class _Search:
    def __init__(
        self, network: Network, plan: Plan, samples: Samples, targets: Targets, before: Mapping[str, float]
    ) -> None:
        self.network, self.plan, self.samples, self.targets = network, plan, samples, targets
        self.whole = float_model(network, plan)
        mass = {
            name: sum(float(t.weights[name].mean()) * t.weights[name].size for t in targets.values()) for name in before
        }
        whole = sum(mass.values()) or 1.0
        self.factors = {name: mass[name] / whole / before[name] if before[name] > 0 else 0.0 for name in before}

    def screened(
        self, groups: Sequence[tuple[str, ...]], progress: Callable[[str], None]
    ) -> dict[tuple[str, ...], float]:
        """Return the loss of each group as planned, on few samples, of which all tensors are held at once."""
        read = dict.fromkeys(name for tensors in groups for name in self.part(tensors).read)
        size = 4 * sum(int(np.prod(self.network.graph.shapes[name])) for name in read)
        indices = sorted(self.targets)[: max(1, min(SCREENED, HELD_BYTES // max(size, 1)))]
        held = self.float_tensors(tuple(read), indices)
        harms = {}
        for number, tensors in enumerate(groups):
            progress(f"fine-tune: what rounding harms, {number + 1} of {len(groups)}")
            part = self.part(tensors)
            mine = {index: {name: values[name] for name in part.read} for index, values in held.items()}
            harms[tensors] = self._losses(_Rerun(part, mine, self.targets), [self.plan.tensors[tensors[0]]])[0]
        return harms

    def part(self, tensors: Sequence[str]) -> Beyond:
        return beyond(self.network, self.whole, tensors, self.plan.tensors[tensors[0]].bits)

    def float_tensors(self, names: Sequence[str], indices: Sequence[int]) -> dict[int, dict[str, Floats]]:
        session = open_session(float_model(self.network, self.plan, names, delivers=False))
        return dict(
            zip(indices, map_samples(lambda index: run(session, self.samples.sample(index)), indices), strict=True)
        )

    def best(self, tensors: Sequence[str]) -> Grid:
        part = self.part(tensors)
        size = 4 * sum(int(np.prod(self.network.graph.shapes[name])) for name in part.read)
        indices = sorted(self.targets)[: max(1, HELD_BYTES // max(size, 1))]
        rerun = _Rerun(part, self.float_tensors(part.read, indices), self.targets)
        present = self.plan.tensors[tensors[0]]
        return _descend(present, lambda grid: self._losses(rerun, [grid])[0])

    def _losses(self, rerun: _Rerun, grids: Sequence[Grid]) -> list[float]:
        return [sum(self.factors[name] * error for name, error in rerun.errors(grid).items()) for grid in grids]


def _descend(present: Grid, loss: Callable[[Grid], float]) -> Grid:
    """Return the grid of least loss near `present`, or that itself where others hardly gain.

    Every loss is a run of the network on several samples: what is worse than the step before is followed no further.
    """
    losses = {present: loss(present)}

    def gains(grid: Grid) -> bool:
        least = min(losses.values())
        losses[grid] = loss(grid)
        return losses[grid] < least

    if not gains(_stretched(present, WIDER)):
        for factor in NARROWER:
            if not gains(_stretched(present, factor)):
                break
    found = min(losses, key=lambda grid: losses[grid])
    if found != present:
        for factor in FINE:
            gains(_stretched(found, factor))
    best = min(losses, key=lambda grid: losses[grid])
    return best if losses[best] < GAIN * losses[present] else present


class _Rerun:
    """The network beyond some tensors, with all that it reads of some samples."""

    def __init__(self, part: Beyond, held: Mapping[int, Mapping[str, Floats]], targets: Targets) -> None:
        self.outputs, self.held, self.targets = part.outputs, held, targets
        self.session = open_session(part.model)

    def errors(self, grid: Grid) -> Errors:
        """Return the error of every output that depends on the tensors, over all samples."""
        numbers = {SCALE: np.asarray(grid.scale, np.float32), ZERO: np.asarray(grid.zero_point, grid.dtype)}

        def one(index: int) -> Errors:
            values = self.session.run(list(self.outputs), {**self.held[index], **numbers})
            return weighted_errors(dict(zip(self.outputs, values, strict=True)), self.targets[index])

        parts = map_samples(one, tuple(self.held))
        return {name: sum(part[name] for part in parts) / len(parts) for name in self.outputs}


def _stretched(like: Grid, factor: float) -> Grid:
    """Return a grid whose upper end lies at `factor` times that of `like`.

    Its lower end goes along, unless it is the bounded one of an activation (SiLU, hard-swish: above -0.6 and small
    against the upper end), which is all there is.
    """
    low, high = like.limits
    if -low > high / 8 and low < -0.6:
        return grid(low * factor, high * factor, like.bits)
    return grid(min(low, -0.28) if low < 0 or like.zero_point else low, high * factor, like.bits)
