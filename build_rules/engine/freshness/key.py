"""One kind of step, and one step: what it reads and writes, and its two keys, which say what its outputs depend on.

Both hold the rule and its version, the rule's own code, the settings it reads and the tools it uses. The record key
is compared with what the last run here recorded; it says where things lie, and the inputs are compared apart from it,
each by path and content. The cache key is a digest with which any machine asks for the same outputs; it says what the
inputs hold and what each of them is read as, and nothing of where they lie but the names that show in an output.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import build_rules

__all__ = ["DISCOVERED", "PACKAGE", "Kind", "Step", "variant_key"]

PACKAGE = os.path.dirname(os.path.abspath(build_rules.__file__))
DISCOVERED = "discovered"
"""The role, in records, of what a step read without having declared it."""


def _modules(place: str) -> list[str]:
    """Return the modules of one module or package, relative to our own package, in order of name."""
    if place.endswith(".py"):
        return [place]
    modules = []
    with os.scandir(os.path.join(PACKAGE, place)) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                modules.append(f"{place}/{entry.name}")
            elif entry.is_dir() and entry.name != "__pycache__":
                modules += _modules(f"{place}/{entry.name}")
    return sorted(modules)


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

    `settings` decide what the outputs are. `paths` are settings, too, that say where something lies: another place
    makes the step run, but no more of it shows in an output than what stands in `names`. `passed` decides nothing.
    `own_process`: it starts programs, which must end when doit does, however that ends. `keeps`: it is told
    where to leave what is to be looked at when it fails. `fault`: it cannot run, because of what is declared; the
    paragraph that says why.
    """

    rule: Kind
    inputs: dict[str, Path | Sequence[Path]]
    outputs: dict[str, Path]
    settings: dict[str, Any]
    paths: dict[str, str | None] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    passed: dict[str, Any] = field(default_factory=dict)
    owner: str = ""
    name: str = ""
    own_process: bool = False
    keeps: bool = False
    fault: str | None = None

    def input_files(self) -> list[Path]:
        """Return every input file, in the order declared."""
        return [path for role in self.inputs for path in self._of_role(role)]

    @cached_property
    def roles(self) -> dict[str, list[str]]:
        """The paths of the inputs as text, by role (what the function calls them), in the order declared."""
        return {role: [*map(str, self._of_role(role))] for role in self.inputs}

    @cached_property
    def key(self) -> dict[str, Any]:
        """The record key: what the outputs depend on besides the input files; JSON values only."""
        settings = {**self.settings, **self.paths}
        plain = {
            "rule": self.rule.name,
            "function": self.rule.function,
            "version": self.rule.version,
            "code": self.rule.code_digest(),
            "settings": {name: _plain(value) for name, value in settings.items()},
            "tools": self.tools,
        }
        # Through JSON and back, because that is what the record went through: tuples become lists.
        decoded: dict[str, Any] = json.loads(json.dumps(plain))
        return decoded

    def cache_key(self, digests: Mapping[str, str]) -> str:
        """Return the cache key in hex; `digests` maps every input's path, as text, to its SHA-256.

        No path is in it: inputs are told apart by role and position, and of their names counts what `names` says. A
        checkout elsewhere, and a model that was moved, have the same key.
        """
        settings = {name: value for name, value in self.key["settings"].items() if name not in self.paths}
        inputs = {role: [digests[path] for path in paths] for role, paths in self.roles.items()}
        return _digest({**self.key, "settings": settings, "names": self.names, "inputs": inputs})

    def place_of(self, discovered: Path) -> str | None:
        """Return where a file lies that the step turned out to read, as any checkout would say; None for elsewhere.

        That is a role or the name of a path, a slash, and the rest of the way from there. A step finds further files
        beside an input, or in a folder that it was given.
        """
        for start, folder in self._starts():
            if discovered.is_relative_to(folder) and ".." not in (rest := discovered.relative_to(folder)).parts:
                return f"{start}/{rest}"
        return None

    def find_place(self, place: str) -> Path | None:
        """Return the file that another checkout calls so; None when this step looks for none there."""
        start, _, rest = place.partition("/")
        path = Path(rest)
        folder = next((folder for name, folder in self._starts() if name == start), None)
        return None if folder is None or path.is_absolute() or ".." in path.parts else folder / path

    def _starts(self) -> Iterator[tuple[str, Path]]:
        for role, path in self.inputs.items():
            if isinstance(path, Path):
                yield role, path.parent
        for name, text in self.paths.items():
            if text is not None:
                yield name, Path(text)

    def _of_role(self, role: str) -> Sequence[Path]:
        value = self.inputs[role]
        return (value,) if isinstance(value, Path) else value


def variant_key(cache_key: str, discovered: Iterable[tuple[str, str]]) -> str:
    """Return the cache key of a step that reads these further files (place, SHA-256); without any, the step's own."""
    further = dict(discovered)
    return _digest({"step": cache_key, "discovered": further}) if further else cache_key


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
