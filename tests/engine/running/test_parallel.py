"""Steps side by side: processes of their own, what they share, and how one of them dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from build_rules.engine.running.resources import CORES, MEMORY, Resources, machine_resources
from tests.doit_runs import doit, start_doit, wait_until

STEPS = """
import os, sys, time
from pathlib import Path
from build_rules.errors import InputError

def work(*, source, out, name):
    text = source.read_text()
    Path(f"{name}.pid").write_text(str(os.getpid()))
    Path("log").open("a").write(f"start {name}\\n")
    print(f"   warning: {name} speaks")
    if "child" in text:
        import subprocess
        child = subprocess.Popen(["sleep", "300"])
        Path(f"{name}.child").write_text(str(child.pid))
    if "wait" in text:
        while not Path("go").exists():
            time.sleep(0.01)
    if "meet" in text:
        other = Path("b.pid" if name == "a" else "a.pid")
        end = time.monotonic() + 30
        while not other.exists() and time.monotonic() < end:
            time.sleep(0.01)
        if not other.exists():
            raise InputError("nobody came")
    if "wrong" in text:
        raise InputError("it says wrong.", "paste this")
    if "odd" in text:
        class Odd(Exception):
            def __reduce__(self): raise TypeError
        raise Odd("cannot travel")
    if "far" in text:
        from build_rules.engine import messages
        messages.progress(f"half of {name}")
    if "daemon" in text:
        import subprocess
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        Path(f"{name}.child").write_text(str(child.pid))
        if os.fork() == 0:
            os.setsid()
            Path(f"{name}.fork").write_text(str(os.getpid()))
            time.sleep(60)
            os._exit(0)
    if "orphan" in text:
        import subprocess
        there = Path(f"{name}.orphan").absolute()
        subprocess.run(["sh", "-c", f"setsid sh -c 'sleep 300 & echo $! > {there}; wait' & exit"], check=True)
        while not there.exists() or not there.read_text():
            time.sleep(0.01)
        Path(f"{name}.ready").touch()
        time.sleep(0 if "leaves" in text else 60)
    if "panic" in text:
        raise type("PanicException", (BaseException,), {})("a library panics")
    if "input" in text:
        import subprocess
        subprocess.run(["cat"], timeout=20, check=True)
    if "lambda" in text:
        return lambda: None
    if "exit" in text:
        os._exit(7)
    time.sleep(0.05)
    Path("log").open("a").write(f"stop {name}\\n")
    out.write_text(text)
    return [Path(text.split()[1])] if "reads" in text else None
"""

DODO = """
from pathlib import Path
from build_rules.engine.doit_config import DOIT_CONFIG
from build_rules.engine.running.session import session
from build_rules.engine.running.rule import Rule
DOIT_CONFIG = {**DOIT_CONFIG, "default_tasks": ["work"]}
session.resources.capacity.update({"licence": 1})
WORK = Rule("work", "steps:work", ("errors.py",), needs=NEEDS)

def task_work():
    for path in sorted(Path("in").iterdir()):
        yield WORK.task(path.stem, inputs={"source": path}, outputs={"out": Path("build") / path.stem / "out"},
                        settings={"name": path.stem})
"""


def workspace(folder: Path, needs: str = "()", **inputs: str) -> Path:
    (folder / "steps.py").write_text(STEPS)
    (folder / "dodo.py").write_text(DODO.replace("NEEDS", needs))
    (folder / "in").mkdir()
    for name, text in inputs.items():
        (folder / "in" / f"{name}.txt").write_text(text)
    return folder


def pid_of(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*.partial")]


def test_steps_run_at_the_same_time_in_processes_of_their_own(tmp_path: Path) -> None:
    folder = workspace(tmp_path, a="meet", b="meet")
    run = doit(folder, "-n", "2")
    assert (run.code, sorted(run.executed)) == (0, ["work:a", "work:b"])
    assert len({pid_of(folder / "a.pid"), pid_of(folder / "b.pid")}) == 2
    assert "   warning: a speaks\n" in run.out
    assert doit(folder, "-n", "2").executed == []
    assert doit(folder).executed == []


def test_what_a_step_turns_out_to_read_comes_back(tmp_path: Path) -> None:
    folder = workspace(tmp_path, a="reads other", b="b")
    (folder / "other").write_text("one")
    time.sleep(0.05)
    assert doit(folder, "-n", "2").code == 0
    (folder / "other").write_text("two")
    assert doit(folder, "-n", "2").executed == ["work:a"]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("wrong", 3, "ERROR in work:a: it says wrong.\npaste this\n"),
        ("odd", 2, "unexpected RuntimeError: Odd: cannot travel"),
        ("exit", 2, "the step's process ended with code 7 before the step did"),
    ],
)
def test_failures_travel(tmp_path: Path, text: str, code: int, told: str) -> None:
    folder = workspace(tmp_path, a=text, b="fine")
    run = doit(folder, "-n", "2", "--continue")
    assert (run.code, told in run.err) == (code, True)
    assert (folder / "build/b/out").read_text() == "fine"
    assert leftovers(folder) == []


def test_a_step_that_is_killed_fails_alone(tmp_path: Path) -> None:
    """As the kernel does when memory runs out."""
    folder = workspace(tmp_path, a="wait child", b="fine")
    process = start_doit(folder, "-n", "2", "--continue")
    child = pid_of(folder / "a.child")
    os.kill(pid_of(folder / "a.pid"), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the step was killed (signal 9); the machine may have run out of memory" in err
    wait_until(lambda: is_gone(child))
    assert (folder / "build/b/out").exists()
    (folder / "go").touch()
    assert doit(folder, "-n", "2").executed == ["work:a"]
    assert leftovers(folder) == []


def test_what_leaves_the_group_of_a_step_is_not_waited_for(tmp_path: Path) -> None:
    """A server that a tool starts for next time."""
    folder = workspace(tmp_path, a="daemon", b="fine")
    started = time.monotonic()
    run = doit(folder, "-n", "2")
    assert (run.code, time.monotonic() - started < 30) == (0, True)
    for name in ("a.child", "a.fork"):
        os.kill(pid_of(folder / name), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [(), ("-n", "1"), ("-n", "2")])
def test_panics_and_odd_results_are_failures(tmp_path: Path, jobs: tuple[str, ...]) -> None:
    folder = workspace(tmp_path, a="panic", b="lambda" if jobs else "fine", c="fine")
    run = doit(folder, *jobs, "--continue")
    assert (run.code, "Traceback" in run.err) == (2, False)
    assert "PanicException" in run.err
    assert (folder / "build/c/out").exists()


def test_a_step_has_no_input(tmp_path: Path) -> None:
    folder = workspace(tmp_path, a="input", b="fine")
    assert doit(folder, "-n", "2").code == 0


def test_the_speaker_of_a_warning_is_known(tmp_path: Path) -> None:
    folder = workspace(tmp_path, a="x", b="x")
    run = doit(folder, "-n", "2", "-r", "events")
    events = [json.loads(line) for line in run.out.splitlines()]
    warned = {event["task"]: event["text"] for event in events if event["event"] == "warning"}
    assert warned == {"work:a": "a speaks", "work:b": "b speaks"}


@pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["n1", "n2"])
def test_how_far_a_step_is(tmp_path: Path, jobs: tuple[str, ...]) -> None:
    """Programs are told each time; lines are for steps that take longer, and are never what the step printed."""
    folder = workspace(tmp_path, a="far", b="far")
    told = [json.loads(line) for line in doit(folder, *jobs, "-r", "events").out.splitlines()]
    progress = {event["task"]: event["text"] for event in told if event["event"] == "progress"}
    assert progress == {"work:a": "half of a", "work:b": "half of b"}
    assert not any(event["event"] == "output" for event in told)
    shutil.rmtree(folder / "build")
    assert "half" not in doit(folder, *jobs).out


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_step_outlives_doit(tmp_path: Path, sent: signal.Signals) -> None:
    folder = workspace(tmp_path, a="wait child", b="wait")
    process = start_doit(folder, "-n", "2")
    pids = [pid_of(folder / name) for name in ("a.pid", "b.pid")]
    child = pid_of(folder / "a.child")
    os.kill(process.pid, sent)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if sent == signal.SIGKILL else 130)
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    wait_until(lambda: is_gone(child))
    (folder / "go").touch()
    assert sorted(doit(folder, "-n", "2").executed) == ["work:a", "work:b"]
    assert leftovers(folder) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who started whom stands in /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("own_process", [True, False], ids=["a step that starts programs", "steps side by side"])
def test_nor_does_what_has_left_its_group(tmp_path: Path, sent: signal.Signals, own_process: bool) -> None:
    """Helpers in sessions of their own, and such whose parent has ended: compilers have both."""
    folder = workspace(tmp_path, a="orphan")
    if own_process:
        dodo = (folder / "dodo.py").read_text()
        (folder / "dodo.py").write_text(dodo.replace("settings=", "own_process=True, settings="))
    process = start_doit(folder, *(() if own_process else ("-n", "2")))
    wait_until((folder / "a.ready").exists)
    orphan = pid_of(folder / "a.orphan")
    assert not is_gone(orphan)
    os.kill(process.pid, sent)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if sent == signal.SIGKILL else 130)
    wait_until(lambda: is_gone(orphan))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who started whom stands in /proc")
def test_nor_does_what_a_step_leaves_behind_that_has_ended(tmp_path: Path) -> None:
    folder = workspace(tmp_path, a="orphan leaves")
    dodo = (folder / "dodo.py").read_text()
    (folder / "dodo.py").write_text(dodo.replace("settings=", "own_process=True, settings="))
    assert doit(folder).code == 0
    wait_until(lambda: is_gone(pid_of(folder / "a.orphan")))


def test_an_interrupted_step_has_failed_and_the_run_tells_it(tmp_path: Path) -> None:
    """Whoever interrupts doit is heard there; a step alone is interrupted by hand, as it may be killed."""
    folder = workspace(tmp_path, a="daemon")
    dodo = (folder / "dodo.py").read_text()
    (folder / "dodo.py").write_text(dodo.replace("settings=", "own_process=True, settings="))
    (folder / "steps.py").write_text(STEPS.replace("time.sleep(0.05)", "os.kill(os.getpid(), 2); time.sleep(60)"))
    run = doit(folder)
    assert "ended with signal 2" in run.err
    assert (run.code, "Traceback" in run.err) == (2, False)


def test_a_counted_licence_is_never_used_twice(tmp_path: Path) -> None:
    folder = workspace(tmp_path, '(("licence", 1),)', **{f"s{number}": "x" for number in range(4)})
    assert doit(folder, "-n", "4").code == 0
    words = [line.split() for line in (folder / "log").read_text().splitlines()]
    assert [first for first, _ in words] == ["start", "stop"] * 4
    assert [words[i][1] for i in range(0, 8, 2)] == [words[i][1] for i in range(1, 8, 2)]


# What there is, and who gets it.


def test_the_machine_is_counted() -> None:
    found = machine_resources()
    assert found[CORES] >= 1
    assert found[MEMORY] > 100


def test_never_more_than_there_is_and_nobody_waits_for_ever() -> None:
    shared = Resources({"cores": 3, "licence": 1})
    using, most = 0, 0
    lock = threading.Lock()

    def work(cores: int) -> None:
        nonlocal using, most
        with shared.take({"cores": cores, "licence": 1, "unknown": 5}):
            with lock:
                using += min(cores, 3)
                most = max(most, using)
            time.sleep(0.002)
            with lock:
                using -= min(cores, 3)

    threads = [threading.Thread(target=work, args=(1 + number % 5,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert most <= 3


def test_a_large_step_is_not_overtaken() -> None:
    shared = Resources({"cores": 2})
    order: list[str] = []
    first = shared.take({"cores": 1})
    first.__enter__()

    def wait(name: str, cores: int) -> None:
        with shared.take({"cores": cores}):
            order.append(name)

    large = threading.Thread(target=wait, args=("large", 2))
    large.start()
    wait_until(lambda: len(shared._queue) == 1)
    small = threading.Thread(target=wait, args=("small", 1))
    small.start()
    wait_until(lambda: len(shared._queue) == 2)
    assert order == []
    first.__exit__(None, None, None)
    large.join(timeout=30)
    small.join(timeout=30)
    assert order == ["large", "small"]


def test_who_needs_nothing_of_what_another_waits_for_goes_first() -> None:
    """A compile of hours holds up those that need a licence, and nobody else."""
    shared = Resources({"cores": 3, "memory_mb": 100, "licence": 1})
    order: list[str] = []
    told: list[str] = []
    compiling = shared.take({"cores": 1, "licence": 1})
    compiling.__enter__()

    def wait(name: str, **needs: int) -> threading.Thread:
        def work() -> None:
            with shared.take(needs, told.append):
                order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    second = wait("second", cores=1, memory_mb=60, licence=1)
    wait_until(lambda: len(told) == 1)
    wait("cut", cores=1).join(timeout=30)
    third = wait("third", licence=1)
    wait_until(lambda: len(told) == 2)
    assert order == ["cut"]
    assert told == ["waits for licence (1 of 1 taken)"] * 2
    large = shared.take({"memory_mb": 50}, told.append)
    large.__enter__()
    compiling.__exit__(None, None, None)
    time.sleep(0.05)
    assert order == ["cut"], "the licence is kept for who came first, who lacks something else now"
    fourth = wait("fourth", memory_mb=10)
    wait_until(lambda: len(told) == 3)
    assert told[2] == "waits for memory (50 of 100 MB taken)"
    large.__exit__(None, None, None)
    for thread in (second, third, fourth):
        thread.join(timeout=30)
    assert sorted(order) == ["cut", "fourth", "second", "third"]
    assert order.index("second") < order.index("third")


def test_one_step_needs_more_than_its_rule(tmp_path: Path) -> None:
    """What a compiler needs, beside what every step of this kind does; what nobody counts takes nothing."""
    folder = workspace(tmp_path, '(("cores", 0),)', **{f"s{number}": "x" for number in range(4)})
    dodo = (folder / "dodo.py").read_text()
    further = 'needs=(("licence", 1), ("gpu", 1)), settings='
    (folder / "dodo.py").write_text(dodo.replace("settings=", further))
    run = doit(folder, "-n", "4", "-r", "events")
    assert run.code == 0
    words = [line.split()[0] for line in (folder / "log").read_text().splitlines()]
    assert words == ["start", "stop"] * 4
    events = [json.loads(line) for line in run.out.splitlines()]
    waiting = [event["text"] for event in events if event["event"] == "waiting"]
    assert set(waiting) == {"waits for licence (1 of 1 taken)"}


def test_what_failed_gives_back_what_it_took() -> None:
    shared = Resources({"cores": 1})
    for _ in range(3):
        with pytest.raises(ValueError), shared.take({"cores": 1}):
            raise ValueError
    with shared.take({"cores": 1}):
        pass
