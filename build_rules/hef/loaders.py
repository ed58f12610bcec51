"""Who accepts a HEF file as it lies there: the vendor's runtime, and readers that cut the file at its ZIP.

The runtime looks at the length first, then at the checksum, then at the extensions that the message demands. Nothing
here says that a device of the right kind is there, nor that there is anything to run in the file.

Source of the rules: HailoRT 4.14-4.23 and 5.0-5.2, open source (`hef.cpp`, `hef_internal.hpp`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from build_rules.hef.schema import Extension
from build_rules.hef.streams import Hef

__all__ = ["Loader", "find_loaders"]

# Extension -> the first release of the runtime that knows it; those without a number here are older than 4.12.
_SINCE = {
    13: "4.12",
    14: "4.12",
    16: "4.14",
    18: "4.14",
    19: "4.14",
    20: "4.14",
    21: "4.14",
    22: "4.14",
    23: "4.14",
    15: "4.14",
    25: "4.14",
    26: "4.14",
    24: "4.15",
    17: "4.15",
    11: "4.16",
    27: "4.16",
    28: "4.17",
    29: "4.18",
}
_OLDEST = (*range(11), 12)
_MISALIGNED = "its length is not what the header announces"


@dataclass(frozen=True)
class Loader:
    """Somebody who may want to load the file, whether it works, and why not or under which condition."""

    reader: str
    loads: bool
    why: str = ""


def find_loaders(hef: Hef, holds_signature: bool) -> tuple[Loader, ...]:
    """Return the verdicts of the runtime's two lines and of the readers that cut at the ZIP.

    `holds_signature`: the compiler's part of the file contains the bytes of a ZIP header.
    """
    return (*(_runtime(hef, line) for line in ("4.x", "5.x")), _cutting(hef, holds_signature))


def _runtime(hef: Hef, line: str) -> Loader:
    reader, container = f"HailoRT {line}", hef.container
    # From 5.0 on, a message with a checksum of its own is all that is looked at.
    only_message = line == "5.x" and any(container.header.proto_checksum)
    if container.embedding in ("append", "unknown") and not only_message:
        return Loader(reader, False, f"{container.added.length} bytes follow the end: {_MISALIGNED}")
    if Extension.PERIPH_CALCULATION_IN_HAILORT not in hef.extensions:
        return Loader(reader, False, "outdated: it lacks the extension that computes its transfers (26)")
    if hef.hw_arch.startswith("unknown"):
        return Loader(reader, True, f"if it knows the chip {hef.hw_arch}")
    since = [_SINCE[extension] for extension in hef.extensions if extension in _SINCE]
    newer = [str(extension) for extension in hef.extensions if extension not in _SINCE and extension not in _OLDEST]
    if newer:
        return Loader(reader, True, f"if it knows extension {', '.join(newer)}, which is newer than 4.18")
    oldest = max(since, key=lambda release: int(release.split(".")[1]))
    if line == "4.x":
        # When the later header versions came is not told by the sources at hand; 4.23 knows all four.
        return Loader(reader, True, f"from {oldest}" if hef.version == 0 else "4.23 does")
    return Loader(reader, True, f"but {line} drives no Hailo-8" if hef.hw_arch.startswith("hailo8") else "")


def _cut(hef: Hef) -> Hef:
    """Return the file as it is when what follows its end is cut off."""
    added = replace(hef.container.added, length=0)
    return replace(hef, container=replace(hef.container, added=added, embedding="none"))


def _cutting(hef: Hef, holds_signature: bool) -> Loader:
    reader, container = "readers that cut off the ZIP", hef.container
    if container.embedding == "sealed":
        return Loader(reader, False, f"without its sealed ZIP, {_MISALIGNED}")
    if container.embedding == "unknown":
        return Loader(reader, False, f"{container.added.length} bytes follow the end that are no ZIP")
    if not any(_runtime(_cut(hef), line).loads for line in ("4.x", "5.x")):
        return Loader(reader, False, "what is left without the ZIP is refused by the runtime")
    if holds_signature:
        return Loader(reader, False, "the compiled part contains the bytes of a ZIP header, where they would cut")
    return Loader(reader, True)
