"""`doit verify-hef FILE...`: whether HEFs are undamaged, their metadata true, and who loads them, as an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.errors import InputError, printable
from build_rules.exit_codes import DONE, FAILED, WRONG_INPUT

if TYPE_CHECKING:
    from build_rules.hef.releases import Release

__all__ = ["VerifyHef"]

Facts = dict[str, Any]


class VerifyHef(BuildCommand):
    """doit's command `verify-hef`."""

    name = "verify-hef"
    doc_purpose = "check that HEF files are undamaged, described rightly and loaded by a HailoRT"
    doc_usage = "[--device NAME] [--hailort X.Y] [--json] FILE.hef..."
    doc_description = (
        "Checks length, checksums, message, ZIP, and every statement of the metadata against the streams. --hailort "
        "asks whether that release loads the file as it lies there, --device whether it does on a device of that kind. "
        "Exit code 0: nothing is wrong (a file without metadata is sound); 1: a file is damaged, a reader would decode "
        "it wrongly, or what was asked for refuses it; 3: there is no such file."
    )
    cmd_options = (
        {"name": "device", "short": "", "long": "device", "type": str, "default": "", "help": "such as hailo8l"},
        {"name": "hailort", "short": "", "long": "hailort", "type": str, "default": "", "help": "such as 4.20"},
        {"name": "json", "short": "", "long": "json", "type": bool, "default": False, "help": "print JSON"},
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Check one file after the other."""
        from build_rules.commands.render import render_json
        from build_rules.hef.releases import parse_device, parse_release

        if not files:
            raise self.usage_error("needs at least one file.")
        device = parse_device(options["device"]) if options["device"] else None
        release = parse_release(options["hailort"]) if options["hailort"] else None
        codes: list[int] = []
        reports: list[Facts] = []
        for file in files:
            code, facts = _verify(file, release, device)
            codes.append(code)
            reports.append(facts)
            if not options["json"]:
                show("".join(f"{printable(line)}\n" for line in _lines(facts)))
        if options["json"]:
            show(render_json({"files": reports}))
        return max(codes)


def _verify(path: Path, release: Release | None, device: str | None) -> tuple[int, Facts]:
    """Return the exit code for one file, and what is found out about it."""
    from build_rules.commands.describe_hef import loader_facts, oldest_facts, problem_facts
    from build_rules.hef.loaders import ask
    from build_rules.metadata.examine import examine

    try:
        check_file(path)
    except InputError as fault:
        return WRONG_INPUT, {"file": str(path), "sound": False, "error": str(fault)}
    try:
        examined = examine(path)
    except InputError as fault:
        return FAILED, {"file": str(path), "sound": False, "error": str(fault)}
    hef = examined.hef
    asked = ask(hef, release, device) if release or device else ()
    facts = {
        "file": str(path),
        "sound": examined.is_sound,
        "hw_arch": hef.hw_arch,
        "embedding": hef.container.embedding,
        "described_outputs": None if examined.document is None else len(examined.pairs),
        **oldest_facts(hef),
        "asked": [asdict(one) for one in asked],
        "loaders": loader_facts(examined),
        "problems": problem_facts(examined),
    }
    fine = examined.is_sound and all(one.loads for one in asked)
    return DONE if fine else FAILED, facts


def _lines(facts: Facts) -> list[str]:
    """What is said about one file: its problems or that it is sound, and an answer for each question."""
    if "error" in facts:
        return [facts["error"]]
    path = facts["file"]
    lines = []
    for problem in facts["problems"]:
        place = f" {problem['path']}" if problem["path"] else ""
        lines.append(f"{path}: {problem['severity']}:{place} {problem['text']}")
    if facts["sound"]:
        outputs = facts["described_outputs"]
        described = "no metadata" if outputs is None else f"metadata of {outputs} outputs"
        lines.append(f"{path}: sound, {facts['hw_arch']}, {described} ({facts['embedding']}){_since(facts)}")
    for one in facts["asked"]:
        why = f": {one['why']}" if one["why"] else ""
        lines.append(f"{path}: {one['reader']} {'loads' if one['loads'] else 'refuses'} it{why}")
    return lines


def _since(facts: Facts) -> str:
    """The oldest release that loads the file as it lies there, and without what follows its end."""
    from build_rules.records.hardware import HARDWARE

    whole, bare = facts["oldest_hailort"], facts["oldest_hailort_without_zip"]
    releases = [] if whole is None else [f"HailoRT from {whole}"]
    if releases and whole.startswith("5") and facts["hw_arch"] in HARDWARE and HARDWARE[facts["hw_arch"]].hailort == 4:
        releases[0] += " (which drives no Hailo-8)"
    if bare not in (None, whole):
        releases.append(f"without the ZIP from {bare}" if releases else f"HailoRT without the ZIP from {bare}")
    return "".join(f", {release}" for release in releases)
