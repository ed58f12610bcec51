"""The worker: one file that every Python of the compiler's runs, and each of its actions."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build_rules.compilers.dfc import dfc_worker
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import Done, Work, WorkerFailure
from build_rules.compilers.har_file import read_har
from build_rules.hef.reader import read_hef
from tests.compilers.dfc.doubles import SCRIPT, calibration, write_detector
from tests.compilers.dfc.launch.environments import make_client, parse_work, run_apart, run_quietly, write_client
from tests.dfc_double.environment import make_environment, set_behaviour

SOURCE = Path(dfc_worker.__file__)
PYENV = Path.home() / ".pyenv/versions"
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12")


def test_every_python_since_3_8_can_read_it() -> None:
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_it_stands_alone() -> None:
    """It imports the standard library of Python 3.8, and the rest by name, in the compiler's environment."""
    known = set(sys.stdlib_module_names) | {"__future__"}
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= known
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert (node.module or "").partition(".")[0] in known


@pytest.mark.parametrize("streamed", [False, True], ids=["by path", "sent"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_runs_it(version: str, streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} below {PYENV}")
    site = tmp_path / "site"
    write_client(site / "hailo_sdk_client")
    (site / "numpy.py").write_text('__version__ = "1.23.3"\n')
    (site / "Some_Package-1.2.dist-info").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))
    dfc = DfcSettings(command=("env", f"PYTHONPATH={site}", str(found[-1])), shared=not streamed)
    done = run_quietly(dfc, parse_work(tmp_path))
    assert done.environment["python"].startswith(f"{version}.")
    assert (done.environment["dfc"], done.environment["numpy"]) == ("3.33.0", "1.23.3")
    assert json.loads((tmp_path / "parsed.har").read_text())["model"] == "an ONNX graph"
    probed = run_quietly(dfc, Work("probe"))
    assert probed.environment == done.environment
    assert probed.facts["requires"] == []


@dataclass
class Bench:
    """The double, and a folder to work in."""

    python: Path
    folder: Path
    ends: tuple[str, ...]

    def run(self, action: str, settings: dict[str, Any], inputs: str = "", outputs: str = "", **more: Any) -> Done:
        """Run an action on files of the folder: `har=parsed.har script=model.alls`."""
        given, made = (
            {name: self.folder / file for name, _, file in (word.partition("=") for word in words.split())}
            for words in (inputs, outputs)
        )
        return run_quietly(DfcSettings(python=str(self.python)), Work(action, settings, given, made, **more))

    def parse(self, ends: tuple[str, ...] | None = None) -> Done:
        settings = {"net_name": "net", "hw_arch": "hailo8l", "end_nodes": list(self.ends if ends is None else ends)}
        return self.run("parse", settings, "onnx=model.onnx", "har=parsed.har")

    def optimize(self) -> Done:
        return self.run("optimize", {}, "har=parsed.har script=model.alls calibration=calibration.npy", "har=model.har")


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("settled")
    bench = Bench(make_environment(folder / "dfc"), folder / "work", ())
    bench.folder.mkdir()
    bench.ends = write_detector(bench.folder)
    np.save(bench.folder / "calibration.npy", calibration())
    np.save(bench.folder / "samples.npy", calibration(3, seed=1))
    (bench.folder / "model.alls").write_text(SCRIPT)
    (bench.folder / "pixels.alls").write_text(SCRIPT.splitlines()[0])
    (bench.folder / "nothing.alls").write_text("# no line of the compile stage\n\n")
    (bench.folder / "compile.alls").write_text("performance_param(compiler_optimization_level=1)\n")
    bench.parse()
    bench.optimize()
    return bench


@pytest.fixture
def bench(settled: Bench, tmp_path: Path) -> Bench:
    """A copy of what has been parsed and quantized."""
    shutil.copytree(settled.folder, tmp_path / "work")
    return Bench(settled.python, tmp_path / "work", settled.ends)


def test_parse(bench: Bench) -> None:
    done = bench.parse()
    har = read_har(bench.folder / "parsed.har")
    assert (har.name, har.hw_arch, har.state) == ("net", "hailo8l", "hailo_model")
    assert [end in entry["original_names"] for end, entry in zip(bench.ends, done.facts["outputs"], strict=True)] == [
        True
    ] * len(bench.ends)


def test_parse_keeps_the_order_that_is_asked_for(bench: Bench) -> None:
    first = [entry["layer"] for entry in bench.parse().facts["outputs"]]
    assert [entry["layer"] for entry in bench.parse(bench.ends[::-1]).facts["outputs"]] == first[::-1]


def test_optimize_and_compile(bench: Bench) -> None:
    log = bench.folder / "har.log"
    calibrated = "har=parsed.har script=model.alls calibration=calibration.npy"
    done = bench.run("optimize", {}, calibrated, "har=again.har", log=log)
    assert read_har(bench.folder / "again.har").state == "quantized_model"
    assert log.read_text() == done.log
    assert "==> acceleras.log <==" in done.log
    done = bench.run("compile", {}, "har=again.har script=nothing.alls", "hef=model.hef allocation=found.alls")
    assert read_hef(bench.folder / "model.hef").sdk_version == "3.33.0-double-emulated"
    assert done.facts == {"allocation": True}
    assert (bench.folder / "found.alls").read_text().strip()
    assert "==> allocator.log <==" in done.log


def test_what_the_last_compile_found_is_taken_up(bench: Bench) -> None:
    bench.run("compile", {}, "har=model.har script=nothing.alls", "hef=model.hef allocation=found.alls")
    first = (bench.folder / "model.hef").read_bytes()
    done = bench.run("compile", {}, "har=model.har script=compile.alls allocation=found.alls", "hef=model.hef")
    assert (bench.folder / "model.hef").read_bytes() == first
    assert done.facts == {"allocation": False}
    (bench.folder / "found.alls").write_text("nonsense(")
    with pytest.raises(WorkerFailure) as caught:
        bench.run("compile", {}, "har=model.har script=compile.alls allocation=found.alls", "hef=other.hef")
    assert caught.value.type == "AllocatorScriptParserException"
    assert not (bench.folder / "other.hef").exists()


@pytest.mark.parametrize(
    ("context", "inputs"),
    [
        ("quantized", "har=model.har"),
        ("fp_optimized", "har=parsed.har script=pixels.alls"),
        ("fp_optimized", "har=model.har"),
        ("native", "har=parsed.har"),
    ],
)
def test_simulate(bench: Bench, context: str, inputs: str) -> None:
    settings = {"context": context, "batch_size": 2}
    done = bench.run("simulate", settings, f"{inputs} samples=samples.npy", "arrays=arrays.npz")
    with np.load(bench.folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    assert list(arrays) == done.facts["outputs"]
    assert all(name.startswith("net/") for name in arrays)
    assert all(array.dtype == np.float32 and array.shape[0] == 3 for array in arrays.values())


def test_profile(bench: Bench) -> None:
    bench.run("compile", {}, "har=model.har script=nothing.alls", "hef=model.hef")
    facts = bench.run("profile", {}, "har=model.har hef=model.hef").facts
    assert set(facts) == {"stats", "latency_data"}


def test_probe(bench: Bench) -> None:
    done = bench.run("probe", {"hw_archs": ["hailo8l", "hailo15h"]})
    assert done.facts["hw_archs"] == ["hailo8l"]
    assert "hailo15h" in done.facts["refused"]["hailo15h"]
    files = [Path(path) for path in done.facts["files"]]
    assert bench.python.resolve() in files
    assert bench.python.parents[1] / "pyvenv.cfg" in files
    assert any(path.name == "hailo_sdk_client" for path in files)
    assert any(path.name == "site-packages" for path in files)
    assert done.facts["memory_mb"] > done.facts["free_memory_mb"] > 0
    assert done.facts["disk_mb"] > 0
    assert (done.facts["system"], done.facts["gpus"]) == ("Linux", [])


def test_the_environment_is_told_without_loading_the_compiler(tmp_path: Path) -> None:
    python = make_client(tmp_path / "dfc", "sys.path.append('/added'); print('loaded')")
    dfc = DfcSettings(python=str(python))
    quick, whole = (run_quietly(dfc, Work("probe", {"import": loaded})) for loaded in (False, True))
    assert quick.environment == whole.environment
    assert ("loaded" in quick.log, "loaded" in whole.log) == (False, True)
    site = next((tmp_path / "dfc").glob("lib/python*/site-packages"))
    (site / "tensorflow-2.12.0.dist-info").mkdir()
    with next(site.glob("hailo_dataflow_compiler-*.dist-info/METADATA")).open("a") as text:
        text.write("Requires-Dist: numpy==1.26.4\n")
    assert run_quietly(dfc, Work("probe", {"import": False})).facts["requires"] == ["numpy==1.26.4"]
    changed = run_quietly(dfc, Work("probe", {"import": False})).environment["digest"]
    (site / "tensorflow-2.12.0.dist-info").rename(site / "tensorflow-2.13.0.dist-info")
    again = run_quietly(dfc, Work("probe", {"import": False})).environment["digest"]
    assert len({quick.environment["digest"], changed, again}) == 3
    shutil.copytree(tmp_path / "dfc", tmp_path / "elsewhere", symlinks=True)
    moved = DfcSettings(python=str(tmp_path / "elsewhere/bin/python"))
    assert run_quietly(moved, Work("probe", {"import": False})).environment["digest"] == again


def test_outputs_in_another_order_are_refused() -> None:
    outputs = [("net/conv1", ["/a/Conv", "/a/Relu"]), ("net/conv2", ["/b/Conv"])]
    for asked in ([], ["/a/Conv", "/b/Conv"], ["/a/Relu", "/b/Conv"], ["output0", "output1"]):
        dfc_worker._check_order(outputs, asked)
    with pytest.raises(dfc_worker.WorkerError, match="output 0 should be /b/Conv, which became output 1"):
        dfc_worker._check_order(outputs, ["/b/Conv", "/a/Conv"])
    with pytest.raises(dfc_worker.WorkerError, match="1 outputs were asked for, the network has 2"):
        dfc_worker._check_order(outputs, ["/a/Conv"])


@pytest.mark.parametrize(
    "images", [np.zeros((3, 8, 8), np.uint8), np.zeros((1, 8, 8, 3)), np.array([{"a": 1}], dtype=object)]
)
def test_images_of_another_form_are_refused(bench: Bench, images: np.ndarray[Any, Any]) -> None:
    np.save(bench.folder / "calibration.npy", images, allow_pickle=True)
    with pytest.raises(WorkerFailure) as caught:
        bench.optimize()
    assert caught.value.kind == "raised"
    assert caught.value.type in ("WorkerError", "ValueError")


def test_what_the_double_does_on_request_is_told_apart(bench: Bench, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "own")
    own = Bench(python, bench.folder, bench.ends)
    wanted: dict[str, tuple[dict[str, Any], float | None]] = {
        "disk": ({"disk_full": "compile"}, None),
        "died": ({"die": {"at": "compile", "signal": 9}}, None),
        "timeout": ({"hang": "compile", "stubborn": True}, 3.0),
    }
    for kind, (behaviour, limit) in wanted.items():
        set_behaviour(python, **behaviour)
        with pytest.raises(WorkerFailure) as caught:
            own.run("compile", {}, "har=model.har script=nothing.alls", "hef=no.hef", limit=limit)
        assert caught.value.kind == kind
        assert not (bench.folder / "no.hef").exists()


SNAPSHOT = """
import numpy as np
def optimize(self, data):
    assert type(data) is np.ndarray and data.shape == (1024, 640, 640, 3) and data.dtype == np.uint8
    self.made = {"sum": int(data[::256].sum())}
ClientRunner.optimize = optimize
ClientRunner.load_model_script = lambda self, script: None
"""
HANDED_OVER = """
import sys
from pathlib import Path
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import Work
from tests.compilers.dfc.launch.environments import run_quietly
folder = Path(sys.argv[2])
inputs = {"har": folder / "a", "script": folder / "a", "calibration": folder / "calibration.npy"}
run_quietly(DfcSettings(python=sys.argv[1]), Work("optimize", {}, inputs, {"har": folder / "model.har"}))
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
"""


def test_a_snapshot_stays_in_its_file(tmp_path: Path) -> None:
    """One of 1,024 images of 640 x 640: 1.26 GB, of which a client that looks at four reads four."""
    python = make_client(tmp_path / "dfc", SNAPSHOT)
    (tmp_path / "a").write_text("")
    path = tmp_path / "calibration.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1024, 640, 640, 3))
    array[256] = 1
    del array
    output, _ = run_apart(HANDED_OVER, python, tmp_path).communicate(timeout=120)
    made = json.loads((tmp_path / "model.har").read_text())
    assert made["sum"] == 640 * 640 * 3
    assert made["peak"] < 150 << 10, "KiB of the worker"
    assert int(output) < 100 << 10, "KiB of whoever waits"


def test_a_person_may_call_it(tmp_path: Path) -> None:
    """Without anybody who holds its input it ends at once, and writes nothing."""
    work = {"nonce": "1", "action": "probe", "settings": {}, "inputs": {}, "outputs": {}, "environment": {}, "gpus": ""}
    (tmp_path / "work").mkdir()
    (tmp_path / "request.json").write_text(json.dumps(work))
    command = [make_client(tmp_path / "dfc", "time.sleep(60)"), SOURCE, tmp_path / "request.json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    assert done.returncode == dfc_worker.GONE
    assert not (tmp_path / "result.json").exists()
