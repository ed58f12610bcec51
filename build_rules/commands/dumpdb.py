"""`doit dumpdb`: the records of all steps, as they stand in `build/.records.db`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doit.dependency import JSONCodec
from doit.exceptions import InvalidTask

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.engine.freshness.records import RecordsBackend
from build_rules.engine.places import RECORDS
from build_rules.errors import InputError, printable
from build_rules.exit_codes import DONE

__all__ = ["DumpDB"]


class DumpDB(BuildCommand):
    """doit's command `dumpdb`, for the records that we keep."""

    name = "dumpdb"
    doc_purpose = "print the records of all steps"
    doc_usage = ""
    doc_description = f"A line for each step: its name, and its record as JSON, from {RECORDS}. Nothing is changed."
    cmd_options = ()

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Print them in the order of their names."""
        if files:
            raise self.usage_error("takes no name.")
        check_file(Path(RECORDS))
        try:
            for task, record in sorted(RecordsBackend(RECORDS, JSONCodec()).rows()):
                show(f"{printable(str(task))} -> {printable(str(record))}\n")
        except InvalidTask as error:
            raise InputError(str(error)) from error
        return DONE
