"""What a HAR says about itself: its outputs with their bits, and what the compiler reported beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from build_rules.commands.stage_facts import read_reports, stage_facts
from build_rules.compilers.describe_har import describe
from build_rules.compilers.har_file import outline_har, output_layers
from build_rules.errors import InputError
from build_rules.regular_file import find_fault, read_small

__all__ = ["describe_har_file"]

HAR, STAGE = "model.har", "optimize"
"""What a build calls the file beside which it leaves the report, and the log, of that stage."""
LOG = "har.log"
LOG_BYTES = 64 << 20
"""An optimization of hours has logged a few."""

Facts = dict[str, Any]


def describe_har_file(path: Path) -> Facts:
    """Return the facts of a HAR. Raises `InputError` when it is none or is damaged."""
    har, sizes = outline_har(path)
    description = describe(path)
    reports = read_reports(path.parent) if path.name == HAR else {}
    return {
        "kind": "Hailo archive",
        "name": har.name,
        "state": har.state,
        "hw_arch": har.hw_arch,
        "sdk_version": har.sdk_version,
        "emulated": har.is_emulated,
        "layers": len(har.hn["layers"]),
        "members": [{"name": name, "bytes": size} for name, size in sorted(sizes.items())],
        "outputs": [
            {
                "name": output.output_layer,
                "producer": output.stream,
                "shape": list(layer.shape),
                "bits": output.bits,
                "activation": output.activation,
                "original_names": list(output.original_names),
            }
            for output, layer in zip(description.outputs, output_layers(har.hn), strict=True)
        ],
        **stage_facts({stage: report for stage, report in reports.items() if stage == STAGE}),
        "times": _times(path.with_name(LOG)) if path.name == HAR else [],
    }


def _times(log: Path) -> list[Facts]:
    """Return how long each algorithm took, as the log beside the HAR says."""
    from build_rules.compilers.dfc.log_facts import read_times

    try:
        if find_fault(log) is not None:
            return []
        text = read_small(log, LOG_BYTES, "a log").decode("utf-8", "replace")
    except (InputError, OSError):
        return []
    return [{"algorithm": name, "seconds": seconds} for name, seconds in read_times(text).items()]
