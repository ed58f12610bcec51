"""What one machine has built, another restores: whole builds with a cache in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from tests.chain.conftest import make_workspace, single_target
from tests.doit_runs import Run, doit
from tests.shared import SHARED

STEPS = 7
META = "meta:shapes-det:hailo8l-fast"
HEF = "build/shapes-det/hailo8l-fast/model+meta.hef"


def workspace(folder: Path, cache: Path, *lines: str) -> Path:
    make_workspace(folder, ("shapes-det",), images=12)
    single_target(folder, "shapes-det", "calibration_count = 8")
    (folder / "pyproject.toml").write_text("\n".join(["[tool.build_rules]", f'cache = "{cache}"', *lines]))
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace that was built, and the cache that it filled."""
    base = tmp_path_factory.mktemp("cache")
    folder = base / "first"
    folder.mkdir()
    run = doit(workspace(folder, base / "shared"))
    assert (run.code, ran(run)) == (0, STEPS)
    assert f"cache: 0 restored (0 MiB), {STEPS} uploaded" in run.out
    return folder, base / "shared"


def ran(run: Run) -> int:
    return sum(" done in " in line for line in run.out.splitlines())


def digest_of_everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "build").rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_another_checkout_runs_no_step(filled: tuple[Path, Path], tmp_path: Path) -> None:
    first, cache = filled
    other = workspace(tmp_path, cache)
    status = doit(other, "status")
    assert "cached" in status.out
    plan = doit(other, "plan").out
    assert f"{STEPS} would come from the cache, 0 would run, 0 more" in plan
    run = doit(other)
    assert (run.code, ran(run)) == (0, 0)
    assert f"{STEPS} from the cache" in run.out
    assert digest_of_everything(other) == digest_of_everything(first)
    assert doit(other).executed == []
    assert doit(other, "verify-hef", HEF).code == 0


def test_what_was_cleaned_comes_back(filled: tuple[Path, Path], tmp_path: Path) -> None:
    _, cache = filled
    other = workspace(tmp_path, cache)
    assert doit(other).code == 0
    before = (other / HEF).read_bytes()
    shutil.rmtree(other / "build")
    run = doit(other)
    assert (run.code, ran(run)) == (0, 0)
    assert (other / HEF).read_bytes() == before


def test_only_what_is_new_runs(filled: tuple[Path, Path], tmp_path: Path) -> None:
    _, cache = filled
    other = workspace(tmp_path, cache)
    (other / "models/shapes-det/labels.txt").write_text("a\nb\nc\nd\ne\n")
    # Whether what follows is known can only be told when `split` has run, whose key has the labels' place in it.
    plan = json.loads(doit(other, "plan", "--json").out)
    assert {row["task"].split(":")[0]: row["runs"] for row in plan}["har"] == "yes"
    run = doit(other)
    assert run.code == 0
    assert {line.split()[0] for line in run.out.splitlines() if " done in " in line} <= {"split:shapes-det", META}
    again = doit(other)
    assert again.executed == []


def test_a_damaged_cache_costs_time_only(filled: tuple[Path, Path], tmp_path: Path) -> None:
    first, cache = filled
    damaged = tmp_path / "damaged"
    shutil.copytree(cache, damaged)
    for path in damaged.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    (tmp_path / "w").mkdir()
    other = workspace(tmp_path / "w", damaged)
    run = doit(other)
    assert (run.code, ran(run)) == (0, STEPS)
    assert "warning" in run.out
    assert digest_of_everything(other) == digest_of_everything(first)


def test_what_was_pruned_is_not_promised(filled: tuple[Path, Path], tmp_path: Path) -> None:
    _, cache = filled
    pruned = tmp_path / "pruned"
    shutil.copytree(cache, pruned)
    shutil.rmtree(pruned / "cas")
    (tmp_path / "w").mkdir()
    other = workspace(tmp_path / "w", pruned)
    assert "from the cache" not in doit(other, "plan").out
    assert "never built" in doit(other, "status").out


def test_a_cache_that_may_only_be_read(filled: tuple[Path, Path], tmp_path: Path) -> None:
    _, cache = filled
    before = sorted(path.name for path in cache.rglob("*"))
    other = workspace(tmp_path, cache, 'cache_mode = "read-only"')
    (other / "models/shapes-det/labels.txt").write_text("v\nw\nx\ny\nz\n")
    assert doit(other).code == 0
    assert sorted(path.name for path in cache.rglob("*")) == before


def test_a_dead_server_costs_seconds_once(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path, ("shapes-det",), images=12)
    single_target(folder, "shapes-det", "calibration_count = 8")
    (folder / "pyproject.toml").write_text('[tool.build_rules]\ncache = "http://user:secret@127.0.0.1:9"\n')
    run = doit(folder)
    assert (run.code, ran(run)) == (0, STEPS)
    assert "secret" not in run.out + run.err
    assert run.out.count("127.0.0.1:9") >= 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('cache = "ftp://x"', "cache"),
        ('cache_mode = "write-only"', "cache_mode"),
        ('cache = "c"\ncache_limit = "many"', "cache_limit"),
    ],
)
def test_what_is_set_wrongly_is_told(tmp_path: Path, line: str, told: str) -> None:
    folder = make_workspace(tmp_path, ("shapes-det",), images=2)
    (folder / "pyproject.toml").write_text(f"[tool.build_rules]\n{line}\n")
    run = doit(folder)
    assert (run.code, told in run.err, "Traceback" in run.err) == (3, True, False)


def test_steps_side_by_side_share_too(filled: tuple[Path, Path], tmp_path: Path) -> None:
    assert SHARED is not None
    _, cache = filled
    other = workspace(tmp_path, cache)
    run = doit(other, "-n", "2")
    assert (run.code, ran(run)) == (0, 0)


def test_results_for_other_content_of_what_a_step_turned_out_to_read(tmp_path: Path) -> None:
    """Weights beside an ONNX are found by the step: going back and forth between two trainings is in the cache."""
    (tmp_path / "w").mkdir()
    folder = workspace(tmp_path / "w", tmp_path / "cache")
    (export,) = (folder / "models/shapes-det").glob("*.onnx")
    model = onnx.load(export)
    onnx.save(model, export, save_as_external_data=True, location="weights.data", size_threshold=1024)
    weights = export.with_name("weights.data")
    first = weights.read_bytes()
    second = bytearray(first)
    second[-1] ^= 1  # the lowest bit of some mantissa, or so
    results = []
    for content in (first, bytes(second)):
        weights.write_bytes(content)
        run = doit(folder, "split:shapes-det")
        assert (run.code, ran(run)) == (0, 1), run.err
        results.append((folder / "build/shapes-det/split.onnx").read_bytes())
    for content, result in zip((first, bytes(second), first), (*results, results[0]), strict=True):
        shutil.rmtree(folder / "build")
        weights.write_bytes(content)
        assert "1 would come from the cache" in doit(folder, "plan", "split:shapes-det").out
        run = doit(folder, "split:shapes-det")
        assert (run.code, ran(run)) == (0, 0)
        assert (folder / "build/shapes-det/split.onnx").read_bytes() == result
