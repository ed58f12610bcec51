"""`doit cache`: what it counts, removes and says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from build_rules.engine.cache.folder_layout import place
from build_rules.engine.cache.store import ACTION, BLOB
from tests.doit_runs import Run, doit
from tests.engine.cache.results import KEY, digest, stored


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "dodo.py").write_text("")
    (tmp_path / "pyproject.toml").write_text('[tool.build_rules]\ncache = "cache"\n')
    stored(tmp_path / "cache", tmp_path / "old", model_hef=b"old" * 1000)
    for file in (tmp_path / "cache").rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    stored(tmp_path / "cache", tmp_path / "new", "cd" * 32, model_hef=b"new" * 1000)
    return tmp_path


def values(run: Run) -> dict[str, str]:
    assert (run.code, run.err) == (0, "")
    return {line[:12].strip(): line[14:] for line in run.out.splitlines()}


def test_counts(workspace: Path) -> None:
    counted = values(doit(workspace, "cache", TZ="UTC"))
    assert counted == values(doit(workspace, "cache", "--stats", str(workspace / "cache"), TZ="UTC")) | {
        "cache": "cache"
    }
    assert (counted["results"], counted["files"], counted["oldest use"]) == ("2", "2", "2001-09-09 01:46")
    assert int(counted["bytes"]) > 6000
    assert counted["newest use"].startswith(time.strftime("%Y-", time.gmtime()))


def test_shrinks_to_a_size(workspace: Path) -> None:
    counted = values(doit(workspace, "cache", "--prune", "4K"))
    assert (counted["results"], counted["files"]) == ("1", "1")
    assert int(counted["removed"].split()[0]) > 3000
    assert not place(workspace / "cache", ACTION, KEY).exists()
    assert place(workspace / "cache", ACTION, "cd" * 32).exists()


def test_checks_and_removes_what_is_damaged(workspace: Path) -> None:
    sound = doit(workspace, "cache", "--verify")
    assert (sound.code, sound.err) == (0, "")
    assert "4 files of" in sound.out
    blob = place(workspace / "cache", BLOB, digest(b"new" * 1000))
    blob.write_bytes(b"now" * 1000)
    found = doit(workspace, "cache", "--verify")
    assert (found.code, found.err) == (1, "")
    assert f"{digest(b'new' * 1000)}: its content is not what its name says; removed" in found.out
    assert "1 damaged and removed, 1 results without all of their files removed" in found.out
    assert doit(workspace, "cache", "--verify").code == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["http://user:geheim@host:8080/x"], "http://host:8080/x is a server"),
        (["s3://bucket/x"], "s3://bucket/x is a bucket"),
        (["nowhere"], "nowhere: there is no such folder"),
        (["--prune", "much"], 'the size "much" is not possible'),
        (["--prune"], "--prune needs a value"),
        (["--prune", "1G", "--verify"], "one thing at a time"),
        (["a", "b"], "looks after one cache"),
        (["--what"], "there is no option --what"),
    ],
)
def test_wrong_usage(arguments: list[str], what: str, workspace: Path) -> None:
    run = doit(workspace, "cache", *arguments)
    assert (run.code, run.out) == (3, "")
    assert what in run.err
    assert "geheim" not in run.err


@pytest.mark.parametrize("settings", [None, "", "[tool.build_rules]\n", "[tool]\nbuild_rules = 3\n"])
def test_no_cache_is_named(settings: str | None, tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text("")
    if settings is not None:
        (tmp_path / "pyproject.toml").write_text(settings)
    run = doit(tmp_path, "cache")
    assert run.code == 3
    assert "pyproject.toml sets no cache under [tool.build_rules]" in run.err
