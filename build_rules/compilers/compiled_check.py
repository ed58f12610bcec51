"""Is a HEF what was asked for? The same question to every compiler, before what it made is recorded or shared.

What was asked stands in the HAR and in the model script (`asked_outputs.py`); what was made, the HEF says itself. A
compiler may lower 16 bits to 8 without an error, as the DFC 3.33.0 has been seen to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from build_rules.alls.script import parse_script
from build_rules.compilers.asked_outputs import AskedOutput, asked_outputs, call_outputs
from build_rules.compilers.describe_har import describe
from build_rules.errors import InputError
from build_rules.hef.reader import read_hef
from build_rules.hef.streams import Hef, Stream
from build_rules.records.roles import TANH, UNIT_ACTIVATIONS

__all__ = ["check_compiled", "find_oddities", "find_problems"]

RANGES = {
    **dict.fromkeys(UNIT_ACTIVATIONS, (0.0, 1.0)),
    "hardsigmoid": (0.0, 1.0),
    TANH: (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
}
"""Where the values of an activation lie. Quantization always spans zero, so logits, which take both signs, never do."""
TOLERANCE = 0.01
"""A compiler rounds a range to whole steps; logits are never this close to one."""


def check_compiled(hef_path: Path, har_path: Path, script_text: str, hw_arch: str) -> tuple[str, ...]:
    """Return what is odd about a HEF but does no harm, a sentence each.

    Raises `InputError` with all that is not as it was asked, and for a HEF or HAR that cannot be read.
    """
    har, hef = describe(har_path), read_hef(hef_path)
    asked = asked_outputs(har, parse_script(script_text, "model.alls"))
    if problems := find_problems(asked, hef, hw_arch):
        raise InputError(f"the compiler made another HEF than it was asked for: {'; '.join(problems)}.")
    return find_oddities(asked, hef)


def find_problems(asked: Sequence[AskedOutput], hef: Hef, hw_arch: str) -> tuple[str, ...]:
    """Return everything that makes a HEF another one than was asked for, in words."""
    return tuple(_problems(asked, hef, hw_arch))


def find_oddities(asked: Sequence[AskedOutput], hef: Hef) -> tuple[str, ...]:
    """Return what is not as expected and harms nobody who goes by names or by ONNX nodes, in words."""
    streams = tuple(stream for group in hef.network_groups for stream in group.outputs)
    made = _match(asked, streams)
    renamed = [
        f"output {one.output.stream} is called {made[one.output.stream].name} in the HEF."
        for one in asked
        if one.output.stream in made and made[one.output.stream].name != one.output.stream
    ]
    expected = [made[one.output.stream].name for one in asked if one.output.stream in made]
    if expected != [stream.name for stream in streams if stream.name in expected]:
        renamed.append("the HEF lists its outputs in another order than the cut.")
    return tuple(renamed)


def _problems(asked: Sequence[AskedOutput], hef: Hef, hw_arch: str) -> Iterator[str]:
    if hw_arch not in hef.chips:
        yield f"it is for {hef.hw_arch}, and the target is {hw_arch}"
    if len(hef.network_groups) != 1:
        yield f"it holds {len(hef.network_groups)} network groups instead of one"
        return
    group = hef.network_groups[0]
    if group.host_ops:
        kinds = ", ".join(sorted({op.kind for op in group.host_ops}))
        yield f"it leaves {kinds} to the host (a line of the script asks for it, such as nms_postprocess)"
    made = _match(asked, group.outputs)
    for one in asked:
        if (stream := made.get(one.output.stream)) is None:
            yield f"output {one.called} is missing"
        else:
            yield from _differences(one, stream)
    yield from _widths([(one, made[one.output.stream]) for one in asked if one.output.stream in made])
    matched = {stream.name for stream in made.values()}
    if strangers := [stream.name for stream in group.outputs if stream.name not in matched]:
        yield f"it delivers {', '.join(strangers)}, which nobody asked for"


def _differences(asked: AskedOutput, stream: Stream) -> Iterator[str]:
    shape = asked.output.shape[1:]
    if stream.shape != shape:
        yield f"output {asked.called} is {_sides(stream.shape)} instead of {_sides(shape)} (HxWxC)"
    low, high = RANGES.get(asked.activation or "", (-math.inf, math.inf))
    smallest, largest = stream.real_range
    if smallest < low - TOLERANCE or largest > high + TOLERANCE:
        yield (
            f"output {asked.called} takes values from {smallest:.6g} to {largest:.6g}, so its {asked.activation} is "
            "not on the chip"
        )


def _widths(made: Sequence[tuple[AskedOutput, Stream]]) -> Iterator[str]:
    """Say which outputs have other bits than were asked for, those of the same kind in one sentence."""
    wrong: dict[tuple[int, int, bool], list[AskedOutput]] = {}
    for one, stream in made:
        bits = stream.data_bytes * 8
        if one.bits is not None and bits != one.bits:
            wrong.setdefault((bits, one.bits, one.output.bits not in (None, one.bits)), []).append(one)
    for (bits, asked, is_earlier), outputs in wrong.items():
        where = ", as in the quantized network already" if is_earlier else ""
        advice = "; another version of the compiler may keep them" if asked > bits else ""
        yield f"{call_outputs(outputs)} delivered in {bits} bits instead of {asked}{where}{advice}"


def _match(asked: Sequence[AskedOutput], streams: Sequence[Stream]) -> Mapping[str, Stream]:
    """Return the stream of each output by the output's name; one of another name counts when it alone comes from it."""
    by_name = {stream.name: stream for stream in streams}
    made = {one.output.stream: by_name[one.output.stream] for one in asked if one.output.stream in by_name}
    for one in asked:
        taken = {stream.name for stream in made.values()}
        nodes = set(one.output.original_names)
        same = [each for each in streams if each.name not in taken and not nodes.isdisjoint(each.original_names)]
        if one.output.stream not in made and len(same) == 1:
            made[one.output.stream] = same[0]
    return made


def _sides(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
