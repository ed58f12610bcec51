"""One run of doit: which owners (models) need no tasks, and what is learned about the others.

At the beginning the snapshot of the last run tells who is fresh; the tasks of the rest register here; at the end
everybody of whom all tasks were up to date or succeeded goes into the new snapshot, with the files that were verified.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from build_rules.engine.command_line import EVERYTHING, Request
from build_rules.engine.freshness.fingerprint import installed_marks, trusted_marks, verified
from build_rules.engine.freshness.index import (
    ABSENT,
    UNTRUSTED,
    Marks,
    Snapshot,
    find_changed,
    read_snapshot,
    write_snapshot,
)
from build_rules.engine.freshness.key import PACKAGE
from build_rules.engine.places import INDEX, RECORDS, leads_out

__all__ = [
    "EVERYBODY",
    "TREE",
    "Run",
    "collect_garbage_again",
    "current_run",
    "forget_snapshot",
    "has_other_tasks",
    "watch_code",
    "watch_marks",
]

INSTALLED = f"{os.sep}site-packages{os.sep}"
EVERYBODY = ""
"""The owner of files that everybody depends on: the rules' own code, the settings of the repository."""
NOT_FRESH = -1
"""Stands for the number of tasks of an owner of whom it is not known that they are fresh."""
TREE = "/"
"""The owner of folders in which owners are looked for."""


class _Steps:
    """The tasks of one owner in this run: all names, those that are up to date, and every file they read or wrote."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.reads: dict[str, tuple[str, ...]] = {}
        self.writes: dict[str, tuple[str, ...]] = {}
        self.up_to_date: set[str] = set()
        self.files: set[str] = set()

    @property
    def ends(self) -> list[str]:
        """The tasks whose outputs no other task of the owner reads."""
        read = set().union(*self.reads.values())
        return sorted(name for name, paths in self.writes.items() if read.isdisjoint(paths))

    def after(self, tasks: Collection[str]) -> set[str]:
        """Return tasks with all those that need what one of them writes."""
        reached: set[str] = set()
        further = {task for task in tasks if task in self.names}
        while further:
            reached |= further
            written = {path for task in further for path in self.writes.get(task, ())}
            further = {task for task, paths in self.reads.items() if not written.isdisjoint(paths)} - reached
        return reached


class Run:
    """What this process knows; `fresh` maps owners that need no tasks to the number of theirs.

    `building`: this process has the workspace and runs steps. `refreshed` are tasks whose records hold better marks
    than the file of records. `faults` are the tasks that cannot run because of what is declared, each with the
    paragraph that says why; `reasons` is in words why each task runs that was looked at, None when it is up to date.
    """

    def __init__(self) -> None:
        self.request: Request = EVERYTHING
        self.context: Mapping[str, Any] = {}
        self.fresh: Mapping[str, int] = {}
        self.tree_is_known = False
        self.building = False
        self.refreshed: set[str] = set()
        self.faults: dict[str, str] = {}
        self.reasons: dict[str, str | None] = {}
        self._old: Snapshot | None = None
        self._unchanged: set[str] = set()
        self._began = False
        self._everybody: set[str] | None = None
        self._watched: dict[str, dict[str, Marks]] = {}
        self._steps: dict[str, _Steps] = {}

    def begin(
        self, request: Request, context: Mapping[str, Any], recorded: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """Look at the snapshot. What belongs into `context` must be equal for anything in it to hold.

        `recorded` returns the names of all tasks that have a record.
        """
        self.request, self.context, self._began = request, {**context, **_records()}, True
        gc.disable()  # until a step runs: tens of thousands of tasks are made, none of them is garbage
        snapshot = read_snapshot(INDEX)
        if snapshot is None or snapshot.context != self.context:
            return
        changed = find_changed(snapshot, lambda owner: owner in (EVERYBODY, TREE) or request.wants(owner))
        if EVERYBODY in changed:
            return
        self._old, self.tree_is_known = snapshot, TREE not in changed
        self._unchanged = {owner for owner, count in snapshot.tasks.items() if count != NOT_FRESH} - changed
        if request.leftovers:
            self._unchanged -= _with_leftovers(snapshot, recorded())
        if request.default:
            self.fresh = {owner: snapshot.tasks[owner] for owner in snapshot.tasks if owner in self._unchanged}

    def knows_everybody(self) -> bool:
        """Whether nothing has to be looked for: every owner is fresh, and there can be no other."""
        return self._old is not None and self.tree_is_known and len(self.fresh) == len(self._old.tasks)

    def set_owners(self, owners: Iterable[str]) -> None:
        """Say who there is, whether asked for or not."""
        self._everybody = set(owners)
        self.fresh = {owner: count for owner, count in self.fresh.items() if owner in self._everybody}

    def watch(self, owner: str, marks: Mapping[str, Marks]) -> None:
        """Add files and folders from which the tasks of an owner follow, with their marks before they were read."""
        self._watched.setdefault(owner, {}).update(marks)

    def register(self, owner: str, task: str, reads: Iterable[str], writes: Iterable[str]) -> None:
        """Add a task of an owner, with the files that it reads and writes."""
        steps = self._steps.setdefault(owner, _Steps())
        steps.names.add(task)
        steps.reads[task] = tuple(reads)
        steps.writes[task] = tuple(writes)

    def held_up(self) -> set[str]:
        """Return the tasks of every owner who has one that cannot run because of what is declared."""
        return {
            task
            for steps in (self._steps.values() if self.faults else ())
            if not steps.names.isdisjoint(self.faults)
            for task in steps.names
        }

    def cannot_run(self) -> set[str]:
        """Return the tasks that cannot run because of what is declared, with all those that need what they make."""
        return set().union(*(steps.after(self.faults) for steps in self._steps.values())) if self.faults else set()

    def declares_no_more(self, task: str) -> bool:
        """Whether the owner of a task that has been recorded is gone, or has no such task; False in doubt."""
        owner = f"{task}:".split(":")[1]
        if owner in self._steps:
            names = self._steps[owner].names
            return bool(owner) and task not in names and names.isdisjoint(self.faults)
        before: Collection[str] = () if self._old is None else self._old.tasks
        there = before if self._everybody is None else self._everybody
        if not owner or not there or owner in there:
            return False
        # A folder that cannot be searched may hold him.
        doubtful = {name for name, steps in self._steps.items() if not steps.names.isdisjoint(self.faults)}
        declared = any(task in steps.names for steps in self._steps.values())  # by tasks that have no owner
        return not declared and not any(owner.startswith(f"{name}/") for name in doubtful)

    def writes(self, path: str) -> bool:
        """Whether a task of this run writes a file."""
        return any(path in paths for steps in self._steps.values() for paths in steps.writes.values())

    def fresh_ends(self) -> Mapping[str, Sequence[str]]:
        """Return, of everybody who is fresh, the tasks that nothing comes after."""
        return {} if self._old is None else {owner: self._old.ends.get(owner, ()) for owner in self.fresh}

    def mark_up_to_date(self, owner: str, task: str, files: Iterable[str]) -> None:
        """Say that a task is up to date, and by which files one can tell."""
        steps = self._steps.setdefault(owner, _Steps())
        steps.up_to_date.add(task)
        steps.files.update(files)

    def up_to_date(self) -> set[str]:
        """Return the tasks that were found to be up to date, or are it by now."""
        return set().union(*(steps.up_to_date for steps in self._steps.values()))

    def finish(self, failed: Collection[str]) -> None:
        """Write the snapshot of what is known now; without one the next run looks at everything again.

        It will look at the owners of tasks that failed, also where no file tells: their failures are remembered.
        """
        if not self._began or not any(self._steps):
            return
        doubtful = {owner for owner, steps in self._steps.items() if not steps.names.isdisjoint(failed)}
        if not doubtful and self._is_still_true():
            return
        self.context = {**self.context, **_records()}
        with suppress(OSError):
            write_snapshot(INDEX, self._snapshot(doubtful))

    def _is_still_true(self) -> bool:
        """Whether the snapshot says it all: what was asked for by name had not changed."""
        unchanged = self.tree_is_known and self._unchanged.issuperset(filter(None, self._steps))
        return unchanged and self.context == {**self.context, **_records()}

    def _snapshot(self, doubtful: Collection[str]) -> Snapshot:
        complete = {
            owner: steps
            for owner, steps in self._steps.items()
            if owner and owner not in doubtful and steps.up_to_date == steps.names
        }
        old = self._old or Snapshot({}, {}, {}, {})
        # Of an owner that nobody looked at, or not at all of it, what was known before still holds: its files tell. Of
        # one that was looked at in vain nothing is known.
        gone = complete.keys() | (self._steps.keys() if self.request.default else set(doubtful))
        there = old.tasks.keys() if self._everybody is None else self._everybody
        kept = {owner: count for owner, count in old.tasks.items() if owner in there and owner not in gone}
        files = _Files()
        for owners, marks in old.files.items():
            files.add(marks, [owner for owner in owners if owner in kept])
        for owner, steps in complete.items():
            files.add({path: verified.get(path, UNTRUSTED) for path in steps.files}, [owner])
            files.add(self._watched.get(owner, {}), [owner])
        for owner in (EVERYBODY, TREE):
            files.add(self._watched.get(owner, old.files.get((owner,), {})), [owner])
        counts = {owner: len(steps.names) for owner, steps in complete.items()}
        tasks = {**dict.fromkeys(sorted(there), NOT_FRESH), **kept, **counts}
        ends = {owner: old.ends[owner] for owner in kept if owner in old.ends}
        ends |= {owner: steps.ends for owner, steps in complete.items()}
        return Snapshot(self.context, tasks, files.grouped(), ends)


class _Files:
    """Files with their owners and marks, while they are put together."""

    def __init__(self) -> None:
        self.owners: dict[str, set[str]] = {}
        self.marks: dict[str, Marks] = {}

    def add(self, marks: Mapping[str, Marks], owners: Collection[str]) -> None:
        """Add files of some owners."""
        for path, mark in marks.items() if owners else ():
            self.owners.setdefault(path, set()).update(owners)
            # Two that found a file with different marks did not find the same file.
            self.marks[path] = mark if self.marks.get(path, mark) == mark else UNTRUSTED

    def grouped(self) -> dict[tuple[str, ...], dict[str, Marks]]:
        """Return the files of each set of owners."""
        groups: dict[tuple[str, ...], dict[str, Marks]] = {}
        for path, owners in self.owners.items():
            groups.setdefault(tuple(sorted(owners)), {})[path] = self.marks[path]
        return groups


def _with_leftovers(snapshot: Snapshot, recorded: Iterable[str]) -> set[str]:
    """Return the owners who have more records than tasks: which of them are too many, only their tasks tell."""
    counts = Counter(f"{task}:".split(":")[1] for task in recorded)
    return {owner for owner, count in counts.items() if count > snapshot.tasks.get(owner, count)}


def _records() -> dict[str, int]:
    """Return what tells that the records are those of the snapshot: without them everything is built again."""
    try:
        return {"records": os.stat(RECORDS).st_ino}
    except OSError:
        return {"records": 0}


def code_and_libraries() -> Iterator[str]:
    """Yield what the rules are made of: our modules, those beside `dodo.py`, and where libraries are installed.

    Of folders it is the entries that count: a module that is added, a library that is installed or removed.
    """
    for folder, _, files in os.walk(PACKAGE):
        if os.path.basename(folder) != "__pycache__":
            yield folder
            yield from (os.path.join(folder, name) for name in files if name.endswith(".py"))
    yield from _modules_here()
    here = (os.getcwd(), os.path.dirname(PACKAGE))
    yield from (path for path in sys.path if os.path.isdir(path) and os.path.abspath(path) not in here)


def _modules_here() -> Iterator[str]:
    """Yield the modules that were loaded from the repository itself, such as `dodo.py`."""
    here = os.path.join(os.getcwd(), "")
    for module in tuple(sys.modules.values()):
        path = getattr(module, "__file__", None)
        # An environment that lies in the repository (`.venv`) is watched as libraries are, by its folder.
        if isinstance(path, str) and path.startswith(here) and not path.startswith(PACKAGE) and INSTALLED not in path:
            yield path


def has_other_tasks() -> bool:
    """Whether `dodo.py` makes tasks of its own, which may want to know of every task of ours."""
    here = set(_modules_here())
    return any(
        name.startswith("task_") and getattr(value, "__module__", "build_rules.dodo") != "build_rules.dodo"
        for module in tuple(sys.modules.values())
        if getattr(module, "__file__", None) in here
        for name, value in vars(module).items()
    )


def watch_marks(paths: Iterable[str]) -> dict[str, Marks]:
    """Return the marks of files and folders that are about to be read, `ABSENT` for those that are not there."""
    return {path: trusted_marks(path) if os.path.lexists(path) else ABSENT for path in paths}


def watch_code() -> dict[str, Marks]:
    """Return the marks of everything that tasks are made by: our modules, those of the repository, the libraries."""
    ours = set(_modules_here())
    return {path: (trusted_marks if path in ours else installed_marks)(path) for path in code_and_libraries()}


def forget_snapshot() -> None:
    """Let the next run look at everything."""
    if not leads_out(os.path.dirname(INDEX)):
        with suppress(OSError):
            os.unlink(INDEX)


def collect_garbage_again() -> None:
    """Switch the garbage collector on for a step; what there is until now is not looked at again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


current_run = Run()
"""There is one per process: doit loads dodo.py, whose tasks register here, once in it."""
