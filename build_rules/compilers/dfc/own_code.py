"""Which modules of ours each stage of the DFC is made of, as `Rule.code` lists them.

A stage takes hours, so what only tells of it is in no key: to word a message better makes nothing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Stage

__all__ = ["CODE", "FAILURES", "PROFILE", "READING", "TELLING"]


def _own(*modules: str) -> tuple[str, ...]:
    return tuple(f"compilers/dfc/{module}.py" for module in modules)


TELLING = _own("dfc_failures", "examination", "layer_origins", "log_progress", "outside", "own_code", "launch/outcome")
"""What says how far a stage is, why it cannot be begun, and why it failed. No output holds a word of these, nor of what
they alone import."""
SHARED = (
    *_own("__init__", "asked", "calibration_array", "dfc_settings", "dfc_worker", "drive"),
    *_own("simulated_arrays", "work_done"),
    *_own("launch/__init__", "launch/child", "launch/image", "launch/invocation", "launch/lines", "launch/run_folder"),
    *_own("launch/start", "launch/tar_stream", "launch/work"),
    *("alls/script.py", "calibration/snapshot/safetensors_file.py", "compilers/archive.py", "compilers/begin_at.py"),
    *(
        "compilers/har_file.py",
        "compilers/npz_numbers.py",
        "compilers/protocol.py",
        "compilers/samples.py",
        "errors.py",
    ),
    *("records/stage_report.py", "regular_file.py", "versions.py"),
)
CODE: dict[Stage, tuple[str, ...]] = {
    "parse": SHARED,
    "optimize": SHARED,
    "compile": (
        *SHARED,
        *_own("allocation", "compile_network", "remedies"),
        "compilers/describe_har.py",
    ),
}
FAILURES = _own("dfc_failures", "failure_table", "layer_origins", "log_text")
"""By these a remedy is chosen (`retry`), and a warning says why the profiler failed (`profile`)."""
PROFILE = _own("profile_facts")
READING = (
    *_own("__init__", "asked", "dfc_settings", "log_facts", "log_report", "log_text"),
    *("alls/script.py", "errors.py", "records/stage_report.py", "versions.py"),
)
"""These say what a stage did, and are in the key of the step that writes that down."""
