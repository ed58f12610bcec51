"""One piece of work of the DFC: its progress, and what is said when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from build_rules.compilers.dfc.dfc_failures import Hints, explain
from build_rules.compilers.dfc.launch import Done, Work, WorkerFailure, run_worker
from build_rules.compilers.dfc.log_progress import Follower
from build_rules.compilers.dfc.outside import check_same

if TYPE_CHECKING:
    from build_rules.compilers.dfc import Dfc

__all__ = ["do_work", "try_work"]


def do_work(dfc: Dfc, work: Work, progress: Callable[[str], None], hints: Hints) -> Done:
    """Have a piece of work done. Raises `InputError` in our own words when it fails."""
    try:
        return try_work(dfc, work, progress)
    except WorkerFailure as failure:
        raise explain(failure, work.action, hints) from failure


def try_work(dfc: Dfc, work: Work, progress: Callable[[str], None]) -> Done:
    """Have a piece of work done. Raises `WorkerFailure`, and `InputError` when another DFC did it than was found."""
    follower = Follower()

    def follow(line: str) -> None:
        if (text := follower.feed(line)) is not None:
            progress(text)

    done = run_worker(dfc, work, follow)
    check_same(dict(dfc.environment), done)
    return done
