"""Which layers were found to be worth 16 bits, as the script of a target and the record of the search tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from build_rules.errors import InputError
from build_rules.regular_file import SCRIPT_BYTES, find_fault, read_small

__all__ = ["read_found_layers", "tell_found_layers"]

SCRIPT, RECORD = "model.alls", "mixed.json"


def read_found_layers(folder: Path) -> tuple[str, ...]:
    """Return what the script of a target says of layers that were found, the summary first; nothing where none were.

    It is read of the script, since that says what is, when nothing is looked for any more or before it is again.
    """
    from build_rules.alls.compose import MIXED

    path, beginning = folder / SCRIPT, f"# {MIXED}: "
    with suppress(InputError, OSError, UnicodeDecodeError):
        if find_fault(path) is None:
            lines = read_small(path, SCRIPT_BYTES, "a model script").decode("utf-8").splitlines()
            return tuple(line.removeprefix(beginning) for line in lines if line.startswith(beginning))
    return ()


def tell_found_layers(files: Iterable[Path]) -> Iterator[str]:
    """Tell of what a step reads or writes which layers were found and why, or why none were."""
    for path in files:
        if path.name == SCRIPT:
            summary, *layers = read_found_layers(path.parent) or ("",)
            if summary:
                yield f"   mixed precision: {summary}"
                yield from (f"      {layer}" for layer in layers)
        elif path.name == RECORD:
            yield from _tell_record(path)


def _tell_record(path: Path) -> Iterator[str]:
    from build_rules.records.mixed_json import load_mixed

    with suppress(InputError, OSError):
        if find_fault(path) is None:
            record = load_mixed(path)
            yield f"   mixed precision: {record.because}"
            yield from (f"      {layer.node} in {layer.mode}: {layer.because}" for layer in record.layers)
