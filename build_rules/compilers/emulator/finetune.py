"""The fine-tune pass: ranges and kernels that lower the error of the whole output, where the objects are.

Two kinds of steps, each kept only when samples that had no part in it say that it is better (`judging.py`): the ranges
of the tensors that harm most (`range_search.py`), then the last convolutions of every output, refitted to what the
quantized network feeds them (`refit.py`); as many times as the script has epochs, or until nothing more is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from build_rules.compilers.emulator.finite import not_finite
from build_rules.compilers.emulator.judging import Judge, Reading, Verdict, real_outputs
from build_rules.compilers.emulator.network import Network
from build_rules.compilers.emulator.qdq import float_model, quantized_model
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.range_search import search_ranges
from build_rules.compilers.emulator.refit import DEPTH, Candidate, Refit, candidates
from build_rules.compilers.emulator.score_cells import Target, Targets, cell_weights, score_outputs, weighted_errors
from build_rules.compilers.emulator.sessions import map_samples, open_session, run
from build_rules.compilers.samples import Samples

__all__ = ["Tuned", "finetune"]

LOOKED_AT = 64
"""Of more samples than these the ones with most objects would hardly be better ones."""

HELD_BACK = 2
"""One sample in this many judges instead of teaching: what is kept depends on them, and judging is cheap."""

MOST_VALUES = 24 << 20
"""Delivered values held, of all samples that teach or judge; YOLOv8n at 640x640 delivers 1.2 million for each."""

MOST_USED = 64
RANGE_VALUES = 120 << 20
"""Inner values of the samples that ranges are searched on: 6 of YOLOv8n at 640x640, 12 of a small network."""


@dataclass(frozen=True)
class Tuned:
    """The plan that was kept, and what is to be told of it: facts for the report, and one line."""

    plan: Plan
    facts: Mapping[str, object]
    line: str


def finetune(
    network: Network,
    plan: Plan,
    shared: Mapping[str, str],
    fixed: frozenset[str],
    samples: Samples,
    indices: Sequence[int],
    epochs: int,
    reading: Reading | None,
    progress: Callable[[str], None],
) -> Tuned:
    """Return `plan`, or a better one; `shared` and `fixed` are as `search_ranges` takes them.

    Nothing that the judging samples do not confirm is kept, so that the result is `plan` itself at worst.
    """
    judges, teachers = _chosen(network, plan, samples, indices)
    if not teachers:
        return Tuned(plan, {"finetune_kept": []}, "fine-tune: too few samples to learn from, the level below is kept")
    judge = Judge(network, samples, judges, reading)
    pass_ = _Pass(network, shared, fixed, samples, teachers, judge, progress)
    first = judge.verdict(plan)
    best, verdict = plan, first
    kept: list[str] = []
    for epoch in range(max(1, epochs)):
        steps = len(kept)
        for name, step in (("ranges", pass_.ranges), ("kernels", pass_.kernels)):
            progress(f"fine-tune: {name}, pass {epoch + 1}")
            best, after = step(best, verdict)
            if after is not verdict:
                kept.append(name)
            verdict = after
        if len(kept) == steps:
            break
    return _told(best, first, verdict, judge, tuple(dict.fromkeys(kept)))


def _told(plan: Plan, first: Verdict, last: Verdict, judge: Judge, kept: Sequence[str]) -> Tuned:
    names = tuple(plan.outputs)
    before, now = (float(v.loss(first, judge.shares, names).sum()) for v in (first, last))
    facts: dict[str, object] = {"finetune_kept": list(kept), "finetune_judges": len(judge.targets)}
    if not kept:
        return Tuned(plan, facts, "fine-tune: nothing was better on held-back samples, the level below is kept")
    facts["finetune_error_at_objects"] = round(now / before, 3) if before > 0 else 1.0
    line = (
        f"fine-tune: {' and '.join(kept)} kept; error at objects {now / before:.2f} of what it was on held-back samples"
    )
    if first.agreement and last.agreement and first.agreement.map50_95 is not None:
        line += f", agreement {first.agreement.map50_95:.3f} -> {last.agreement.map50_95 or 0.0:.3f}"
    return Tuned(plan, facts, line)


def _chosen(network: Network, plan: Plan, samples: Samples, indices: Sequence[int]) -> tuple[Targets, Targets]:
    """Return samples that judge and samples that teach: those on which the float network finds most."""
    looked = sorted({indices[i * len(indices) // LOOKED_AT] for i in range(LOOKED_AT)})
    session, scores = open_session(float_model(network, plan)), score_outputs(network, plan.folded)
    size = sum(int(np.prod(output.shape)) for output in network.outputs)
    count = max(4, min(MOST_USED, MOST_VALUES // size))

    def target(index: int) -> Target:
        delivered = run(session, samples.sample(index))
        if not all(np.isfinite(value).all() for value in delivered.values()):
            raise not_finite(network, plan, samples.sample(index), index)
        return Target(delivered, cell_weights(delivered, scores))

    def mass(index: int) -> float:
        return sum(float(weights.mean()) for weights in target(index).weights.values())

    if len(looked) > count:
        found = dict(zip(looked, map_samples(mass, looked), strict=True))
        looked = sorted(looked, key=lambda index: (-found[index], index))[:count]
    targets = dict(zip(looked, map_samples(target, looked), strict=True))
    judges = looked[::HELD_BACK]
    return {i: targets[i] for i in judges}, {i: targets[i] for i in looked if i not in judges}


class _Pass:
    """The steps, each from a plan and its verdict to those that are kept."""

    def __init__(
        self,
        network: Network,
        shared: Mapping[str, str],
        fixed: frozenset[str],
        samples: Samples,
        teachers: Targets,
        judge: Judge,
        progress: Callable[[str], None],
    ) -> None:
        self.network, self.shared, self.fixed, self.samples = network, shared, fixed, samples
        self.teachers, self.judge, self.progress = teachers, judge, progress
        self.searched = False
        self.refit: Refit | None = None

    def ranges(self, plan: Plan, verdict: Verdict) -> tuple[Plan, Verdict]:
        """Search ranges, once: a search takes everything else in float, so that a second one would find the same."""
        if self.searched:
            return plan, verdict
        self.searched = True
        size = sum(int(np.prod(self.network.graph.shapes[tensor])) for tensor in plan.tensors)
        used = list(self.teachers)[: max(6, min(12, RANGE_VALUES // max(size, 1)))]
        targets = {index: self.teachers[index] for index in used}
        before = self._errors(plan, targets)
        found = search_ranges(self.network, plan, self.shared, self.fixed, self.samples, targets, before, self.progress)
        if found.tensors == plan.tensors:
            return plan, verdict
        after = self.judge.verdict(found)
        return (found, after) if after.is_better(verdict, self.judge.shares) else (plan, verdict)

    def kernels(self, plan: Plan, verdict: Verdict) -> tuple[Plan, Verdict]:
        """Refit from the far convolutions to the outputs; each output decides for itself, decoded objects for all."""
        chosen = candidates(self.network)
        if not chosen:
            return plan, verdict
        if self.refit is None:
            self.refit = Refit(self.network, plan, self.samples, chosen, self.teachers)
        tuned, state = plan, verdict
        for depth in reversed(range(DEPTH)):
            layers = [each for each in chosen if each.depth == depth]
            if not layers:
                continue
            refitted = self.refit.refitted(tuned, layers)
            after = self.judge.verdict(refitted)
            better = [name for name in plan.outputs if after.is_better(state, self.judge.shares, (name,))]
            if better:
                tuned = _accept(tuned, refitted, [each for each in layers if each.output in better])
                state = self.judge.verdict(tuned)
        return (tuned, state) if state is not verdict and state.agrees_as_well(verdict) else (plan, verdict)

    def _errors(self, plan: Plan, targets: Targets) -> dict[str, float]:
        session = open_session(quantized_model(self.network, plan))

        def one(index: int) -> dict[str, float]:
            return weighted_errors(real_outputs(plan, run(session, self.samples.sample(index))), targets[index])

        parts = map_samples(one, tuple(targets))
        return {name: sum(part[name] for part in parts) / len(parts) for name in plan.outputs}


def _accept(plan: Plan, refitted: Plan, chosen: Sequence[Candidate]) -> Plan:
    names = [each.layer.name for each in chosen]
    kernels = {**plan.kernels, **{name: refitted.kernels[name] for name in names}}
    return replace(plan, kernels=kernels, biases={**plan.biases, **{name: refitted.biases[name] for name in names}})
