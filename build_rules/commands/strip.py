"""`doit strip FILE.hef --output OUT.hef`: the HEF as the compiler wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.errors import printable

__all__ = ["Strip"]


class Strip(BuildCommand):
    """doit's command `strip`."""

    doc_purpose = "take off what was added to a HEF"
    doc_usage = "FILE.hef --output OUT.hef"
    doc_description = (
        "Writes the HEF without the ZIP that was appended or sealed in, byte for byte as the compiler wrote it; what "
        "else follows its end is cut off too. OUT may be FILE."
    )
    cmd_options = (
        {"name": "output", "short": "o", "long": "output", "type": str, "default": "", "help": "the .hef to write"},
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Write one file."""
        if len(files) != 1 or not options["output"]:
            raise self.usage_error("needs exactly one file and --output.")
        check_file(files[0])
        target = Path(options["output"])

        from build_rules.hef import strip

        before = files[0].stat().st_size
        strip(files[0], target)
        show(printable(f"{target}: {target.stat().st_size} bytes, {before - target.stat().st_size} less") + "\n")
        return 0
