"""`doit inspect FILE`: what is inside a .hef, .har, .alls, .onnx or .safetensors, as text or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.errors import printable

__all__ = ["Inspect"]


class Inspect(BuildCommand):
    """doit's command `inspect`."""

    doc_purpose = "show what is inside a .hef, .har, .alls, .onnx or .safetensors"
    doc_usage = "[--json] [--map] [--extract DIR] FILE"
    doc_description = (
        "Works on any such file from anywhere. --extract writes what a .hef carries (edgefirst.json, labels.txt) into "
        "a folder and, as compiled.hef, the file as its compiler wrote it; it overwrites nothing there. --map shows "
        "the layers of a .hef or .har by all their names: ONNX nodes, HN layer, stream, role; with scale (how many "
        "input pixels a cell covers), bits and activation."
    )
    cmd_options = (
        {"name": "json", "short": "", "long": "json", "type": bool, "default": False, "help": "print JSON"},
        {"name": "map", "short": "", "long": "map", "type": bool, "default": False, "help": "show the layers' names"},
        {"name": "extract", "short": "", "long": "extract", "type": str, "default": "", "help": "the folder to fill"},
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Print one file."""
        if len(files) != 1:
            raise self.usage_error("needs exactly one file.")
        check_file(files[0])
        if options["extract"]:
            from build_rules.commands.extract import extract

            for path in extract(files[0], Path(options["extract"])):
                show(f"{printable(str(path))}\n")
            return 0

        if options["map"]:
            from build_rules.commands.layer_map import show_map

            show(show_map(files[0], as_json=options["json"]))
            return 0

        from build_rules.commands.describe import describe
        from build_rules.commands.render import render_json, render_text

        facts = describe(files[0])
        show(render_json(facts) if options["json"] else render_text(facts))
        return 0
