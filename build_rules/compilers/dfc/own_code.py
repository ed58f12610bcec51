"""Which modules of ours each stage of the DFC is made of, as `Rule.code` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from build_rules.compilers.protocol import Stage

__all__ = ["CODE"]


def _own(*modules: str) -> tuple[str, ...]:
    return tuple(f"compilers/dfc/{module}.py" for module in modules)


SHARED = (
    *_own("__init__", "asked", "calibration_array", "dfc_failures", "dfc_settings", "dfc_worker", "drive"),
    *_own(
        "diagnosis",
        "examination",
        "failure_table",
        "layer_origins",
        "log_facts",
        "log_progress",
        "log_report",
        "log_text",
    ),
    *_own("outside", "own_code", "pairing", "simulated_arrays", "work_done"),
    *_own("launch/__init__", "launch/child", "launch/image", "launch/invocation", "launch/lines", "launch/outcome"),
    *_own("launch/run_folder", "launch/start", "launch/tar_stream", "launch/work"),
    *("alls/script.py", "calibration/snapshot/safetensors_file.py", "compilers/archive.py", "compilers/begin_at.py"),
    *(
        "compilers/har_file.py",
        "compilers/npz_numbers.py",
        "compilers/protocol.py",
        "compilers/samples.py",
        "errors.py",
    ),
    *("records/hardware.py", "records/stage_report.py", "regular_file.py", "versions.py"),
)
COMPILE = ("allocation", "compile_network", "profile_facts", "remedies")
CODE: dict[Stage, tuple[str, ...]] = {
    "parse": SHARED,
    "optimize": SHARED,
    "compile": (*SHARED, *_own(*COMPILE), "compilers/describe_har.py"),
}
