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
from build_rules.commands.end_at_once import end_at_once
from build_rules.commands.task_command import Steps, TaskCommand
from build_rules.engine.places import BUILD, make_folder
from build_rules.engine.standard_streams import say
from build_rules.errors import InputError, printable
from build_rules.exit_codes import DONE

if TYPE_CHECKING:
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
        from build_rules import workspace as ws
        from build_rules.commands.progress_line import ProgressLine
        from build_rules.commands.report_facts import tell_models
        from build_rules.report_page.gather_index import gather_index
        from build_rules.report_page.page_names import HOME, page_file
        from build_rules.report_page.render_pages import render_index
        from build_rules.report_page.write_report import write_page

        models = {model.name: model for model in ws.find_workspace_models()}
        told = tell_models(models.values(), steps)
        self._models = len(told)
        wanted = _wanted([*models], patterns)
        listed, line = [], ProgressLine()
        for number, each in enumerate(told, start=1):
            model, is_wanted = models[each.name], each.name in wanted
            end_at_once(model)
            if is_wanted:
                say(sys.stderr, printable(f"{model.name} ({number} of {len(told)})") + "\n")
            else:
                line.tell(number, len(told), "what was compared before")
            listed.append(_make_page(each, model, steps) if is_wanted else _as_it_lies(each, model, steps))
        line.end()
        page = render_index(gather_index(listed, lambda name: (FOLDER / page_file(name)).is_file()))
        make_folder(FOLDER)
        write_page(FOLDER / HOME, page)
        return len(wanted)


def _make_page(told: ToldModel, model: Model, steps: Steps) -> ToldModel:
    """Write the page of a model, unless it is there as it would be; return what the table of all says of it."""
    from concurrent.futures import ThreadPoolExecutor

    from build_rules.commands.progress_line import ProgressLine
    from build_rules.commands.report_comparisons import compare_all, tell_layers
    from build_rules.commands.report_objects import tell_objects
    from build_rules.inference import load_onnxruntime
    from build_rules.report_page.gather_model import gather_model
    from build_rules.report_page.page_names import page_file
    from build_rules.report_page.render_pages import is_made_from, render_model
    from build_rules.report_page.write_report import write_page

    told, chips, key = _known(told, model, steps)
    place, line = FOLDER / page_file(told.name), ProgressLine()
    is_there = is_made_from(place, key)
    # What one of the two computes on one core alone, the other has the rest for.
    if chips:
        load_onnxruntime()  # before there are two threads that would
    with ThreadPoolExecutor(max_workers=1) as beside:
        layers = None if is_there else beside.submit(tell_layers, model, chips)
        comparisons, fault = compare_all(model, chips, line.tell)
        told = replace(told, comparisons=comparisons, not_compared=told.not_compared or fault)
        if layers is not None:
            line.tell(0, 0, "objects in images, and what layers cost")
            detected = tuple(tell_objects(chip) for chip in chips)
            told = replace(told, detected=detected, layers=layers.result())
    line.end()
    if not is_there:
        make_folder(place.parent)
        write_page(place, render_model(gather_model(told), key))
    return told


def _known(told: ToldModel, model: Model, steps: Steps) -> tuple[ToldModel, tuple[ComparisonInputs, ...], str]:
    """Return what is told of a model without running it, what can be compared of it, and the key of its page."""
    from build_rules.commands.report_comparisons import gather_all
    from build_rules.commands.report_facts import page_key, with_sources

    chips, not_compared = gather_all(model, steps)
    told = replace(with_sources(told, steps), not_compared=not_compared)
    return told, chips, page_key(told, steps, chips)


def _as_it_lies(told: ToldModel, model: Model, steps: Steps) -> ToldModel:
    """Return a model that is not asked for, with what was compared before and still holds."""
    from build_rules.commands.compare_inputs import KEPT
    from build_rules.commands.report_comparisons import kept_comparisons
    from build_rules.report_page.page_names import page_file
    from build_rules.report_page.render_pages import is_made_from

    place = FOLDER / page_file(told.name)
    if not place.is_file() and not any((target.arch_folder / KEPT).is_file() for target in told.targets):
        return told
    told, chips, key = _known(told, model, steps)
    return replace(told, comparisons=kept_comparisons(model, chips), is_old=not is_made_from(place, key))


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
