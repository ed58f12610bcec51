"""Digests of files: read when they have to be, and not when a record knows them."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from build_rules.engine.fingerprint import Fingerprint, fingerprint, marks_of, remember

SETTLED = 0.05
"""Seconds after which a file is old enough for its marks to be trusted."""
OTHER = hashlib.sha256(b"what no file here holds").hexdigest()


def recorded(path: Path, settled: bool) -> dict[str, Fingerprint]:
    return {str(path): Fingerprint(*marks_of(path.stat()), OTHER, settled)}


def test_what_a_record_knows_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"content")
    time.sleep(SETTLED)
    remember(recorded(path, settled=True))
    assert fingerprint(path).sha256 == OTHER


def test_a_record_of_marks_that_were_not_settled_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "young"
    path.write_bytes(b"content")
    time.sleep(SETTLED)
    remember(recorded(path, settled=False))
    assert fingerprint(path).sha256 == hashlib.sha256(b"content").hexdigest()


def test_a_file_that_is_young_now_is_read(tmp_path: Path) -> None:
    path = tmp_path / "young"
    path.write_bytes(b"content")
    remember(recorded(path, settled=True))
    assert fingerprint(path).sha256 == hashlib.sha256(b"content").hexdigest()


def test_other_marks_are_another_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    remember(recorded(path, settled=True))
    path.write_bytes(b"other content")
    time.sleep(SETTLED)
    assert fingerprint(path).sha256 == hashlib.sha256(b"other content").hexdigest()
