"""`doit dumpdb`: the records of all steps, as they stand in `build/.records.db`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.engine.fresh import RECORDS
from build_rules.errors import InputError, printable

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
            connection = sqlite3.connect(f"{Path(RECORDS).absolute().as_uri()}?mode=ro", uri=True)
            for task, record in connection.execute("select task, record from records order by task"):
                show(f"{printable(str(task))} -> {printable(str(record))}\n")
            connection.close()
        except sqlite3.Error as error:
            raise InputError(f"{RECORDS}: cannot be read as the records of steps ({error}).") from error
        return 0
