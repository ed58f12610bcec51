"""In which order tasks run: everything that the first target needs before anything that only later ones need.

doit puts what is ready into one queue, first come first served. With several targets all their first steps would come
before the second step of any, and the first result after nearly all work. Here what is ready waits by the number of the
target that it is for. With `doit -n` a worker for whom the first target has nothing to do takes on the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from typing import Any

from doit.control import ExecNode, TaskDispatcher

__all__ = ["TargetDispatcher", "in_order"]


class _Ready:
    """What is ready to run, in the place of doit's queue (which doit 0.36 and 0.37 use like this alone)."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, ExecNode]] = []
        self._arrivals = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, node: ExecNode) -> None:
        """Add a node."""
        heapq.heappush(self._waiting, (node.rank, next(self._arrivals), node))

    def popleft(self) -> ExecNode:
        """Take out the node for the first target, of several the one that came first."""
        return heapq.heappop(self._waiting)[2]


class TargetDispatcher(TaskDispatcher):  # type: ignore[misc]  # doit has no type hints
    """doit's dispatcher, target by target. Tasks of `last` come after all others."""

    def __init__(
        self, tasks: Mapping[str, Any], targets: Mapping[str, str], selected: Sequence[str], last: Collection[str] = ()
    ) -> None:
        super().__init__(tasks, targets, in_order(tasks, selected, last))
        self.ready = _Ready()
        self._ranks = count()

    def _gen_node(self, parent: ExecNode | None, task_name: str) -> ExecNode | None:
        node = super()._gen_node(parent, task_name)
        if node is not None:
            # A task that several targets need is for the first of them, which is the one that has asked for it.
            node.rank = next(self._ranks) if parent is None else parent.rank
        return node


def in_order(tasks: Mapping[str, Any], selected: Sequence[str], last: Collection[str] = ()) -> list[str]:
    """Return the selected tasks with the members of each group before it, one after the other.

    Those of `last`, and groups that hold one, come after all others: the first that fails may end the run.
    """
    order: dict[str, None] = {}
    late = set(last)
    for name in selected:
        if name in tasks and tasks[name].has_subtask:
            order.update(dict.fromkeys(tasks[name].task_dep))
            if not late.isdisjoint(tasks[name].task_dep):
                late.add(name)
        order[name] = None
    return sorted(order, key=late.__contains__)
