"""What the names of images end in, of those that can be decoded and of those that somebody may miss.

Every run of doit asks, so nothing heavy here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from build_rules.versions import UNKNOWN, library_version

__all__ = ["HEIF_LIBRARY", "SUFFIXES", "PassedOver", "image_suffixes", "is_heif"]

SUFFIXES = (
    *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
"""What the names of images end in that can be decoded everywhere, in small letters or capitals."""
AVIF = (".avif",)
AVIF_SINCE = (11, 3)
"""The version of Pillow that can decode AVIF."""
HEIF = (".heic", ".heif", ".hif")
HEIF_LIBRARY = "pillow-heif"
PASSED_OVER = (
    *(*AVIF, *HEIF, ".arw", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".jxr"),
    *(".nef", ".orf", ".psd", ".raf", ".raw", ".rw2", ".srw", ".svg", ".tga"),
)
"""What the names of images end in that somebody may miss: they are counted where they cannot be decoded."""
NOT_IMAGES = ("COPYING", "LICENSE", "Makefile", "NOTICE", "README", "Readme", "readme")
"""What lies in many folders without a suffix."""


@cache
def image_suffixes() -> tuple[str, ...]:
    """Return what the names of images end in that can be decoded here."""
    found = re.match(r"(\d+)\.(\d+)", library_version("pillow"))
    avif = found is not None and (int(found[1]), int(found[2])) >= AVIF_SINCE
    heif = library_version(HEIF_LIBRARY) != UNKNOWN
    return (*SUFFIXES, *(AVIF if avif else ()), *(HEIF if heif else ()))


def is_heif(name: str) -> bool:
    """Whether it takes `HEIF_LIBRARY` to decode an image of this name."""
    return name.lower().endswith(HEIF)


@dataclass
class PassedOver:
    """How many images were left out because of what their names end in; empty stands for no suffix."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Count a file that was left out, if it may be an image."""
        stem, dot, suffix = name.lower().rpartition(".")
        kind = f".{suffix}" if dot and stem else ""
        if kind in PASSED_OVER or (not kind and name not in NOT_IMAGES and not name.startswith(".")):
            self.counts[kind] = self.counts.get(kind, 0) + 1

    def __str__(self) -> str:
        """Return it in words: `900 .heic (pillow-heif decodes these), 2 without a suffix`; nothing where none was."""
        kinds = sorted(self.counts, key=lambda kind: (kind == "", kind))
        return ", ".join(f"{self.counts[kind]:,} {self._words(kind)}" for kind in kinds)

    @staticmethod
    def _words(kind: str) -> str:
        if kind in HEIF:
            return f"{kind} (where {HEIF_LIBRARY} is installed, these are decoded)"
        return kind or "without a suffix"
