"""What each release of the vendor's runtime takes: header versions and extensions; chips are rows of `hardware.py`.

Where the rows come from. *Trials* are those with HailoRT's own code, of 4.23 and 5.2, on two thousand files, and the
comparison of its releases that was made with them; *sources* are its open sources as they are published for 4.18, 4.21
to 4.23 and 5.x (`hef_internal.hpp`, `hef.cpp`, `device_internal.cpp`).

* `HEADER_SINCE`: trials. 4.17 had another header under the number 1.
* `EXTENSION_SINCE`: 13 to 28 by the comments in the sources; 29 to 35 by the trials.
* `NEVER_MANDATORY`: trials; the sources do not list them among the supported ones.
* `OUTDATED_SINCE`, `LOADS_OUTDATED`: sources. 4.18 does not ask for extension 26, those of 4.21 do; what 4.19 and 4.20
  do is not published there.
"""

from __future__ import annotations

from collections.abc import Mapping

from build_rules.errors import InputError
from build_rules.records.hardware import HARDWARE

__all__ = [
    "EXTENSION_SINCE",
    "HEADER_SINCE",
    "LOADS_OUTDATED",
    "NEVER_MANDATORY",
    "NEWEST",
    "OUTDATED_SINCE",
    "RELEASES",
    "Release",
    "newest_like",
    "parse_device",
    "parse_release",
    "release_text",
]

Release = tuple[int, int]

RELEASES: tuple[Release, ...] = (*((4, minor) for minor in range(12, 24)), (5, 0), (5, 1), (5, 2))
"""Those that are told apart, ascending."""
NEWEST: Mapping[int, Release] = {4: (4, 23), 5: (5, 2)}

HEADER_SINCE: Mapping[int, Release] = {0: (4, 12), 1: (4, 18), 2: (4, 20), 3: (4, 21)}

EXTENSION_SINCE: Mapping[int, Release] = {
    **dict.fromkeys((0, 1, 2, 3, 4, 5, 6, 9, 10, 12, 13, 14), (4, 12)),
    **dict.fromkeys((15, 16, 18, 19, 20, 21, 22, 23, 25, 26), (4, 14)),
    **dict.fromkeys((17, 24), (4, 15)),
    **dict.fromkeys((11, 27), (4, 16)),
    **dict.fromkeys((28, 29), (4, 17)),
    **dict.fromkeys((30, 31, 32), (4, 21)),
    35: (5, 0),
    **dict.fromkeys((33, 34), (5, 1)),
}
NEVER_MANDATORY = frozenset({7, 8})

OUTDATED_SINCE: Release = (4, 21)
"""From here on a file without extension 26 is refused as outdated."""
LOADS_OUTDATED: Release = (4, 18)
"""Up to here it is not."""


def parse_release(text: str) -> Release:
    """Return the release that `4.20` or `4.20.0` names. Raises `InputError` for anything else, or another line."""
    parts = text.split(".")
    if not (2 <= len(parts) <= 3 and all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts)):
        raise InputError(f"--hailort: {text!r} is no release of HailoRT; write one such as 4.20 or 5.2.")
    release = (int(parts[0]), int(parts[1]))
    if release[0] not in NEWEST or release < RELEASES[0]:
        raise InputError(
            f"--hailort: nothing is known of HailoRT {release_text(release)}; the releases that are known are "
            f"{release_text(RELEASES[0])} to {release_text(NEWEST[4])} and 5.0 to {release_text(NEWEST[5])}."
        )
    return release


def parse_device(text: str) -> str:
    """Return the device that `text` names. Raises `InputError` when there is none."""
    if text not in HARDWARE:
        raise InputError(f"--device: {text!r} is no device; choose one of {', '.join(HARDWARE)}.")
    return text


def newest_like(release: Release) -> Release:
    """Return the newest release that is known, of the same line, and not newer than `release`."""
    return min(release, NEWEST[release[0]])


def release_text(release: Release) -> str:
    """Return a release as it is written."""
    return f"{release[0]}.{release[1]}"
