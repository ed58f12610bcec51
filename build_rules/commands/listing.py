"""`doit list` and `doit info`: doit's own commands, printing as ours do; `doit list | head` is no error."""

from __future__ import annotations

import sys
from typing import Any

from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList

from build_rules.engine.encoding import insist_on_utf8
from build_rules.engine.report.streams import never_fail_to_print

__all__ = ["Info", "List"]

# doit takes hold of the stream before it loads dodo.py, with which other commands get this.
insist_on_utf8()
never_fail_to_print()


class List(DoitList):  # type: ignore[misc]  # doit has no type hints
    """doit's command `list`."""

    name = "list"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.outstream = sys.stdout


class Info(DoitInfo):  # type: ignore[misc]  # doit has no type hints
    """doit's command `info`."""

    name = "info"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.outstream = sys.stdout
