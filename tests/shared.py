"""The folder of test material beside the checkout: real files that are not ours to copy into the project."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"test material is missing: no folder {SHARED}")
