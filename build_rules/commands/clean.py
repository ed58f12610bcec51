"""`doit clean [TASK...]`: doit's own command, which also says when something could not be removed."""

from __future__ import annotations

import sys
from typing import Any

from doit.cmd_clean import Clean as DoitClean

from build_rules.engine.removal import removal
from build_rules.engine.report.streams import say
from build_rules.errors import printable

__all__ = ["Clean"]


class Clean(DoitClean):  # type: ignore[misc]  # doit has no type hints
    """doit's command `clean` with an exit code: 1 when something is still there that it was to remove."""

    name = "clean"

    def _execute(
        self, dryrun: bool, cleandep: bool, cleanall: bool, cleanforget: bool, pos_args: list[str] | None = None
    ) -> Any:
        self.outstream = sys.stdout  # doit's own may be closed or full, which is no reason to stop half-way
        code = super()._execute(dryrun, cleandep, cleanall, cleanforget, pos_args)
        if told := removal.told():
            say(sys.stderr, f"ERROR: {printable(told)}\n")
            return 1
        return code
