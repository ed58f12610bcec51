"""The worker in an interpreter of this machine: what it is given, what it may do, and that it ends with us."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import Done, WorkerFailure, run_worker
from tests.compilers.dfc.launch.environments import has_ended, make_client, parse_work, run_apart, run_quietly
from tests.compilers.dfc.launch.hanging import HANG, pids, wait_for

PYENV = Path.home() / ".pyenv/versions"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_client(tmp_path_factory.mktemp("client") / "dfc")


def failure(python: object, folder: Path, **changes: Any) -> WorkerFailure:
    """What comes of a run that must fail; it writes nothing, and leaves nothing but what is kept."""
    work = replace(parse_work(folder), **changes)
    before = set(folder.iterdir())
    with pytest.raises(WorkerFailure) as caught:
        run_quietly(DfcSettings(python=str(python)), work)
    assert {path.name for path in set(folder.iterdir()) - before} <= {"kept", "pids"}
    return caught.value


def made(folder: Path, done: Done) -> dict[str, Any]:
    assert done.environment["dfc"] == "3.33.0"
    content: dict[str, Any] = json.loads((folder / "parsed.har").read_text())
    return content


def test_outputs_and_logs_come_into_place(python: Path, tmp_path: Path) -> None:
    done = run_quietly(DfcSettings(python=str(python)), parse_work(tmp_path))
    assert made(tmp_path, done)["model"] == "an ONNX graph"
    assert made(tmp_path, done)["end_node_names"] == ["/a/Conv", "/b/Conv"]
    assert [entry["layer"] for entry in done.facts["outputs"]] == ["net/conv1", "net/conv2"]
    assert done.log == (tmp_path / "parsed.log").read_text()
    assert done.log.startswith("==> allocator.log <==\nallocated\n\n==> output.log <==\nsaved ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "parsed.har", "parsed.log"]


def test_an_interpreter_beside_the_repository(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "dfc").symlink_to(python.parents[1])
    monkeypatch.chdir(tmp_path / "repository")
    work = parse_work(Path())
    assert made(Path(), run_quietly(DfcSettings(python="../dfc/bin/python"), work))["net_name"] == "net"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert made(Path(), run_quietly(DfcSettings(python="~/dfc/bin/python"), work))["net_name"] == "net"
    prefix = DfcSettings(command=("../dfc/bin/python",))
    assert made(Path(), run_quietly(prefix, work))["net_name"] == "net"


def test_it_finds_itself_in_a_folder_of_its_own_with_nothing_of_ours(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    monkeypatch.setenv("HAILO_SDK_LOG_DIR", "/elsewhere")
    monkeypatch.setenv("HAILO_CLIENT_LOGS_ENABLED", "false")
    monkeypatch.setenv("HAILO_SET_MEMORY_GROWTH", "False")
    content = made(tmp_path, run_quietly(DfcSettings(python=str(python)), parse_work(tmp_path)))
    environment = content["environment"]
    assert Path(content["folder"]).parent.parent == tmp_path
    assert environment["HAILO_SDK_LOG_DIR"] == content["folder"]
    assert environment["HAILO_CLIENT_LOGS_ENABLED"] == "true"
    assert environment["HAILO_SET_MEMORY_GROWTH"] == "False", "what the user says of the compiler is heeded"
    assert "PYTHONPATH" not in environment
    assert not any(tmp_path in Path(folder).parents or "build_rules" in folder for folder in content["path"])
    assert environment["PATH"].split(":")[0] == str(python.parent)


@pytest.mark.parametrize(
    ("gpus", "before", "visible"),
    [("", "3", "-1"), ("device=0,1", "3", "0,1"), ("all", "3", "3"), ("all", None, "0,1")],
)
def test_gpus_are_visible_on_purpose(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: str, before: str | None, visible: str
) -> None:
    tool = python.parent / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA A100, 40960, 300'\necho '1, NVIDIA T4, 15360, 5'\n")
    tool.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    content = made(tmp_path, run_quietly(DfcSettings(python=str(python), gpus=gpus), parse_work(tmp_path)))
    assert content["environment"]["CUDA_VISIBLE_DEVICES"] == visible


def test_progress_comes_line_by_line_in_the_thread_that_waits(tmp_path: Path) -> None:
    source = r"""
    print("begun")
    sys.stdout.write("\r10 %\r20 %"); sys.stdout.flush()
    sys.stderr.write("\x1b[32m[info]\x1b[0m ended\n")
    os.write(1, b"\xff\xfe raw\n")
    """
    python = make_client(tmp_path / "dfc", source)
    lines: list[str] = []
    threads = set()

    def hear(line: str) -> None:
        lines.append(line)
        threads.add(threading.current_thread())

    done = run_worker(DfcSettings(python=str(python)), parse_work(tmp_path), hear)
    assert lines[:4] == ["begun", "10 %", "20 %[info] ended", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} raw"]
    assert threads == {threading.current_thread()}
    assert "10 %" not in done.log, "what was drawn over is no line of the log"


def test_not_there_not_executable_no_python(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    found = [failure(path, tmp_path) for path in ("/nowhere/python", text, "/bin/true", "/bin/cat", tmp_path)]
    assert {error.kind for error in found} == {"start"}
    assert [error.message.partition(" ")[2].split(";")[0] for error in found] == [
        "is not there",
        "is not executable",
        "is no Python that works: it ended with code 0",
        "is no Python that works: it ended with code 0",
        "is a folder",
    ]
    text.chmod(0o755)
    assert failure(text, tmp_path).kind == "start"


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_a_python_that_is_too_old(tmp_path: Path, version: str) -> None:
    found = sorted(PYENV.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} below {PYENV}")
    error = failure(found[0], tmp_path)
    assert (error.kind, "older than 3.8" in error.message) == ("start", True), error.message


def test_without_the_compiler(tmp_path: Path) -> None:
    python = make_client(tmp_path / "dfc")
    package = next((tmp_path / "dfc").glob("lib/python*/site-packages/hailo_sdk_client"))
    package.rename(package.with_name("other"))
    error = failure(python, tmp_path)
    assert (error.kind, error.type) == ("environment", "ModuleNotFoundError")
    assert error.message == "No module named 'hailo_sdk_client'"


def test_what_the_compiler_raises_is_told_whole(tmp_path: Path) -> None:
    source = """
    class MisspellNodeError(Exception): pass
    def translate(self, model, net_name, **options):
        Path("hailo_sdk.core.log").write_text("the last words\\n")
        Path("big").mkdir(); Path("big/file").write_bytes(b"1"); os.symlink("/etc/passwd", "link")
        raise MisspellNodeError("no node /x")
    ClientRunner.translate_onnx_model = translate
    """
    error = failure(make_client(tmp_path / "dfc", source), tmp_path)
    assert (error.kind, error.type, error.message) == ("raised", "MisspellNodeError", "no node /x")
    assert "in translate" in error.traceback
    assert "==> hailo_sdk.core.log <==\nthe last words\n" in error.log
    assert error.kept == tmp_path / "kept"
    kept = sorted(str(path.relative_to(error.kept)) for path in error.kept.rglob("*"))
    assert kept == ["big", "big/file", "hailo_sdk.core.log", "output.log", "request.json", "result.json"]


def test_a_failure_comes_through_a_pipe(tmp_path: Path) -> None:
    import pickle

    error = failure("/nowhere/python", tmp_path)
    again = pickle.loads(pickle.dumps(error))
    assert vars(again) == vars(error)
    assert str(again) == str(error)


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ("os._exit(0)", "garbage", "without a valid result"),
        ("os._exit(3)", "died", "ended with code 3"),
        ("raise SystemExit('licence')", "environment", "licence"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "died", "signal 9"),
        ("import ctypes; ctypes.string_at(0)", "died", "signal 11"),
        ("Path('../result.json').write_bytes(b'\\xff{'); os._exit(0)", "garbage", "without a valid result"),
        ("Path('../result.json').write_text('{\"facts\": {}}'); os._exit(0)", "garbage", "without a valid result"),
        ("Path('../result.json').write_text('[' * 100000); os._exit(0)", "garbage", "without a valid result"),
        ("os.symlink('/etc/passwd', '../result.json'); os._exit(0)", "garbage", "without a valid result"),
        ("os.mkfifo('../result.json'); os._exit(0)", "garbage", "without a valid result"),
        ("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", "died", "signal 9"),
    ],
)
def test_garbage_and_death(tmp_path: Path, source: str, kind: str, words: str) -> None:
    error = failure(make_client(tmp_path / "dfc", source), tmp_path)
    assert error.kind == kind
    assert words in error.message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("pass", "there is no such file"),
        ("open(path, 'w')", "nothing in it"),
        ("os.symlink('/etc/passwd', path)", "no regular file"),
        ("os.mkfifo(path)", "no regular file"),
        ("os.mkdir(path)", "no regular file"),
    ],
)
def test_an_output_that_is_none(tmp_path: Path, source: str, words: str) -> None:
    error = failure(
        make_client(tmp_path / "dfc", f"def save(self, path): {source}\nClientRunner.save_har = save\n"), tmp_path
    )
    assert error.kind == "garbage"
    assert words in error.message


def test_a_log_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    source = (
        "os.symlink('/etc/passwd', 'allocator.log'); os.mkfifo('acceleras.log'); ClientRunner.save_har = lambda *a: 1"
    )
    error = failure(make_client(tmp_path / "dfc", source), tmp_path)
    assert "root:" not in error.log
    assert "acceleras" not in error.log


def test_a_full_disk(tmp_path: Path) -> None:
    source = """
    def save(self, path):
        try:
            Path("/dev/full").write_bytes(b"1" * 100000)
        except OSError as error:
            raise RuntimeError("could not save") from error
    ClientRunner.save_har = save
    """
    assert failure(make_client(tmp_path / "dfc", source), tmp_path).kind == "disk"


def test_a_disk_that_has_no_place_for_the_result(tmp_path: Path) -> None:
    python = make_client(tmp_path / "dfc", "os.symlink('/dev/full', '../result.json.partial')")
    error = failure(python, tmp_path)
    assert (error.kind, error.message) == ("disk", "no space left for the result")


def test_a_full_disk_of_our_own(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_place(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "the copy")

    monkeypatch.setattr(shutil, "copyfile", no_place)
    error = failure(python, tmp_path)
    assert (error.kind, error.message) == ("disk", "the copy: No space left on device")


def test_a_limit_ends_all_of_it(tmp_path: Path, hanging: Path) -> None:
    python = make_client(tmp_path / "dfc", HANG)
    begun = time.monotonic()
    error = failure(python, tmp_path, limit=1.0)
    assert (error.kind, error.message) == ("timeout", "it was ended after 1 seconds, the limit in `time_limit`")
    assert time.monotonic() - begun < 10
    assert has_ended(pids(hanging))


def test_what_is_left_behind_ends_too(tmp_path: Path, hanging: Path) -> None:
    """A process that has left the group would chatter on through the pipe of one that has ended."""
    source = """
    import subprocess
    child = subprocess.Popen("while :; do echo chatter; sleep 0.1; done", shell=True, start_new_session=True)
    Path(os.environ["PIDS"]).write_text(f"{child.pid} {child.pid} {child.pid}")
    """
    begun = time.monotonic()
    run_quietly(DfcSettings(python=str(make_client(tmp_path / "dfc", source))), parse_work(tmp_path))
    assert time.monotonic() - begun < 20
    assert has_ended(pids(hanging))


def test_what_progress_raises_ends_all_of_it(tmp_path: Path, hanging: Path) -> None:
    python = make_client(tmp_path / "dfc", "print('hello', flush=True)\n" + HANG)

    def hear(line: str) -> None:
        wait_for(hanging)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(DfcSettings(python=str(python)), parse_work(tmp_path), hear)
    assert has_ended(pids(hanging))
    assert not list(tmp_path.glob(".dfc-*"))


APART = """
import sys
from pathlib import Path
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from tests.compilers.dfc.launch.environments import parse_work, run_quietly
run_quietly(DfcSettings(python=sys.argv[1]), parse_work(Path(sys.argv[2]), 600.0))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_whoever_waits_for_it(tmp_path: Path, hanging: Path, number: signal.Signals) -> None:
    python = make_client(tmp_path / "dfc", HANG)
    waiting = run_apart(APART, python, tmp_path)
    started = wait_for(hanging)
    waiting.send_signal(number)
    waiting.communicate(timeout=30)
    assert has_ended(started)


def test_it_ends_with_the_process_that_watches_over_it(tmp_path: Path, hanging: Path) -> None:
    python = make_client(tmp_path / "dfc", HANG.replace("child = subprocess", "import subprocess; child = subprocess"))
    waiting = run_apart(APART, python, tmp_path)
    worker, watching, _ = wait_for(hanging)
    os.kill(watching, signal.SIGKILL)
    waiting.communicate(timeout=30)
    assert waiting.returncode == 1
    assert has_ended([worker, watching])


NOISE = """
import sys
def noise(stream):
    block = bytes(range(256)).replace(b"\\n", b"") * 4096
    for _ in range(25):
        stream.buffer.write(block)
    stream.flush()
noise(sys.stdout); noise(sys.stderr)
print()
print("\\n".join(["line of noise"] * 200000))
"""
MEASURED = """
import sys
from pathlib import Path
from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import run_worker
from tests.compilers.dfc.launch.environments import parse_work
lines = 0
def hear(line):
    global lines
    lines += 1
    assert len(line) <= 8 << 10
done = run_worker(DfcSettings(python=sys.argv[1]), parse_work(Path(sys.argv[2])), hear)
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]), lines, len(done.log))
"""


def measure(python: Path, folder: Path) -> tuple[int, int, int]:
    output, _ = run_apart(MEASURED, python, folder).communicate(timeout=120)
    peak, lines, characters = map(int, output.split())
    return peak, lines, characters


def test_noise_without_end_costs_no_memory(python: Path, tmp_path: Path) -> None:
    quiet, *_ = measure(python, tmp_path)
    peak, lines, characters = measure(make_client(tmp_path / "dfc", NOISE), tmp_path)
    assert lines > 200_000
    assert characters < 3 << 20
    assert peak - quiet < 16 << 10, "KiB beyond a run that says nothing, for 55 MB of noise"
