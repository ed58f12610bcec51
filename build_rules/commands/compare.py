"""`doit compare MODEL [IMAGES...]`: float and every preset side by side, and which preset to take."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidCommand

from build_rules.commands.command import BuildCommand, show
from build_rules.commands.end_at_once import end_at_once
from build_rules.commands.task_command import TaskCommand, as_json
from build_rules.errors import InputError
from build_rules.exit_codes import DONE

if TYPE_CHECKING:
    from build_rules.commands.compare_inputs import Asked
    from build_rules.commands.progress_line import ProgressLine
    from build_rules.comparison.measured import Comparison
    from build_rules.declared.model import Model

__all__ = ["Compare"]

FLAGS = (
    ("json", "print JSON"),
    ("layers", "tell what each layer costs, and what would help it"),
    ("mixed", "find the fewest layers whose 16 bits bring back what is lost"),
    ("write", "with --mixed: write the lines into model.toml"),
    ("uncut", "tell what the cut buys: quantize the graph with its tail, too"),
)


class Compare(BuildCommand, TaskCommand):
    """doit's command `compare`: of a model with what dodo.py has made of it, of HARs without any."""

    name = "compare"
    doc_purpose = "compare what each preset finds with what the float network finds, and say which one to take"
    doc_usage = "MODEL [IMAGES...] | FILE.har... IMAGES..."
    doc_description = (
        "Runs the float network and every preset on calibration images and on held-out ones (IMAGES: files, folders, "
        "patterns; without any, those of [compare] in model.toml), and tells how far the objects that are found "
        "agree, what each output loses, and the answers to the accuracy checklist. With a truth it compares with that, "
        "too. Presets that no target builds are quantized for the comparison, which takes as long as building them. "
        "Nothing is built. Named HARs may be of either compiler; their model's build lies around the first one."
    )
    cmd_options = (
        *({"name": n, "short": "", "long": n, "type": bool, "default": False, "help": told} for n, told in FLAGS),
        {
            "name": "truth",
            "short": "",
            "long": "truth",
            "type": str,
            "default": "",
            "help": "what is in the images: a folder of YOLO labels, or a COCO JSON",
        },
    )

    def execute(self, opt_values: Mapping[str, Any], pos_args: Sequence[str]) -> int:
        """Called by doit with the parsed options: HARs need no dodo.py, a model does."""
        if not pos_args or pos_args[0].lower().endswith(".har"):
            return BuildCommand.execute(self, opt_values, pos_args)
        code: int = TaskCommand.execute(self, opt_values, pos_args)
        return code

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Compare HARs."""
        if not files:
            raise self.usage_error("needs a model, or HARs and images.")
        from build_rules.commands.compare_hars import compare_hars

        for flag in ("layers", "mixed", "write", "uncut"):
            if options[flag]:
                raise self.usage_error(f"--{flag} is about a model; name that in the place of a HAR.")
        truth = _path(options["truth"])
        return self._show(lambda line: _told([compare_hars(files, truth, line.tell)], options["json"], ()))

    def _execute(
        self, pos_args: list[str], json: bool, layers: bool, mixed: bool, write: bool, uncut: bool, truth: str
    ) -> int:
        from build_rules.commands.compare_inputs import Asked

        try:
            if write and not mixed:
                raise self.usage_error("--write goes with --mixed.")
            if layers + mixed + uncut > 1:
                raise self.usage_error("--layers, --mixed and --uncut are asked for one by one.")
            model = _find_model(pos_args[0])
            asked = Asked(tuple(map(Path, pos_args[1:])), _path(truth))
            if layers and not asked.is_usual:
                raise self.usage_error("--layers measures on calibration images; it takes no others, and no truth.")
            end_at_once(model)
            if layers:
                return self._show(lambda line: self._layers(model, json, line))
            if mixed:
                return self._show(lambda line: self._mixed(model, asked, write, json, line))
            if uncut:
                return self._show(lambda line: self._uncut(model, asked, json, line))
            return self._show(lambda line: self._compare(model, asked, json, line))
        except InputError as error:
            raise InvalidCommand(str(error)) from error
        finally:
            self.finish()

    def _show(self, made: Callable[[ProgressLine], str]) -> int:
        """Print what is made, when the line that tells how far that is has gone."""
        from build_rules.commands.progress_line import ProgressLine

        line = ProgressLine()
        try:
            told = made(line)
        finally:
            line.end()
        show(told)
        return DONE

    def _compare(self, model: Model, asked: Asked, json: bool, line: ProgressLine) -> str:
        from build_rules.commands.compare_inputs import class_names, compare, gather, kept_at

        compared = []
        for inputs in gather(model, self.steps(), asked):
            kept = kept_at(model, inputs) if asked.is_usual else None
            compared.append(compare(inputs, kept, line.tell))
        return _told(compared, json, class_names(model))

    def _layers(self, model: Model, json: bool, line: ProgressLine) -> str:
        from build_rules import workspace as ws
        from build_rules.commands.compare_layers import layers_text, search_inputs

        target, inputs = search_inputs(model, ws.compiling(model).compiler, lambda text: line.tell(0, 0, text))
        return layers_text(target, inputs, json)

    def _mixed(self, model: Model, asked: Asked, write: bool, json: bool, line: ProgressLine) -> str:
        from build_rules import workspace as ws
        from build_rules.commands.compare_inputs import gather
        from build_rules.commands.compare_layers import search_inputs
        from build_rules.commands.compare_mixed import mixed_text

        compiler, chip = ws.compiling(model).compiler, next(gather(model, self.steps(), asked))
        held_out = next((each.images for each in chip.sets if each.name == "held-out"), None)
        target, inputs = search_inputs(
            model, compiler, lambda text: line.tell(0, 0, text), hw_arch=chip.hw_arch, held_out=held_out
        )
        return mixed_text(target, inputs, model.folder / ws.DECLARATION, write=write, as_json=json)

    def _uncut(self, model: Model, asked: Asked, json: bool, line: ProgressLine) -> str:
        from build_rules.commands.compare_uncut import uncut_text

        return uncut_text(model, self.steps(), asked, json, line)


def _told(compared: Sequence[Comparison], json: bool, names: Sequence[str]) -> str:
    from build_rules.commands.compare_text import comparison_text
    from build_rules.comparison.kept_comparison import dump

    if json:
        return as_json([{**dump(each), "class_names": list(names)} for each in compared])
    return "\n\n".join(comparison_text(each, names) for each in compared)


def _find_model(name: str) -> Model:
    """Return the model of a name. Raises `InputError` with those that may be meant."""
    from build_rules import workspace as ws

    models = {model.name: model for model in ws.find_workspace_models()}
    if name in models:
        return models[name]
    near = difflib.get_close_matches(name, models, n=3, cutoff=0.6)
    advice = f"; did you mean {' or '.join(near)}?" if near else "; `doit status` lists all."
    raise InputError(f"no model is called {name}{advice}")


def _path(text: str) -> Path | None:
    return Path(text) if text else None
