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
        """Write the page of a model; return what the table of all says of it."""
        from build_rules.commands.report_facts import with_all
        from build_rules.report_page.gather_model import gather_model
        from build_rules.report_page.page_names import page_file
        from build_rules.report_page.render_pages import render_model
        from build_rules.report_page.write_report import write_page

        whole = with_all(told, steps)
        place = FOLDER / page_file(told.name)
        make_folder(place.parent)
        write_page(place, render_model(gather_model(whole)))
        return replace(told, comparisons=whole.comparisons)

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
