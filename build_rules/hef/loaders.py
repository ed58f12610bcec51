"""Who accepts a HEF file as it lies there: each release of the vendor's runtime, and readers that cut it at its ZIP.

The runtime looks at the length first, then at the checksum, then parses the message and builds what it says, then at
the extensions that it demands; on a device it asks whether the chip is the right one. Nothing here says that a device
is there, nor that there is anything to run in the file.

Source of the rules: HailoRT 4.18-5.2, open source (`hef.cpp`, `hef_internal.hpp`), and what `releases.py` names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from build_rules.hef.releases import (
    EXTENSION_SINCE,
    HEADER_SINCE,
    LOADS_OUTDATED,
    NEVER_MANDATORY,
    NEWEST,
    OUTDATED_SINCE,
    RELEASES,
    Release,
    newest_like,
    release_text,
)
from build_rules.hef.schema import Extension
from build_rules.hef.streams import Hef
from build_rules.records.hardware import HARDWARE, from_code, takes_code

__all__ = ["Loader", "ask", "find_loaders", "oldest_release", "without_added"]

_MISALIGNED = "its length is not what the header announces"
_LEGACY_ONLY: Release = (4, 23)  # its own message sends the user of any other chip to 5.x


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
    return (*(_line(hef, major) for major in NEWEST), _cutting(hef, holds_signature))


def oldest_release(hef: Hef) -> Release | None:
    """Return the oldest release that loads the file as it lies there, None when none does.

    The first of `RELEASES` stands for itself and all before.
    """
    return next((release for release in RELEASES if _refused(hef, release) is None), None)


def ask(hef: Hef, release: Release | None, device: str | None) -> tuple[Loader, ...]:
    """Return whether a release loads the file and, with a device, whether it configures that with it.

    Without a release, the newest of every line that drives the device.
    """
    majors = NEWEST.values() if device is None else [NEWEST[HARDWARE[device].hailort]]
    return tuple(_on_device(hef, one, device) for one in (majors if release is None else [release]))


def _on_device(hef: Hef, asked: Release, device: str | None) -> Loader:
    release = newest_like(asked)
    on = "" if device is None else f" on a {HARDWARE[device].silicon}"
    reader = f"HailoRT {release_text(asked)}{on}"
    as_if = "" if release == asked else f"as {release_text(release)}, the newest that is known here"
    why = _refused(hef, release) or (None if device is None else _wrong_chip(hef, release, device))
    if why is not None:
        bare = without_added(hef)
        if hef.container.added.length and _refused(hef, release) and _refused(bare, release) is None:
            why += '; doit strip takes them off, and embed = "sealed" lets them be loaded'
        return Loader(reader, False, f"{why} ({as_if})" if as_if else why)
    remarks = [as_if] if as_if else []
    if device is not None and not {device, _without_clock(device)} & {*hef.chips}:
        chip = HARDWARE[hef.hw_arch].silicon if hef.hw_arch in HARDWARE else hef.hw_arch
        remarks.append(
            f"with a warning: it was compiled for a {chip} and is slow here, and EdgeFirst's readers refuse it"
        )
    return Loader(reader, True, "; ".join(remarks))


def _without_clock(device: str) -> str:
    return HARDWARE[device].clock_of or device


def _is_legacy(hef: Hef) -> bool:
    return any(chip.hailort == 4 for chip in from_code(hef.arch_code))


def _wrong_chip(hef: Hef, release: Release, device: str) -> str | None:
    legacy = HARDWARE[device].hailort == 4
    if release[0] != 4 and legacy:
        return f"{release[0]}.x drives no Hailo-8"
    if _without_clock(device) not in (chip.name for chip in takes_code(hef.arch_code, release[0])):
        return f"it was compiled for {_compiled_for(hef)}"
    if release >= _LEGACY_ONLY and release[0] == 4 and not legacy:
        return f"{release_text(release)} drives Hailo-8 alone; other chips want 5.x"
    return None


def _compiled_for(hef: Hef) -> str:
    if not (chips := from_code(hef.arch_code)):
        return f"a chip that is not known (architecture {hef.arch_code})"
    known = " or a ".join(chip.silicon for chip in chips)
    return f"a {known} (architecture {hef.arch_code})"


def _refused(hef: Hef, release: Release) -> str | None:
    """Return why a release refuses the file, None when it loads it."""
    container, header = hef.container, hef.container.header
    # From 5.0 on, a message with a checksum of its own is all that is looked at.
    only_message = release >= (5, 0) and any(header.proto_checksum)
    if container.embedding in ("append", "unknown") and not only_message:
        return f"{container.added.length} bytes follow the end: {_MISALIGNED}"
    if release < HEADER_SINCE[header.version]:
        return f"header version {header.version} came with {release_text(HEADER_SINCE[header.version])}"
    return next(iter(hef.refusals), None) or _refused_extensions(hef, release)


def _refused_extensions(hef: Hef, release: Release) -> str | None:
    """The list is checked as it stands; whether 26 is in it counts only where the message is not older than lists."""
    for extension in hef.extensions:
        since = EXTENSION_SINCE.get(extension)
        if extension in NEVER_MANDATORY:
            return f"extension {extension} may be optional, not mandatory"
        if since is None:
            return f"extension {extension} is known to no release up to {release_text(RELEASES[-1])}"
        if release < since:
            return f"extension {extension} came with {release_text(since)}"
    if hef.format_version and Extension.PERIPH_CALCULATION_IN_HAILORT in hef.extensions:
        return None
    if release <= LOADS_OUTDATED:
        return None
    missing = "it lacks the extension that computes its transfers (26)"
    if not hef.format_version:
        missing = "its header is of version 0, so that its extensions do not count (26)"
    if release < OUTDATED_SINCE:
        return (
            f"{missing}, and whether that is refused is known of "
            f"{release_text(LOADS_OUTDATED)} (no) and {release_text(OUTDATED_SINCE)} (yes) alone"
        )
    return f"outdated: {missing}"


def _line(hef: Hef, major: int) -> Loader:
    reader, newest = f"HailoRT {major}.x", NEWEST[major]
    if (why := _refused(hef, newest)) is not None:
        older = [release for release in RELEASES if release[0] == major and _refused(hef, release) is None]
        return Loader(reader, False, f"{why}; {release_text(older[-1])} loads it" if older else why)
    since = next(release for release in RELEASES if release[0] == major and _refused(hef, release) is None)
    remarks = []
    if since != next(release for release in RELEASES if release[0] == major):
        remarks.append(f"from {release_text(since)}")
    if major == 5 and _is_legacy(hef):
        remarks.append("but 5.x drives no Hailo-8")
    elif not takes_code(hef.arch_code, major) and not _is_legacy(hef):
        remarks.append(f"but {release_text(newest)} does not know its chip (architecture {hef.arch_code})")
    elif major == 4 and not _is_legacy(hef):
        remarks.append(f"but {release_text(_LEGACY_ONLY)} drives Hailo-8 alone")
    return Loader(reader, True, ", ".join(remarks))


def without_added(hef: Hef) -> Hef:
    """Return the file as it is when what follows its end is cut off."""
    added = replace(hef.container.added, length=0)
    return replace(hef, container=replace(hef.container, added=added, embedding="none"))


def _cutting(hef: Hef, holds_signature: bool) -> Loader:
    reader, container = "readers that cut off the ZIP", hef.container
    if container.embedding == "sealed":
        # A message with a checksum of its own still loads on 5.x, which drives other chips than a Hailo-8.
        if any(container.header.proto_checksum) and not _is_legacy(hef) and _line(hef, 5).loads:
            return Loader(reader, True, f"with HailoRT 5.x alone: without its sealed ZIP, {_MISALIGNED}")
        return Loader(reader, False, f"without its sealed ZIP, {_MISALIGNED}")
    if container.embedding == "unknown":
        return Loader(reader, False, f"{container.added.length} bytes follow the end that are no ZIP")
    if oldest_release(without_added(hef)) is None:
        return Loader(
            reader, False, f"without the ZIP, no runtime loads it: {_refused(without_added(hef), RELEASES[-1])}"
        )
    if holds_signature:
        return Loader(reader, False, "the compiled part contains the bytes of a ZIP header, where they would cut")
    return Loader(reader, True)
