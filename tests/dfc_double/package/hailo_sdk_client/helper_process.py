"""Starting what works for the double: the emulator, with the Python that the environment was made by."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from .behaviour import Behaviour
from .exceptions import make

__all__ = ["Hands"]

_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "OMP_NUM_THREADS")


class Hands:
    """A folder for what is handed over, for as long as one call lasts; use it with `with`."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        # In the working directory, where a caller who kills the double looks for what it has left.
        self._folder = tempfile.TemporaryDirectory(prefix=".dfc-double-", dir=str(Path.cwd()))
        self.folder = Path(self._folder.name)

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()

    def work(self, action: str, **request: Any) -> None:
        """Run one action of `helper.py`. Raises the exception it asks for, `RuntimeError` when it broke."""
        path = self.folder / "REQUEST.json"
        path.write_text(json.dumps({"action": action, "folder": str(self.folder), **request}), encoding="utf-8")
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["PYTHONPATH"] = self.behaviour.get("root")
        command = [self.behaviour.get("interpreter"), "-m", "tests.dfc_double.helper", str(path)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=str(self.folder),
            check=False,
        )
        answer = self.folder / "RESULT.json"
        if done.returncode != 0 or not answer.exists():
            text = done.stdout.decode("utf-8", "replace")
            raise RuntimeError(f"the double's helper ended with {done.returncode}: {text[-4000:]}")
        result = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in result:
            raise make(result["error"]["type"], result["error"]["message"])
