"""`doit inspect FILE`: what is inside a .hef, .har, .alls, .onnx or .safetensors, as text or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import BuildCommand, check_file, show

__all__ = ["Inspect"]


class Inspect(BuildCommand):
    """doit's command `inspect`."""

    doc_purpose = "show what is inside a .hef, .har, .alls, .onnx or .safetensors"
    doc_usage = "[--json] FILE"
    doc_description = None
    cmd_options = ({"name": "json", "short": "", "long": "json", "type": bool, "default": False, "help": "print JSON"},)

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Print one file."""
        if len(files) != 1:
            raise self.usage_error("needs exactly one file.")
        check_file(files[0])

        from build_rules.commands.describe import describe
        from build_rules.commands.render import render_json, render_text

        facts = describe(files[0])
        show(render_json(facts) if options["json"] else render_text(facts))
        return 0
