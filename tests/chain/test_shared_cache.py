"""What one machine has built, another restores: whole builds with a cache in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from tests.chain.conftest import make_small, make_workspace
from tests.doit_runs import Run, doit
from tests.shared import SHARED

STEPS = 8
META = "meta:shapes-det:hailo8l-fast"
HEF = "build/shapes-det/hailo8l-fast/model+meta.hef"


def workspace(folder: Path, cache: Path, *lines: str) -> Path:
    make_small(folder)
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


def place(folder: Path, cache: Path | None, model: str, calibration: str, *lines: str) -> Path:
    """Make the workspace of `filled` with its model in another folder and its pool named otherwise."""
    folder.mkdir()
    make_workspace(folder, ("shapes-det",), images=12)
    if model != "shapes-det":
        (folder / "models" / model).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models/shapes-det").rename(folder / "models" / model)
    declared = [f'calibration = "{calibration}"', "calibration_count = 8", *lines]
    (folder / "models" / model / "model.toml").write_text("\n".join(declared))
    if cache is not None:
        (folder / "pyproject.toml").write_text(f'[tool.build_rules]\ncache = "{cache}"')
    return folder


def outputs_of(folder: Path, model: str) -> dict[str, bytes]:
    build = folder / "build" / model
    files = (path for path in sorted(build.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(build)): path.read_bytes() for path in files}


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


@pytest.mark.parametrize("case", ["moved", "absolute pool", "pool outside", "pool as a pattern", "export renamed"])
def test_no_path_is_in_a_key(filled: tuple[Path, Path], tmp_path: Path, case: str) -> None:
    """All outputs of the model are those that a build without a cache would make here, which `filled` shows: no byte
    of them tells where anything lay (`test_a_model_that_was_moved_gives_the_same_bytes`)."""
    first, cache = filled
    model = "team/shapes-det" if case == "moved" else "shapes-det"
    pool = {
        "moved": "../../scenes/calibration",
        "absolute pool": str(tmp_path / "w/models/scenes/calibration"),
        "pool outside": str(tmp_path / "elsewhere"),
        "pool as a pattern": "../scenes/calibration/*.jpg",
        "export renamed": "../scenes/calibration",
    }
    other = place(tmp_path / "w", cache, model, pool[case])
    if case == "pool outside":
        (other / "models/scenes/calibration").rename(tmp_path / "elsewhere")
    if case == "export renamed":
        (export,) = (other / "models/shapes-det").glob("*.onnx")
        export.rename(export.with_name("last.onnx"))
    run = doit(other)
    assert (run.code, ran(run)) == (0, 0), run.out
    assert f"{STEPS} from the cache" in run.out
    assert outputs_of(other, model) == outputs_of(first, "shapes-det")
    assert doit(other).executed == []


def test_a_model_that_was_moved_gives_the_same_bytes(filled: tuple[Path, Path], tmp_path: Path) -> None:
    """What `test_no_path_is_in_a_key` rests on: without any cache, every byte is the same at another place."""
    first, _ = filled
    other = place(tmp_path / "w", None, "team/shapes-det", str(tmp_path / "w/models/scenes/calibration"))
    (export,) = (other / "models/team/shapes-det").glob("*.onnx")
    export.rename(export.with_name("last.onnx"))
    assert doit(other).code == 0
    assert outputs_of(other, "team/shapes-det") == outputs_of(first, "shapes-det")


def test_a_renamed_model_restores_what_does_not_say_its_name(filled: tuple[Path, Path], tmp_path: Path) -> None:
    first, cache = filled
    other = place(tmp_path / "w", cache, "other", "../scenes/calibration")
    run = doit(other)
    assert (run.code, ran(run)) == (0, STEPS - 2)
    assert "2 from the cache" in run.out
    plain = place(tmp_path / "plain", None, "other", "../scenes/calibration")
    assert doit(plain).code == 0
    outputs = outputs_of(other, "other")
    assert outputs == outputs_of(plain, "other")
    before = outputs_of(first, "shapes-det")
    same = {name for name in outputs if outputs[name] == before[name]}
    silent = {f"hailo8l-fast/{name}" for name in ("compile.alls", "feed.json", "har.json", "hef.json")}
    assert same == {name for name in outputs if "/" not in name} | silent


def test_names_that_show_are_in_the_key(filled: tuple[Path, Path], tmp_path: Path) -> None:
    """A renamed image shows in calibration-images.json: `calibration` runs, and all that follows is restored."""
    _, cache = filled
    other = place(tmp_path / "w", cache, "shapes-det", "../scenes/calibration")
    pool = sorted((other / "models/scenes/calibration").iterdir())
    pool[-1].rename(pool[-1].with_name("zz.jpg"))
    run = doit(other)
    assert (run.code, ran(run)) == (0, 1)
    assert "calibration:shapes-det done in" in run.out
    assert "zz.jpg" in (other / "build/shapes-det/calibration-images.json").read_text()


def test_weights_beside_a_model_that_was_moved(tmp_path: Path) -> None:
    """What a step turned out to read is looked for beside the export, wherever that lies, and nowhere else."""
    folders = []
    names = ("shapes-det", "team/shapes-det", "team/shapes-det")
    for number, model in enumerate(names):
        folder = place(tmp_path / str(number), tmp_path / "cache", model, "../scenes/calibration")
        (export,) = (folder / "models" / model).glob("*.onnx")
        onnx.save(onnx.load(export), export, save_as_external_data=True, location="net.data", size_threshold=1024)
        folders.append(folder)
    weights = folders[2] / "models/team/shapes-det/net.data"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    runs = [doit(folder, f"split:{model}") for folder, model in zip(folders, names, strict=True)]
    assert [(run.code, ran(run)) for run in runs] == [(0, 1), (0, 0), (0, 1)]
    outputs = [outputs_of(folder, model) for folder, model in zip(folders, names, strict=True)]
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]
    assert doit(folders[1], "split:team/shapes-det").executed == []


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
    folder = make_small(tmp_path)
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
