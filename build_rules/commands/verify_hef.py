"""`doit verify-hef FILE...`: whether HEF files are undamaged and their metadata true, as an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import WRONG_INPUT, BuildCommand, check_file, show
from build_rules.errors import InputError, printable

__all__ = ["VerifyHef"]

UNSOUND = 1


class VerifyHef(BuildCommand):
    """doit's command `verify-hef`."""

    name = "verify-hef"
    doc_purpose = "check that HEF files are undamaged and described rightly"
    doc_usage = "FILE.hef..."
    doc_description = (
        "Checks length, checksums, message, ZIP, and every statement of the metadata against the streams. Exit code 0: "
        "nothing is wrong (a file without metadata is sound); 1: a file is damaged, or a reader would decode it "
        "wrongly; 3: there is no such file."
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Check one file after the other."""
        if not files:
            raise self.usage_error("needs at least one file.")
        return max([self._verify(file) for file in files])

    def _verify(self, path: Path) -> int:
        from build_rules.commands.describe_hef import problem_facts
        from build_rules.metadata.embedded import examine

        try:
            check_file(path)
        except InputError as fault:
            show(f"{printable(str(fault))}\n")
            return WRONG_INPUT
        try:
            examined = examine(path)
        except InputError as fault:
            show(f"{printable(str(fault))}\n")
            return UNSOUND
        for problem in problem_facts(examined):
            place = f" {problem['path']}" if problem["path"] else ""
            show(printable(f"{path}: {problem['severity']}:{place} {problem['text']}") + "\n")
        if not examined.is_sound:
            return UNSOUND
        described = "no metadata" if examined.document is None else f"metadata of {len(examined.pairs)} outputs"
        show(
            printable(f"{path}: sound, {examined.hef.hw_arch}, {described} ({examined.hef.container.embedding})") + "\n"
        )
        return 0
