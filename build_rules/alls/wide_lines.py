"""Which layers do the lines of a script put into 16 bits, and is one of them none that may have them?"""

from __future__ import annotations

from collections.abc import Iterable

from build_rules.alls.script import Name, Statement
from build_rules.alls.wide_layers import NEVER_WIDE, WIDE, kind_of
from build_rules.errors import InputError

__all__ = ["WideLines"]


class WideLines:
    """Layers that lines give 16 bits, each with the place of the line; a later one may take it back."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def note(self, statement: Statement, layers: Iterable[str], place: str) -> None:
        """Keep what a statement about `layers` says of their bits, if anything."""
        mode = dict(statement.keywords).get("precision_mode")
        if statement.command != "quantization_param" or mode is None:
            return
        for layer in layers:
            self._places.pop(layer, None)
            if isinstance(mode, Name) and mode.text in WIDE:
                self._places[layer] = place

    def check(self) -> None:
        """Raise `InputError` for what would end in a crash hours later, now that no line takes it back any more."""
        for layer, place in self._places.items():
            if kind_of(layer) in NEVER_WIDE:
                raise InputError(
                    f"{place}: {layer} cannot have 16 bits: with a softmax or a product of two tensors in them the "
                    "allocator crashes; name other layers, or set it back to a8_w8 in a later line."
                )
