"""`doit report [MODEL...]`: a page that people look at, `build/report/index.html`, and one for each model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from doit.exceptions import InvalidCommand

from build_rules.commands.command import show
from build_rules.commands.task_command import Steps, TaskCommand
from build_rules.engine.places import BUILD, make_folder
from build_rules.engine.standard_streams import say
from build_rules.errors import InputError, printable
from build_rules.exit_codes import DONE

if TYPE_CHECKING:
    from build_rules.commands.progress_line import ProgressLine
    from build_rules.comparison.comparison_inputs import ComparisonInputs
    from build_rules.declared.model import Model
    from build_rules.report_page.told import ToldModel

__all__ = ["Report"]

FOLDER = Path(BUILD) / "report"


class Report(TaskCommand):
    """doit's command `report`."""

    name = "report"
    doc_purpose = "make a page to look at: all models, presets compared, what each one finds"
    doc_usage = "[MODEL...]"
    doc_description = (
        f"Writes {FOLDER}/index.html, the table of all models, and a page for each MODEL (a pattern such as 'team/*'; "
        "without one, every model): which preset to take and why, what float and each preset find in pictures, the "
        "cut, the calibration images, every output in numbers, the executables, what they were built from. Pages "
        "hold all they show and open from disk. Nothing is built; what has not been compared since it was built is "
        "compared, as `doit compare` does. Needs the extra 'report' (pip install 'hailo-build-rules[report]')."
    )
    cmd_options = ()

    def _execute(self, pos_args: list[str]) -> int:
        from build_rules.report_page.render_pages import check_renderer

        try:
            check_renderer()
            steps = self.steps()
            models = self._make(steps, pos_args)
        except InputError as error:
            raise InvalidCommand(f"doit {self.name}: {error}") from error
        finally:
            self.finish()
        show(printable(f"{FOLDER / 'index.html'}: {models} of {_plural(self._models, 'model')}") + "\n")
        return DONE

    def _make(self, steps: Steps, patterns: Sequence[str]) -> int:
        """Make the page of each wanted model, then the first one; return how many were wanted."""
        from build_rules.commands.report_facts import tell_models
        from build_rules.report_page.gather_index import gather_index
        from build_rules.report_page.page_names import HOME, page_file
        from build_rules.report_page.render_pages import render_index
        from build_rules.report_page.write_report import write_page

        told = tell_models(steps)
        self._models = len(told)
        wanted = _wanted([model.name for model in told], patterns)
        listed = []
        for number, model in enumerate(told, start=1):
            if model.name in wanted:
                say(sys.stderr, printable(f"{model.name} ({number} of {len(told)})") + "\n")
            listed.append(self._make_page(model, steps) if model.name in wanted else self._as_it_lies(model))
        page = render_index(gather_index(listed, lambda name: (FOLDER / page_file(name)).is_file()))
        make_folder(FOLDER)
        write_page(FOLDER / HOME, page)
        return len(wanted)

    def _make_page(self, told: ToldModel, steps: Steps) -> ToldModel:
        """Write the page of a model, unless it is there as it would be; return what the table of all says of it."""
        from build_rules import workspace as ws
        from build_rules.commands.progress_line import ProgressLine
        from build_rules.commands.report_comparisons import gather_all
        from build_rules.commands.report_facts import page_key, with_sources
        from build_rules.report_page.page_names import page_file
        from build_rules.report_page.render_pages import is_made_from

        (model,) = (model for model in ws.find_workspace_models() if model.name == told.name)
        line = ProgressLine()
        chips, not_compared = gather_all(model, steps)
        told = replace(with_sources(told, steps), not_compared=not_compared)
        key = page_key(told, steps, chips)
        place = FOLDER / page_file(told.name)
        is_new = not is_made_from(place, key)
        told = self._measured(told, model, chips, line, whole=is_new)
        if is_new:
            self._write_page(place, key, told, line)
        return told

    def _measured(
        self, told: ToldModel, model: Model, chips: Sequence[ComparisonInputs], line: ProgressLine, *, whole: bool
    ) -> ToldModel:
        """Return a model with its comparisons; `whole`: with objects in images and what layers cost as well."""
        from concurrent.futures import ThreadPoolExecutor

        from build_rules.commands.report_comparisons import compare_all, tell_layers
        from build_rules.commands.report_objects import tell_objects
        from build_rules.inference import load_onnxruntime

        if chips:
            load_onnxruntime()  # before there are two threads that would
        with ThreadPoolExecutor(max_workers=1) as beside:  # a comparison by the emulator keeps one core busy
            layers = beside.submit(tell_layers, model, chips) if whole else None
            comparisons, fault = compare_all(model, chips, line.tell)
            told = replace(told, comparisons=comparisons, not_compared=told.not_compared or fault)
            if layers is None or not chips:
                return told
            try:
                detected, drawn_from = tell_objects(chips[0])
                told = replace(told, detected=detected, drawn_from=drawn_from)
            except InputError as error:
                told = replace(told, no_objects=str(error))
            return replace(told, layers=layers.result())

    def _write_page(self, place: Path, key: str, told: ToldModel, line: ProgressLine) -> None:
        from build_rules.report_page.gather_model import gather_model
        from build_rules.report_page.render_pages import render_model
        from build_rules.report_page.write_report import write_page

        line.end()
        make_folder(place.parent)
        write_page(place, render_model(gather_model(told), key))

    def _as_it_lies(self, told: ToldModel) -> ToldModel:
        """Return a model that is not asked for, with what was compared before."""
        from build_rules.commands.report_comparisons import known_comparisons

        return replace(told, comparisons=known_comparisons(told))


def _wanted(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the models that patterns name; without any, all. Raises `InputError` for one that names none."""
    import difflib

    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.6)
            advice = f"; did you mean {' or '.join(near)}?" if near else "; `doit status` lists all."
            raise InputError(f"no model is called {pattern}{advice}")
    return {name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)}


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"
