"""One rule = one kind of step as doit runs it: the task, what doit is told of it, what happens when it has to run.

Whether it has to is decided in `freshness/decide.py`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.exceptions import BaseFail

from build_rules.engine import messages
from build_rules.engine.cleaning.removal import removal
from build_rules.engine.command_line import command_line
from build_rules.engine.freshness.current_run import collect_garbage_again, current_run
from build_rules.engine.freshness.fingerprint import as_fingerprint, verified
from build_rules.engine.freshness.index import UNTRUSTED
from build_rules.engine.freshness.key import Kind, Step
from build_rules.engine.freshness.records import digests_of, files_of, record_of
from build_rules.engine.places import check_folder
from build_rules.engine.running.changes import Reader, note_agreed
from build_rules.engine.running.failure import DeclaredWrongly, WrongInput, failure_of
from build_rules.engine.running.kept import keeping, kept_by
from build_rules.engine.running.publish import Produced, further_files, produce
from build_rules.engine.running.session import session
from build_rules.errors import InputError, printable

if TYPE_CHECKING:
    from build_rules.engine.cache.of_step import Recall

__all__ = ["Rule", "RunnableStep"]


class Rule(Kind):
    """A kind of step whose steps are tasks of doit."""

    def task(
        self,
        name: str,
        *,
        inputs: Mapping[str, Path | Sequence[Path]],
        outputs: Mapping[str, Path],
        settings: Mapping[str, Any],
        paths: Mapping[str, str | None] | None = None,
        names: Mapping[str, Any] | None = None,
        tools: Mapping[str, str] | None = None,
        passed: Mapping[str, Any] | None = None,
        code: Sequence[str] = (),
        needs: Sequence[tuple[str, int]] = (),
        owner: str = "",
        own_process: bool = False,
        keeps: bool = False,
        fault: str | None = None,
    ) -> dict[str, Any]:
        """Return the doit task of one step. `settings` hold JSON values or frozen dataclasses, nothing else.

        `paths` are settings that say where something lies, of which no more shows in the outputs than what stands in
        `names`. `passed` goes to the function and into no key: no output may depend on it. `code` is what this step is
        made of besides the rule's own, `needs` what it takes besides, or instead of, what the rule says. Steps of one
        `owner` are made together, or, when none of their files has changed, not at all. `own_process`: the step starts
        programs, which must not outlive doit. `keeps`: the function gets a further argument `kept`, the path of a
        folder that it makes when it fails, with what is to be looked at. `fault`: the step cannot run, and this is why;
        what it would read is not looked at.
        """
        step = RunnableStep(
            rule=replace(self, code=(*self.code, *code), needs=(*self.needs, *needs)),
            inputs=dict(inputs) if fault is None else {},
            outputs=dict(outputs),
            settings=dict(settings),
            paths=dict(paths or {}),
            names=dict(names or {}),
            tools=dict(tools or {}),
            passed=dict(passed or {}),
            owner=owner,
            name=f"{self.name}:{name}",
            own_process=own_process,
            keeps=keeps,
            fault=fault,
        )
        reads = [path for paths in step.roles.values() for path in paths]
        writes = [str(path) for path in step.outputs.values()]
        current_run.register(owner, step.name, reads, writes)
        if fault is not None:
            current_run.faults[step.name] = fault
        return {
            "name": name,
            "actions": [step.run],
            "file_dep": reads,
            "targets": writes,
            "uptodate": [step.is_current],
            "clean": [step.clean],
        }


class RunnableStep(Step):
    """A step that can be run."""

    def __repr__(self) -> str:
        """Return the task's name, which doit prints when it cleans."""
        return self.name

    def clean(self, task: Any, dryrun: bool) -> None:
        """`doit clean`: remove the outputs and what lies beside them and belongs to them, or only say so."""
        try:
            for folder in {path.parent for path in self.outputs.values()}:
                check_folder(folder)
        except InputError as error:
            removal.pass_over(str(error))
            return
        if not (dryrun or removal.take_workspace()):
            return
        try:
            further = further_files(self.outputs)
        except OSError as error:  # nor can be told what else is in there
            removal.failed(next(iter(self.outputs.values())).parent, error)
            return
        for path in (*sorted(self.outputs.values(), reverse=True), *further):
            removal.remove(path, self.name, dryrun)
        removal.remove_kept(self.name, dryrun)

    def is_current(self, task: Any, values: Mapping[str, Any]) -> bool:
        """doit's `uptodate`: nothing keeps the step from being up to date; what does is the reason why it runs."""
        from build_rules.engine.freshness.decide import find_causes  # not needed to see that nobody has to be asked

        reason = next(find_causes(self, values), None)
        current_run.reasons[self.name] = None if reason is None else str(reason)
        if reason is not None:
            return False
        current_run.mark_up_to_date(self.owner, self.name, (path for marks in files_of(values) for path in marks))
        read = {path: mark for marks in values["inputs"].values() for path, mark in marks.items()}
        note_agreed(Reader(self.name, self.owner), digests_of(read), digests_of(values["outputs"]))
        self._refresh(values)
        return True

    def _refresh(self, values: Mapping[str, Any]) -> None:
        """Put better marks into the record of a step that was seen to be current by the content of its files."""
        for recorded in files_of(values):
            for path, mark in recorded.items():
                marks, before = verified.get(path, UNTRUSTED), as_fingerprint(mark)
                if marks != UNTRUSTED and (marks != before[:4] or not before.settled):
                    recorded[path] = [*marks, before.sha256, True]
                    current_run.refreshed.add(self.name)

    def run(self) -> dict[str, Any] | BaseFail:
        """doit's action: call the rule's function; return what is to be recorded, or the failure."""
        if self.fault is not None:
            return DeclaredWrongly(printable(self.fault))
        if session.unwritable is not None:  # and the reporter of this run is one that goes on nevertheless
            return WrongInput(printable(str(session.unwritable)))
        collect_garbage_again()
        because = self._because()
        try:
            with session.resources.take(dict(self.rule.needs), lambda reason: messages.waits(self.name, reason)):
                messages.began(self.name)
                produced = self._produce()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # doit would end there, or wait for ever, or exit as if all had succeeded
            return failure_of(error, kept_by(self.name) if self.keeps else None)
        current_run.mark_up_to_date(self.owner, self.name, map(str, (*produced.inputs, *produced.outputs)))
        from build_rules.engine.memory.texts import keep_texts

        keep_texts({str(path): mark.sha256 for path, mark in produced.inputs.items()})
        return record_of(self, produced.inputs, produced.outputs, because)

    def _produce(self) -> Produced:
        with keeping(self.name) if self.keeps else nullcontext() as kept:
            arguments = {**self.settings, **self.paths, **self.passed}
            if kept is not None:
                arguments["kept"] = kept
            recall, reader = self._recall(), Reader(self.name, self.owner)
            return produce(self.rule.name, self._function(), self.inputs, self.outputs, arguments, recall, reader)

    def _recall(self) -> Recall | None:
        """Return what the shared cache may know of this step; None when there is no cache."""
        cache = session.cache
        if cache is None:
            return None
        from build_rules.engine.cache.of_step import Recall

        return Recall(cache, self, lambda: messages.cached(self.name))

    def _function(self) -> Callable[..., Sequence[Path] | None]:
        """Return what does the step: here, or in a process of its own where several run at once or it starts programs.

        Programs that a step starts belong to its process, and end with it when doit is killed.
        """
        if self.own_process or threading.current_thread() is not threading.main_thread():  # as in every parallel run
            from build_rules.engine.running.isolate import call_isolated

            return lambda **arguments: call_isolated(self.rule.function, arguments, self.name)
        module, function = self.rule.function.split(":")
        called: Callable[..., Sequence[Path] | None] = getattr(importlib.import_module(module), function)
        return called

    def _because(self) -> str:
        """Return why this step runs, in words, and print it where the command line asks for it."""
        because = current_run.reasons.get(self.name) or "it was asked for"
        if command_line().explain:
            print(f"   because {printable(because)}", flush=True)
        return because
