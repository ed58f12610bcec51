"""Ctrl-C while networks run: threads that compute would be waited for, so the process ends instead."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

from build_rules.engine.standard_streams import say
from build_rules.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    from build_rules.declared.model import Model

__all__ = ["end_at_once"]


def end_at_once(model: Model) -> None:
    """From now on end on Ctrl-C, whatever threads are doing, as long as work is done for a model.

    A compiler that starts programs ends these itself, so with one of those Ctrl-C is what it always is.
    """
    from build_rules import workspace as ws

    is_here = model.is_prebuilt or not ws.compiling(model).compiler.starts_programs
    signal.signal(signal.SIGINT, _end if is_here else signal.default_int_handler)


def _end(*_: object) -> None:
    from build_rules.commands.compare_inputs import scratch_folders

    for folder in scratch_folders:
        shutil.rmtree(folder, ignore_errors=True)
    say(sys.stderr, "\ninterrupted\n")
    os._exit(INTERRUPTED)
