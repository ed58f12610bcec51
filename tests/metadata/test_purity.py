"""The room imports neither numpy nor onnx: `doit list` must not wait for them."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, build_rules.metadata; print(sorted({'numpy', 'onnx', 'doit', 'google'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
