"""Which HailoRT loads what a version of the DFC compiles, and what that version wants around it.

The DFC is not public; each row holds what public sources say of it, and None where they are silent. Where they come
from:

* *zoo*: `docs/CHANGELOG.rst` of Hailo's model zoo (github.com/hailo-ai/hailo_model_zoo), whose releases 2.11 to 2.17
  each name the DFC and the HailoRT that they "update to use", and the badges of its README (2.15: Python 3.8 to 3.10,
  TensorFlow 2.12; 2.17: Python 3.10 to 3.12, TensorFlow 2.18). 2.19.0 names DFC 3.34.0 in its release notes and
  HailoRT 4.24.0 in a badge. For 3.27 the change log says HailoRT 4.18, as for 3.28; that is what stands here.
* *files*: real HEFs in public repositories, whose header says how old a runtime loads them (`hef/releases.py`): 3.25
  and 3.27 wrote version 0, 3.29 wrote 1. None of 3.30 and later was at hand.
* *pip*: what pip said in public while it installed a wheel: 3.30.0 pins numpy 1.23.3 and wants TensorFlow 2.12 (issue
  166 of the model zoo), 3.33.1 pins numpy 1.26.4 and TensorFlow 2.18.0 (a log of an installation on Python 3.10).
* *guide*: Hailo's install guide as quoted in public for 3.27 to 3.30: Ubuntu 20.04 or 22.04, 16 GB of memory, 32
  recommended, Python 3.8 to 3.10.

A newer HailoRT of the same line loads older HEFs (a file of 3.32 runs on 4.23, several public reports); an older one
may, which `doit verify-hef FILE --hailort X.Y` tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NEWEST", "OLDEST", "PAIRINGS", "Pairing", "Version", "find_pairing", "parse_version", "text_of"]

Version = tuple[int, int]
"""Of a DFC, a HailoRT or a Python, without what comes after its second number."""

_OLD_PYTHONS: tuple[Version, ...] = ((3, 10), (3, 9), (3, 8))
_NEW_PYTHONS: tuple[Version, ...] = ((3, 10), (3, 11), (3, 12))


@dataclass(frozen=True)
class Pairing:
    """One version of the DFC.

    `hailort` is the release it came with, `zoo` the model zoo's. `pythons` are those it runs on, the one first with
    which most people were seen to run it; `numpy` is what its wheel pins. `header` is the version of the HEFs that it
    was seen to write. `sources` are words of this module's docstring.
    """

    dfc: Version
    hailort: Version
    zoo: str
    pythons: tuple[Version, ...] | None
    numpy: str | None
    header: int | None
    sources: tuple[str, ...]


PAIRINGS = (
    Pairing((3, 27), (4, 18), "2.11", _OLD_PYTHONS, None, 0, ("zoo", "files", "guide")),
    Pairing((3, 28), (4, 18), "2.12", _OLD_PYTHONS, None, None, ("zoo", "guide")),
    Pairing((3, 29), (4, 19), "2.13", _OLD_PYTHONS, None, 1, ("zoo", "files", "guide")),
    Pairing((3, 30), (4, 20), "2.14", _OLD_PYTHONS, "1.23.3", None, ("zoo", "pip", "guide")),
    Pairing((3, 31), (4, 21), "2.15", _OLD_PYTHONS, None, None, ("zoo",)),
    Pairing((3, 32), (4, 22), "2.16", None, None, None, ("zoo",)),
    Pairing((3, 33), (4, 23), "2.17", _NEW_PYTHONS, "1.26.4", None, ("zoo", "pip")),
    Pairing((3, 34), (4, 24), "2.19", _NEW_PYTHONS, None, None, ("zoo",)),
)
"""Ascending. All are for Hailo-8, 8L and 8R; 5.x compiles for Hailo-10 and Hailo-15."""
OLDEST, NEWEST = PAIRINGS[0].dfc, PAIRINGS[-1].dfc


def parse_version(text: str | None) -> Version | None:
    """Return the first two numbers of a version such as `3.33.0`, None when it does not begin with two."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})(?![\d])", text or "", re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def find_pairing(version: Version | None) -> Pairing | None:
    """Return the row of a version of the DFC, None when nothing is known of it."""
    return next((pairing for pairing in PAIRINGS if pairing.dfc == version), None)


def text_of(version: Version) -> str:
    """Return a version as it is written."""
    return f"{version[0]}.{version[1]}"
