"""`doit compare MODEL --mixed [--write]`: the fewest layers whose 16 bits bring back what 8 bits lose, proven."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.errors import InputError, printable
from build_rules.regular_file import find_fault, read_small

if TYPE_CHECKING:
    from build_rules.mixed.find_set import SetInputs
    from build_rules.records.mixed_json import Mixed, MixedResult

__all__ = ["mixed_text"]

DECLARATION_BYTES = 16 << 20
COMMENT = "found and proven by `doit compare --mixed`"


def mixed_text(target: str, inputs: SetInputs, declaration: Path, *, write: bool, as_json: bool) -> str:
    """Search and, when asked, write the lines into `declaration` (`model.toml`); returns what is to be printed.

    Raises `InputError` as `find_set`, and for a declaration that cannot be written to, before
    anything is searched.
    """
    from build_rules.commands.compare_inputs import scratch_folder
    from build_rules.mixed.advice import wide_line
    from build_rules.mixed.find_set import find_set
    from build_rules.records.mixed_json import dump_mixed

    if write:
        _read(declaration)  # what cannot be written is told before anything is searched
    # What quantizing prints, once for every set, is no answer.
    with scratch_folder() as scratch, redirect_stdout(io.StringIO()):
        mixed = find_set(inputs, scratch)
    lines = [wide_line(layer.node, layer.mode) for layer in mixed.layers]
    written = _write(declaration, lines) if write else ""
    return dump_mixed(mixed) if as_json else f"{_text(target, mixed, lines)}{written}"


def _text(target: str, mixed: Mixed, lines: list[str]) -> str:
    from build_rules.commands.render import render_table

    images = mixed.images
    told = [
        f"{target}: layers chosen by {images.chosen_by} calibration images, proven on {images.proven_on} "
        f"{images.proven_set} images that they were not chosen by, by {mixed.measured_by}\n"
    ]
    results = [("as it is", mixed.before), (f"{len(lines)} layers", mixed.after), ("all that may", mixed.all)]
    if rows := [_row(name, result) for name, result in results if result is not None]:
        told.append(render_table(rows))
    if mixed.layers:
        layers = [
            {"layer": each.layer, "node": each.node, "mode": each.mode, "why": each.because} for each in mixed.layers
        ]
        told.append("\n" + render_table(layers, long=("node",)))
        told.append("\nlines for [alls] append in model.toml (--write puts them there):\n")
        told += (f"   {printable(line)}\n" for line in lines)
    return "".join((*told, f"\n{printable(mixed.because)}\n"))


def _row(name: str, result: MixedResult) -> dict[str, str]:
    return {
        "16 bits in": name,
        "AP50-95": _number(result.map50_95),
        "AP50": _number(result.map50),
        "mean IoU": _number(result.mean_iou),
        "score shift": "" if result.score_shift is None else f"{result.score_shift:+.4f}",
        "lost": f"{result.lost} of {result.objects}",
        "invented": str(result.invented),
        "SNR at objects": f"{result.snr:.1f} dB",
        "bytes a frame": str(result.frame_bytes),
        "16-bit layers": str(result.wide_layers),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _read(declaration: Path) -> str:
    from build_rules.mixed.in_toml import append_lines

    if not declaration.exists() and not declaration.is_symlink():
        return ""
    if (fault := find_fault(declaration)) is not None:
        raise InputError(f"{declaration} {fault}; nothing can be written to it.")
    try:
        text = read_small(declaration, DECLARATION_BYTES, "a declaration").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{declaration}: not UTF-8 text ({error}); nothing is written to it.") from error
    except OSError as error:
        raise InputError(f"{declaration}: cannot be read ({error.strerror or error}).") from error
    append_lines(text, ["set_seed(seed=1)"], COMMENT, declaration)
    return text


def _write(declaration: Path, lines: list[str]) -> str:
    """Put lines into the declaration as it is now, which somebody may have edited; returns what is told of it."""
    from build_rules.atomic_file import replacing
    from build_rules.mixed.in_toml import append_lines, show_difference

    if not lines:
        return printable(f"nothing is written to {declaration}") + "\n"
    before = _read(declaration)
    after = append_lines(before, lines, COMMENT, declaration)
    if after == before:
        told = f"{declaration} has these lines already\n"
    else:
        try:
            with replacing(declaration.resolve()) as stream:
                stream.write(after.encode("utf-8"))
        except OSError as error:
            raise InputError(f"{declaration}: cannot be written ({error.strerror or error}).") from error
        told = f"\nwritten:\n{show_difference(before, after, declaration)}"
    return "".join(f"{printable(line)}\n" for line in told.splitlines())
