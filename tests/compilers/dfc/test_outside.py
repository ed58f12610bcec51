"""Which compiler is in the environment, and when that is asked again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from build_rules.compilers.dfc import Dfc
from build_rules.compilers.dfc.launch import Done
from build_rules.compilers.dfc.outside import check_same, find_out
from build_rules.errors import InputError
from tests.dfc_double.environment import make_environment


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("outside") / "dfc")


def test_an_interpreter_is_known_again_by_its_files(python: Path) -> None:
    finding = find_out(Dfc(python=str(python)), None)
    assert finding.facts["dfc"] == "3.33.0"
    assert len(finding.facts["digest"]) == 64
    assert all(Path(file).exists() for file in finding.files)
    site = python.parent.parent / "lib"
    assert any(site in Path(file).parents for file in finding.files), "an upgrade shows in one of them"


def test_a_command_is_asked_each_time_for_what_is_installed_there(python: Path) -> None:
    there = Dfc(command=(str(python),))
    finding = find_out(there, None)
    assert (finding.facts["dfc"], finding.files) == ("3.33.0", ()), "files of another machine have no marks here"
    remembered = {**finding.facts, "dfc": "as it was remembered"}
    assert find_out(there, remembered).facts == remembered, "the compiler was not loaded for that"
    changed = find_out(there, {**remembered, "digest": "0" * 64})
    assert changed.facts == finding.facts


def test_what_cannot_be_reached_is_taken_to_be_as_it_was(tmp_path: Path) -> None:
    gone = Dfc(command=(str(tmp_path / "ssh"), "gpu1", "python3"))
    remembered = {"dfc": "3.33.0", "digest": "1" * 64}
    assert find_out(gone, remembered).facts == remembered, "a label may be edited on the train"
    with pytest.raises(InputError, match="is not there"):
        find_out(gone, None)
    with pytest.raises(InputError, match="is not there"):
        find_out(replace(gone, command=(), python=str(tmp_path / "python")), remembered)


def test_nobody_said_where_it_is() -> None:
    with pytest.raises(InputError, match=r'write python = "../dfc/bin/python" .* or compiler = "emulator"'):
        find_out(Dfc(), None)


def test_another_one_than_was_found_did_the_work() -> None:
    done = Done({"dfc": "3.34.0", "digest": "2" * 64}, {}, "")
    check_same({"digest": "2" * 64}, done)
    check_same({}, done)
    with pytest.raises(InputError, match=r"has changed .* \(it was version 3.33.0, it is 3.34.0 now\); run doit again"):
        check_same({"dfc": "3.33.0", "digest": "1" * 64}, done)
