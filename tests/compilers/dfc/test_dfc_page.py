"""docs/dfc.md says what the code says: settings, versions, what only the real compiler can show."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.diagnosis import CHECKLIST
from build_rules.compilers.dfc.pairing import PAIRINGS, Pairing, text_of

PAGE = Path(__file__).resolve().parents[3] / "docs/dfc.md"


def rows(heading: str) -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_setting_is_there_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("Settings")}
    assert list(told) == [field.name for field in fields(DfcSettings)]
    for field in fields(DfcSettings):
        assert told[field.name] == _shown(field.name, field.default)


def _shown(name: str, default: object) -> str:
    if name == "gpus" and default == "":
        return '"none"'
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return f'"{default}"' if default else ""


def row_of(pairing: Pairing) -> list[str]:
    pythons = sorted(pairing.pythons or ())
    return [
        text_of(pairing.dfc),
        text_of(pairing.hailort),
        pairing.zoo,
        f"{text_of(pythons[0])} to {text_of(pythons[-1])}" if pythons else "",
        pairing.numpy or "",
        "" if pairing.header is None else str(pairing.header),
        ", ".join(pairing.sources),
    ]


def test_every_version_is_there() -> None:
    assert rows("Which versions go together") == [row_of(pairing) for pairing in PAIRINGS]


def test_the_checklist_is_the_one_that_doctor_prints() -> None:
    assert re.findall(r"^- \[ \] (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == list(CHECKLIST)
