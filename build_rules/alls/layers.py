"""Which layers a value of a script means: whole names, short ones, globs in braces, ONNX nodes, and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import NoReturn

from build_rules.alls.script import NOTHING, Glob, Name, Origin, Statement, Value, show_value

__all__ = ["Fail", "Layers"]

MAX_SHOWN = 200
"""Characters of a name in a message; one in a script may take the whole file."""
Fail = Callable[[str], NoReturn]
"""Refuses a statement; whoever reads it says file and line."""


@dataclass(frozen=True)
class Layers:
    """The layers of a network that scripts may name.

    `origins` are the names of the ONNX nodes that a layer (`net/conv1`) was made from. `added` are layers that the
    script itself makes, which exist from then on and have no more than a name.
    """

    net: str
    origins: Mapping[str, tuple[str, ...]]
    added: frozenset[str] = field(default_factory=frozenset)

    def after(self, statement: Statement) -> Layers:
        """Return the layers that there are once a statement was obeyed."""
        made = {self.scoped(name) for name in statement.targets if name != NOTHING}
        return replace(self, added=self.added | made) if made else self

    def scoped(self, name: str) -> str:
        """Return a layer's whole name; the scope, the network's name, may be left out."""
        return name if "/" in name else f"{self.net}/{name}"

    def find(self, value: Value, fail: Fail) -> tuple[str, ...]:
        """Return the whole names of the layers that a value means, each once, without those that the script adds."""
        if isinstance(value, tuple):
            return tuple(dict.fromkeys(name for item in value for name in self.find(item, fail)))
        if isinstance(value, Glob):
            return self._matching(value, fail)
        if isinstance(value, Origin):
            return (self.find_origin(value, fail),)
        if not isinstance(value, Name):
            fail(f"a name is wanted here, not {show_value(value)}")
        name = self.scoped(value.text)
        if name in self.origins:
            return (name,)
        if name not in self.added:
            fail(
                f"layer {_shown(value.text)} doesn't exist in the HN of {self.net!r}{self._near(name)}; "
                "layers are numbered anew when the graph changes"
            )
        return ()

    def find_origin(self, origin: Origin, fail: Fail) -> str:
        """Return the whole name of the one layer that comes from an ONNX node."""
        found = [name for name, nodes in self.origins.items() if origin.text in nodes and not _is_output(name)]
        if len(found) > 1:
            several = ", ".join(found)
            fail(f"{len(found)} layers come from the ONNX node {_shown(origin.text)}: {several}; name one of them")
        if not found:
            import difflib

            nodes = dict.fromkeys(node for nodes in self.origins.values() for node in nodes)
            near = difflib.get_close_matches(origin.text[:MAX_SHOWN], nodes, n=3)
            listed = "; `doit inspect build/MODEL/ARCH/parsed.har --map` shows them all"
            advice = f" (did you mean {' or '.join(map(repr, near))}?)" if near else listed
            fail(f"no layer comes from an ONNX node {_shown(origin.text)}{advice}")
        return found[0]

    def _matching(self, glob: Glob, fail: Fail) -> tuple[str, ...]:
        pattern = self.scoped(glob.text)
        names = tuple(name for name in self.origins if fnmatchcase(name, pattern))
        if not names and not any(fnmatchcase(name, pattern) for name in self.added):
            fail(f"pattern {{{glob.text[:MAX_SHOWN]}}} matches no layer; it doesn't exist in the HN")
        return names

    def _near(self, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name[:MAX_SHOWN], (*self.origins, *self.added), n=3, cutoff=0.8)
        return f" (there are {', '.join(near)})" if near else ""


def _shown(name: str) -> str:
    return repr(name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}...")


def _is_output(layer: str) -> bool:
    """Say whether it only delivers another layer's tensor, whose origin some versions of the compiler repeat there."""
    return layer.rpartition("/")[2].startswith("output_layer")
