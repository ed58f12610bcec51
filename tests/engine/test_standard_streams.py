"""What becomes of a run whose streams are closed, full or left, and of one in a locale that is not UTF-8."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build_rules.engine.standard_streams import say
from tests.engine.test_runs import DODO, STEPS

DOIT = f"{sys.executable} -m doit"
NAME = "straße 写真"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "dodo.py").write_text(DODO)
    (tmp_path / "in").mkdir()
    (tmp_path / f"in/{NAME}.txt").write_text("text")
    return tmp_path


def shell(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LANGUAGE") and not k.startswith("LC_")}
    kept |= {"PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(
        ["bash", "-c", command.replace("doit", DOIT)],
        cwd=folder,
        env=kept,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "how",
    [
        "doit <&- >&- 2>&-",
        "doit > /dev/full 2> /dev/full",
        "doit -n 2 >&- 2>&-",
        "doit -r events > /dev/full",
        "set -o pipefail; doit | true",
    ],
)
def test_the_build_goes_on(folder: Path, how: str) -> None:
    if "/dev/full" in how and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    run = shell(folder, how)
    assert (run.returncode, run.stderr) == (0, "")
    assert (folder / f"build/{NAME}/joined").read_text() == "TEXTTEXT"
    # Nothing that was printed went into a file of ours that got the number of a closed stream.
    assert (folder / "build/.records.db").read_bytes()[:15] == b"SQLite format 3"


def test_a_failure_that_nobody_reads_has_its_exit_code(folder: Path) -> None:
    (folder / f"in/{NAME}.txt").write_text("wrong")
    assert shell(folder, "doit > /dev/full 2> /dev/full").returncode == 3
    assert shell(folder, "doit >&- 2>&-").returncode == 3


def test_commands_end_with_their_own_exit_code(folder: Path) -> None:
    run = shell(
        folder, "doit status > /dev/full; echo $?; doit clean > /dev/full; echo $?; doit list --all >&-; echo $?"
    )
    assert (run.stdout.split(), run.stderr) == (["1", "0", "0"], "")
    # More than a buffer holds.
    (folder / "dodo.py").write_text(
        DODO.replace('in sorted(p.stem for p in Path("in").iterdir())', "in map(str, range(5000))")
    )
    run = shell(folder, "doit list --all > /dev/full; echo $?; set -o pipefail; doit list --all | true; echo $?")
    assert (run.stdout.split(), run.stderr) == (["0", "0"], "")


LOCALES = {
    "ascii": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "ascii terminal": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONCOERCECLOCALE": "0"},
    "GBK": {"LC_ALL": "zh_CN.GBK", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with locales that are not UTF-8, where they can be made; else these are names of none."""
    place = tmp_path_factory.mktemp("locales")
    for name in ("de_DE.ISO-8859-1", "zh_CN.GBK"):
        source, encoding = name.split(".")
        subprocess.run(
            f"localedef -i {source} -f {encoding} {place / name}", shell=True, capture_output=True, check=False
        )
    return place


@pytest.mark.parametrize("locale", LOCALES)
def test_a_locale_decides_no_byte_and_stops_nothing(folder: Path, locales: Path, locale: str) -> None:
    environment = {"LOCPATH": str(locales), **LOCALES[locale]}
    if "." in environment.get("LC_ALL", "") and not (locales / environment["LC_ALL"]).is_dir():
        pytest.skip(f"the locale {environment['LC_ALL']} cannot be made here")
    run = shell(folder, "doit && doit status && doit why join:* && doit list --all", **environment)
    assert run.returncode == 0
    assert "Traceback" not in run.stderr
    assert sorted(path.name for path in (folder / "build").iterdir() if not path.name.startswith(".")) == [NAME]
    assert (folder / f"build/{NAME}/joined").read_bytes() == b"TEXTTEXT"
    # Seen from another session, everything is as it was left.
    again = shell(folder, "doit")
    assert (again.returncode, again.stdout.count("2 up to date")) == (0, 1)
    (folder / f"in/{NAME}.txt").write_text("wrong")
    failed = shell(folder, "doit -n 2; doit status > out 2>&1", **environment)
    assert (failed.returncode, failed.stderr.count("ERROR in copy:stra")) == (1, 1)
    assert "Traceback" not in failed.stderr


def test_a_stream_that_fails_is_no_error() -> None:
    stream = io.StringIO()
    say(stream, "text")
    assert stream.getvalue() == "text"
    stream.close()
    say(stream, "text")
    say(None, "text")
