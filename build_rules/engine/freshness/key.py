"""One kind of step, and one step: what it reads and writes, and everything that its outputs depend on.

The action key says all of that besides the content of the input files: rule and version, the rule's own code, the
settings it reads, the tools it uses. How a step runs is in `rule.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from build_rules.engine.freshness.current_run import PACKAGE

__all__ = ["Kind", "Step"]


def _modules(place: str) -> list[str]:
    """Return the modules of one module or package, relative to our own package, in order of name."""
    if place.endswith(".py"):
        return [place]
    found = []
    with os.scandir(os.path.join(PACKAGE, place)) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                found.append(f"{place}/{entry.name}")
            elif entry.is_dir() and entry.name != "__pycache__":
                found += _modules(f"{place}/{entry.name}")
    return sorted(found)


@cache
def _source_digest(place: str) -> str:
    """Digest of one module or one package, by name and content of everything in it."""
    sha = hashlib.sha256()
    for module in _modules(place):
        with open(os.path.join(PACKAGE, module), "rb", buffering=0) as stream:
            sha.update(module.encode() + b"\0" + stream.read() + b"\0")
    return sha.hexdigest()


@dataclass(frozen=True)
class Kind:
    """A kind of step.

    `function` is `module:name`, imported only when a step really runs, and called with the step's inputs, outputs and
    settings as keyword arguments. `code` lists the modules and packages of ours that it is made of; `version` is
    raised when results change for another reason. `needs` is what one step takes of what the machine has (`cores`,
    `memory_mb`) or of what the settings count (licences).
    """

    name: str
    function: str
    code: tuple[str, ...]
    version: int = 1
    needs: tuple[tuple[str, int], ...] = ()

    def code_digest(self) -> str:
        """Digest of everything in `code`."""
        return hashlib.sha256("".join(map(_source_digest, self.code)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True)
class Step:
    """One step of one model: a rule with its files and settings.

    `own_process`: it starts programs, which must end when doit does, however that ends. `fault`: it cannot run, because
    of what is declared; the paragraph that says why.
    """

    rule: Kind
    inputs: dict[str, Path | Sequence[Path]]
    outputs: dict[str, Path]
    settings: dict[str, Any]
    tools: dict[str, str] = field(default_factory=dict)
    passed: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    name: str = ""
    own_process: bool = False
    fault: str | None = None

    def input_files(self) -> list[Path]:
        """Return every input file, in the order declared."""
        groups = ([value] if isinstance(value, Path) else list(value) for value in self.inputs.values())
        return [path for group in groups for path in group]

    def key(self) -> dict[str, Any]:
        """Return the action key, without the content of the input files; JSON values only."""
        plain = {
            "rule": self.rule.name,
            "function": self.rule.function,
            "version": self.rule.version,
            "code": self.rule.code_digest(),
            "settings": {key: _plain(value) for key, value in self.settings.items()},
            "tools": self.tools,
            # Which file is what, and in which order; their content is compared apart from the key.
            "inputs": {
                key: str(value) if isinstance(value, Path) else [*map(str, value)] for key, value in self.inputs.items()
            },
        }
        # Through JSON and back, because that is what the record went through: tuples become lists.
        decoded: dict[str, Any] = json.loads(json.dumps(plain))
        return decoded
