"""Which chips there are: what settings, HEF files, runtimes and metadata call them, one row for each.

A HEF says its chip by a number (`ProtoHEFHwArch`). Some numbers stand for two chips, and some chips run files of
others. Sources: HailoRT 4.17-5.2, open source (`hef.proto`, `hef.cpp`, `device_internal.cpp`); that 5.x takes 103 for
two chips and 5 for none is also known from trials with its own code. Real Hailo-8 files say 1.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFAULT_ARCH", "HARDWARE", "TARGETS", "Hardware", "from_code", "takes_code"]


class Hardware(NamedTuple):
    """One chip. `name` is the compiler's (`hw_arch`), `silicon` the one on the package.

    `codes` are the numbers in HEF files that are said of it; the first is the one that is written. `hailort` is the
    line of HailoRT whose newest release drives it, `taken_by_4` and `taken_by_5` are the numbers that releases of the
    two lines configure it with. `partial_layouts`: the runtime reads its streams from the network group's partial
    layouts, and crashes when there are none. `clock_of` names the chip that this one is with another clock, which all
    releases take it for. `needs_longest_search`: it is so small that the compiler finds no room for networks with
    attention unless it searches as long as it can (seen with YOLO26, whose shorter searches end in "Agent infeasible").
    `most_weights`: how many the largest public network has that was compiled for it, and which that is (model zoo,
    `docs/public_models`), None where no table tells. `is_target`: models are built for it; `is_default`: where nobody
    says for which.
    """

    name: str
    silicon: str
    codes: tuple[int, ...]
    hailort: int = 5
    taken_by_4: tuple[int, ...] = ()
    taken_by_5: tuple[int, ...] = ()
    partial_layouts: bool = False
    clock_of: str | None = None
    needs_longest_search: bool = False
    most_weights: tuple[float, str] | None = None
    is_target: bool = False
    is_default: bool = False


_H8, _H15 = (1, 2, 3), (4, 103)

HARDWARE = {
    chip.name: chip
    for chip in (
        Hardware(
            *("hailo8", "Hailo-8", (1, 0), 4, _H8, (0, *_H8)),
            most_weights=(304.16e6, "clip_vit_l_14_image_encoder"),
            is_target=True,
        ),
        Hardware(
            *("hailo8l", "Hailo-8L", (3,), 4, (3,), (3,)),
            partial_layouts=True,
            needs_longest_search=True,
            most_weights=(87.8e6, "clip_vit_b_32_image_encoder"),
            is_target=True,
            is_default=True,
        ),
        Hardware("hailo8r", "Hailo-8R", (2,), 4, clock_of="hailo8"),
        Hardware("hailo15h", "Hailo-15H", (103,), 5, (5, *_H15), _H15),
        Hardware("hailo10h", "Hailo-10H", (5, 103), 5, (5, *_H15), _H15),
        Hardware("hailo15l", "Hailo-15L", (6,), 5, (6,), (6,)),
        Hardware("hailo15m", "Hailo-15M", (4,), 5, (4,), (4,), partial_layouts=True),
    )
}
"""By name. Of two chips that share a number, the first gives a file its `hw_arch`."""

DEFAULT_ARCH = next(chip.name for chip in HARDWARE.values() if chip.is_default)
TARGETS = tuple(sorted((c.name for c in HARDWARE.values() if c.is_target), key=lambda name: name != DEFAULT_ARCH))
"""Those that models are built for, the default first."""


def from_code(code: int) -> tuple[Hardware, ...]:
    """Return the chips that a HEF with this number is said to be for, none when the number is not known."""
    return tuple(chip for chip in HARDWARE.values() if code in chip.codes)


def takes_code(code: int, hailort: int) -> tuple[Hardware, ...]:
    """Return the chips that a line of HailoRT configures with a HEF of this number; first those it is for."""
    taken = [c for c in HARDWARE.values() if code in (c.taken_by_4 if hailort == 4 else c.taken_by_5)]
    return tuple(sorted(taken, key=lambda chip: code not in chip.codes))
