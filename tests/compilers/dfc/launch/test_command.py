"""The worker behind a command prefix: ssh and srun, files by path and files that are sent, and what may come back."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import tempfile
import time
from pathlib import Path

import pytest

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import Work, WorkerFailure, run_worker
from tests.compilers.dfc.launch.environments import has_ended, make_client, parse_work, run_apart, run_quietly
from tests.compilers.dfc.launch.hanging import APART, HANG, pids, wait_for
from tests.compilers.dfc.launch.stand_ins import StandIns


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    (tmp_path / "far").mkdir()
    return StandIns(tmp_path, monkeypatch, far=str(tmp_path / "far"))


@pytest.fixture
def is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tests lie is what other machines see; the temporary folder is elsewhere."""
    (tmp_path / "own").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "own"))


def ssh(python: Path, *, shared: bool = True, host: str = "gpu1") -> DfcSettings:
    return DfcSettings(command=("ssh", "-o", "BatchMode=yes", host, str(python)), shared=shared)


def failure(dfc: DfcSettings, folder: Path, limit: float = 60.0) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        run_quietly(dfc, parse_work(folder, limit))
    assert not (folder / "parsed.har").exists()
    assert not list(folder.glob(".dfc-*"))
    return caught.value


def content(folder: Path) -> dict[str, str]:
    made: dict[str, str] = json.loads((folder / "parsed.har").read_text())
    return made


@pytest.mark.usefixtures("is_shared")
def test_paths_that_both_sides_see_are_quoted_for_the_shell_there(programs: StandIns, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a; $HOME "folder"'
    folder.mkdir()
    run_quietly(ssh(make_client(tmp_path / "dfc")), parse_work(folder))
    (call,) = programs.calls()
    assert call[:6] == ["ssh", "-o", "BatchMode=yes", "gpu1", str(tmp_path / "dfc/bin/python"), "-u"]
    assert "'\"'\"'" in call[6]
    assert content(folder)["model"] == "an ONNX graph"
    assert Path(content(folder)["folder"]).is_relative_to(folder)


@pytest.mark.usefixtures("is_shared")
def test_srun_hands_words_on_as_they_are(programs: StandIns, tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    python = make_client(tmp_path / "dfc")
    run_quietly(DfcSettings(command=("srun", "--gres=gpu:1", str(python)), gpus="device=2"), parse_work(folder))
    (call,) = programs.calls()
    assert call[:4] == ["srun", "--gres=gpu:1", str(python), "-u"]
    assert call[5].startswith(f"{folder}/.dfc-")
    assert content(folder)["environment"]["CUDA_VISIBLE_DEVICES"] == "2"  # type: ignore[index]


def test_files_are_sent_and_come_back_through_whatever_else_is_said(
    programs: StandIns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAILO_SET_MEMORY_GROWTH", "False")
    source = """
    print("said on stdout"); os.write(1, b"\\x1edfc-worker 11\\nraw\\n"); sys.stderr.write("said on stderr\\n")
    os.system("echo said by a child")
    """
    lines: list[str] = []
    done = run_worker(ssh(make_client(tmp_path / "dfc", source), shared=False), parse_work(tmp_path), lines.append)
    made = content(tmp_path)
    assert made["model"] == "an ONNX graph"
    assert Path(made["folder"]).parent.parent == tmp_path / "far"
    assert made["environment"]["HAILO_SET_MEMORY_GROWTH"] == "False"  # type: ignore[index]
    assert {"Welcome to gpu1", "no end of line", "said on stdout", "said on stderr", "said by a child"} <= set(lines)
    assert "==> allocator.log <==\nallocated\n" in done.log
    assert list((tmp_path / "far").iterdir()) == [], "nothing is left there"
    files = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert files == ["net.onnx", "parsed.har", "parsed.log"]


def test_a_failure_far_away_leaves_its_logs_here(programs: StandIns, tmp_path: Path) -> None:
    source = """
    def save(self, path):
        Path("hailo_sdk.core.log").write_text("the last words\\n")
        Path("sub").mkdir(); Path("sub/file").write_text("1"); os.symlink("/etc/passwd", "link")
        raise RuntimeError("no")
    ClientRunner.save_har = save
    """
    error = failure(ssh(make_client(tmp_path / "dfc", source), shared=False), tmp_path)
    assert (error.kind, error.message) == ("raised", "no")
    assert "the last words" in error.log
    assert error.kept is not None
    kept = sorted(str(path.relative_to(error.kept)) for path in error.kept.rglob("*"))
    assert kept == ["hailo_sdk.core.log", "output.log", "request.json", "result.json", "sub", "sub/file"]


def test_what_lies_in_the_temporary_folder_is_sent_whatever_is_shared(programs: StandIns, tmp_path: Path) -> None:
    python = make_client(tmp_path / "dfc")
    done = run_quietly(ssh(python), Work("probe", {"import": False}))
    assert done.environment["dfc"] == "3.33.0"
    assert done.facts["files"] == [], "they have no marks on this machine"
    assert "-c" in programs.calls()[0]


@pytest.mark.parametrize("shared", [True, False])
def test_refused(programs: StandIns, tmp_path: Path, shared: bool) -> None:
    programs.plan(ssh="refused")
    error = failure(ssh(Path("/usr/bin/python3"), shared=shared), tmp_path)
    assert error.kind == "password"
    assert "Permission denied (publickey,password)" in error.message


@pytest.mark.usefixtures("is_shared")
@pytest.mark.parametrize("shared", [True, False])
def test_a_password_that_is_asked_for_is_not_waited_for(programs: StandIns, tmp_path: Path, shared: bool) -> None:
    programs.plan(ssh="asks")
    begun = time.monotonic()
    error = failure(ssh(Path("/usr/bin/python3"), shared=shared), tmp_path)
    # What is sent answers the question, wrongly.
    assert (error.kind, time.monotonic() - begun < 20) == (("password" if shared else error.kind), True)
    assert error.kind in ("password", "start", "died")


def test_no_such_host(programs: StandIns, tmp_path: Path) -> None:
    error = failure(ssh(Path("/usr/bin/python3"), host="gpu2"), tmp_path)
    assert error.kind == "start"
    assert "ssh could not connect; it said: ssh: Could not resolve hostname gpu2" in error.message


def test_no_such_interpreter_there(programs: StandIns, tmp_path: Path) -> None:
    error = failure(ssh(Path("/nowhere/python")), tmp_path)
    assert error.kind == "start"
    assert "not found" in error.message


def test_a_limit_ends_it_far_away(programs: StandIns, tmp_path: Path, hanging: Path) -> None:
    error = failure(ssh(make_client(tmp_path / "dfc", HANG), shared=False), tmp_path, limit=1.5)
    assert error.kind == "timeout"
    assert has_ended(pids(hanging))
    assert list((tmp_path / "far").iterdir()) == []


def test_it_ends_far_away_with_whoever_waits_for_it(programs: StandIns, tmp_path: Path, hanging: Path) -> None:
    python = make_client(tmp_path / "dfc", HANG)
    settings = {"command": ("ssh", "gpu1", str(python)), "shared": False}
    waiting = run_apart(APART, settings, tmp_path)
    started = wait_for(hanging)
    os.killpg(waiting.pid, signal.SIGKILL)
    waiting.communicate(timeout=30)
    assert has_ended(started)


def tar_of(*members: tuple[str, bytes, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            if kind == tarfile.SYMTYPE:
                info.linkname, info.size = data.decode(), 0
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


FILE = tarfile.REGTYPE
GOOD = tar_of(("result.json", b"{}", FILE), ("out/model.har", b"1", FILE))


@pytest.mark.parametrize(
    "tar",
    [
        tar_of(("../evil", b"1", FILE)),
        tar_of(("/evil", b"1", FILE)),
        tar_of(("work/../../evil", b"1", FILE)),
        tar_of(("work/./evil", b"1", FILE)),
        tar_of(("out/evil", b"1", FILE)),
        tar_of(("out/model.har", b"/etc/passwd", tarfile.SYMTYPE)),
        tar_of(("work/link", b"/etc", tarfile.SYMTYPE), ("work/link/evil", b"1", FILE)),
        tar_of(("work/fifo", b"", tarfile.FIFOTYPE)),
        tar_of(("work/a", b"1", FILE), ("work/a/b", b"1", FILE)),
        tar_of(("request.json", b"{}", FILE)),
        tar_of(("work", b"{}", FILE)),
        tar_of(*((f"work/{number}", b"", FILE) for number in range(1200))),
        tar_of(("work/" + "a/" * 40 + "b", b"", FILE)),
        GOOD,
        GOOD[:700],
        b"rubbish" * 1000,
        b"",
    ],
)
def test_what_comes_back_is_believed_in_nothing(programs: StandIns, tmp_path: Path, tar: bytes) -> None:
    (tmp_path / "tar").write_bytes(tar)
    programs.plan(evil=str(tmp_path / "tar"))
    before = {path for path in tmp_path.rglob("*") if "kept" not in path.parts}
    assert failure(ssh(Path("/usr/bin/python3"), shared=False), tmp_path).kind == "garbage"
    after = {path for path in tmp_path.rglob("*") if "kept" not in path.relative_to(tmp_path).parts}
    assert {path.name for path in after - before} <= {"net.onnx", "calls.jsonl"}
    assert not any(path.is_symlink() for path in (tmp_path / "kept").rglob("*"))
