"""Many builds under fire: `python -m tests.engine.experiments.soak --builds 200 --seed 1`.

In every round some inputs are edited, doit is started, killed at a random moment by a random signal, sometimes more
than once, sometimes with an edit under its hands, and then run to its end. What it has built by then must be what an
undisturbed build of the same inputs in a fresh folder gives, with no temporary file left behind, and a further doit
must have nothing to do. The seed settles edits, signals and moments; how far doit has come at a moment, it does not.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine.experiments.workspace import Workspace

__all__ = ["Summary", "soak"]

MODELS = ("a", "b", "c", "d", "e")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# How long each step stays in the middle of its output, so that most kills meet one there.
PAUSE = "0.01"
PATIENCE = 30.0


@dataclass
class Summary:
    """What happened in all rounds together."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    too_late: int = 0
    edits_in_runs: int = 0
    restored: int = 0
    steps: int = 0
    begun: int = 0
    twice: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        lines = [
            f"{self.rounds} rounds in {self.seconds:.0f} s",
            f"kills: {kills}; {self.too_late} more came when doit had ended; {self.edits_in_runs} edits in a run, "
            f"{self.restored} times all inputs were restored after the kills",
            f"steps: {self.begun} begun, {self.steps} run to their end, {self.twice} of these for a second time",
            f"problems: {len(self.problems)}",
        ]
        return "\n".join([*lines, *self.problems])


def soak(folder: Path, builds: int, seed: int) -> Summary:
    """Do `builds` rounds in a workspace in `folder`."""
    dice = random.Random(seed)
    ws = Workspace(folder, MODELS)
    summary = Summary()
    start = time.monotonic()
    try:
        for number in range(builds):
            _round(ws, number, dice, summary)
    finally:
        ws.close()
        summary.seconds = time.monotonic() - start
    return summary


def _round(ws: Workspace, number: int, dice: random.Random, summary: Summary) -> None:
    (ws.control / "log").unlink(missing_ok=True)
    before = {model: ws.source(model).read_text() for model in MODELS}
    for model in dice.sample(MODELS, dice.randint(1, len(MODELS))):
        _edit(ws, model, dice)
    if dice.random() < 0.3:
        ws.shared.write_text(f"for all {dice.randint(0, 9)}\n")
    for _ in range(dice.randint(0, 2)):
        _damage_an_output(ws, dice)
    allowed = 0
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        jobs = dice.choice((1, 2))
        edited = _disturbed(ws, jobs, dice, summary)
        # A kill may cost what was in flight: written, but not yet recorded. So does an input edited under a step.
        allowed += jobs * (1 + edited)
    restored = dice.random() < 0.3
    for model in MODELS if restored else ():
        ws.source(model).write_text(before[model])
    summary.restored += restored
    _settle(ws, number, allowed, dice, summary)


def _edit(ws: Workspace, model: str, dice: random.Random) -> None:
    # Few texts, so that earlier ones come back.
    ws.source(model).write_text(f"text {dice.randint(0, 4)} of {model}\n")


def _damage_an_output(ws: Workspace, dice: random.Random) -> None:
    outputs = sorted(ws.outputs())
    if outputs:
        path = ws.build / dice.choice(outputs)
        path.unlink() if dice.random() < 0.2 else path.write_text("damaged\n")


def _disturbed(ws: Workspace, jobs: int, dice: random.Random, summary: Summary) -> bool:
    """Start doit and kill it. Returns whether an input was edited in the meantime."""
    process = ws.start(*(() if jobs == 1 else ("-n", str(jobs))), PAUSE=PAUSE)
    if dice.random() < 0.8:
        _wait_for_progress(ws, dice.randint(0, 14), process.poll)
        time.sleep(dice.random() * 0.03)
    else:
        time.sleep(dice.random() * 0.6)
    edited = dice.random() < 0.2
    if edited:
        summary.edits_in_runs += 1
        ws.source(dice.choice(MODELS)).write_text(f"edit {summary.edits_in_runs}\n")
        time.sleep(dice.random() * 0.02)
    kind = dice.choice(SIGNALS)
    if process.poll() is None:
        process.send_signal(kind)
        summary.kills[kind.name] += 1
    else:
        summary.too_late += 1
    run = ws.finish(process)
    # 1: an input was edited under its hands. Before doit answers signals itself, they end it as they end any program.
    expected = {0, 1, 130, -kind, 3 if kind == signal.SIGINT else 0}
    if run.code not in expected or ("Traceback" in run.err and "KeyboardInterrupt" not in run.err):
        summary.problems.append(f"killed by {kind.name}, doit ended with {run.code}: {run.err[-500:]}")
    return edited


def _wait_for_progress(ws: Workspace, events: int, ended: Callable[[], int | None]) -> None:
    """Wait until the steps have begun or ended `events` times in this round, or doit has ended."""
    path, end = ws.control / "log", time.monotonic() + PATIENCE
    seen = 0
    before = len(path.read_bytes().splitlines()) if path.exists() else 0
    while seen < events and ended() is None and time.monotonic() < end:
        with suppress(FileNotFoundError):
            seen = len(path.read_bytes().splitlines()) - before
        time.sleep(0.001)


def _settle(ws: Workspace, number: int, allowed: int, dice: random.Random, summary: Summary) -> None:
    """Run doit to its end, and look at everything."""
    jobs = dice.choice(((), ("-n", "2")))
    run = ws.run(*jobs, PAUSE=PAUSE)
    done = ws.log("end")
    twice = sum(count - 1 for count in done.values())
    summary.rounds += 1
    summary.steps += sum(done.values())
    summary.begun += sum(ws.log("begin").values())
    summary.twice += twice
    again = ws.run()
    found = {
        f"ended with {run.code}: {run.err[-500:]}": run.code != 0,
        "outputs differ from an undisturbed build": ws.outputs() != ws.undisturbed(),
        f"left behind: {ws.partials()}": ws.partials() != [],
        f"a further doit ran {again.executed}": again.executed != [],
        f"{twice} steps done twice, at most {allowed} can have been in flight": twice > allowed,
    }
    summary.problems += [f"round {number}: {problem}" for problem, there in found.items() if there]


def main() -> int:
    """Soak in a temporary folder; exit code 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description="Build under fire and compare with undisturbed builds.")
    parser.add_argument("--builds", type=int, default=200, help="rounds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        summary = soak(Path(folder), arguments.builds, arguments.seed)
    print(f"seed {arguments.seed}: {summary}")
    return 1 if summary.problems else 0


if __name__ == "__main__":
    sys.exit(main())
