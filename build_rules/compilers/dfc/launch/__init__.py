"""How the worker (`compilers/dfc/dfc_worker.py`) is run: by an interpreter, in a container, or behind a command prefix.

=================  ==========================================================================
`work.py`          what is asked for, what comes back, and what may go wrong
`invocation.py`    all of it: `run_worker`
`run_folder.py`    what lies in the folder of one run, and what of it is kept?
`start.py`         which command starts it, and what are the paths on its side?
`image.py`         which image is it, and how does docker or podman run it?
`child.py`         a process that may hang, chatter without end, ask for a password, or outlive us
`lines.py`         what it prints, as lines, within bounds
`tar_stream.py`    files that are sent there and back
`outcome.py`       what does it mean that it ended as it did?
=================  ==========================================================================
"""

from __future__ import annotations

from build_rules.compilers.dfc.launch.image import find_image
from build_rules.compilers.dfc.launch.invocation import run_worker
from build_rules.compilers.dfc.launch.start import environment_here
from build_rules.compilers.dfc.launch.work import Done, Work, WorkerFailure

__all__ = ["Done", "Work", "WorkerFailure", "environment_here", "find_image", "run_worker"]
