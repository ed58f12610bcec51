"""The table of rooms in CONTRIBUTING.md is true: nobody imports what their row says they know nothing of."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "build_rules"
PAGE = REPOSITORY / "CONTRIBUTING.md"

WIRING = ("dodo.py", "workspace.py", "engine/doit_config.py", "engine/__init__.py")
"""What puts rooms together stands above all of them."""


def rows() -> dict[str, tuple[str, ...]]:
    """Places below the package, each with what it knows nothing of: places, libraries, or `everything else`."""
    found: dict[str, tuple[str, ...]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`build_rules/"):
            strangers = ("*",) if "everything else" in cells[2] else tuple(re.findall(r"`([\w/.]+)`", cells[2]))
            for place in re.findall(r"`([\w/.]+)`", cells[0]):
                found[place.removeprefix("build_rules/")] = strangers
    return found


def files_of(place: str) -> list[Path]:
    return [PACKAGE / place] if place.endswith(".py") else sorted((PACKAGE / place).rglob("*.py"))


@cache
def imports(file: Path) -> tuple[str, ...]:
    """What a file imports, anywhere in it: modules of ours as paths below the package, libraries by their name."""
    return tuple(dict.fromkeys(_imports(file)))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            yield first if first != "build_rules" else _our_file(rest)


def _our_file(parts: list[str]) -> str:
    for end in (len(parts), len(parts) - 1):
        place = "/".join(parts[:end])
        for candidate in (f"{place}.py", f"{place}/__init__.py"):
            if place and (PACKAGE / candidate).is_file():
                return candidate
    return "__init__.py"


def is_in(file: str, place: str) -> bool:
    return file == place or (place.endswith("/") and file.startswith(place))


@pytest.mark.parametrize("place", rows())
def test_a_room_imports_nothing_that_its_row_says_it_does_not_know(place: str) -> None:
    strangers = rows()[place]
    files = files_of(place)
    assert files
    known = {
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files
        for name in imports(file)
        for stranger in strangers
        if (is_in(name, stranger) or (stranger == "*" and name.endswith(".py")))
        and not is_in(name, place)
        and name not in ("errors.py", "__init__.py")
    }
    assert sorted(known) == []


def test_every_row_forbids_something_and_names_what_is_there() -> None:
    assert len(rows()) > 25
    for place, strangers in rows().items():
        assert (PACKAGE / place).exists(), place
        assert strangers, f"the row of {place} names nothing in code quotes that it knows nothing of"
        for stranger in strangers:
            if stranger.endswith((".py", "/")):
                assert (PACKAGE / stranger).exists(), f"{place}: {stranger}"


def test_every_module_is_in_a_room_of_the_table() -> None:
    modules = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")]
    homeless = [name for name in modules if not any(is_in(name, place) for place in rows())]
    assert homeless == ["__init__.py"]


def answers() -> list[str]:
    """What `Where is it?` says, row by row."""
    section = PAGE.read_text(encoding="utf-8").partition("## Where is it?\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| (?!you )[a-z]", line)]
    return [line.strip("|").strip() for line in lines]


def defines(file: Path, name: str) -> bool:
    """Whether a file defines a name, at its top or in a class."""
    text = file.read_text(encoding="utf-8")
    return re.search(rf"^(?: *(?:def|class) {name}\b|{name}\b.*=)", text, re.MULTILINE) is not None


@pytest.mark.parametrize("answer", answers(), ids=lambda answer: answer.partition(" |")[0])
def test_what_a_stranger_asks_for_is_where_the_guide_says_and_nowhere_else(answer: str) -> None:
    named = re.findall(r"`build_rules/([\w/]+\.py)`(?: `(\w+)`)?", answer)
    assert named
    for place, name in named:
        if name:
            assert [str(p.relative_to(PACKAGE)) for p in sorted(PACKAGE.rglob("*.py")) if defines(p, name)] == [place]


def test_the_guide_answers_the_questions_of_a_stranger() -> None:
    assert len(answers()) == 21


def users_of(name: str) -> set[str]:
    """The files that use a name, but for the one that defines it and lists of what is public."""
    used = re.compile(rf"\b{name}\b(?!\",)")
    files = {str(p.relative_to(PACKAGE)): p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py")}
    return {place for place, text in files.items() if used.search(text) and not defines(PACKAGE / place, name)}


def test_those_alone_take_the_lock_that_the_guide_names() -> None:
    assert users_of("lock_workspace") == {"engine/running/session.py", "engine/cleaning/removal.py"}


def test_one_file_asks_the_clock_whether_times_are_to_be_trusted() -> None:
    assert users_of("file_clock") == {"engine/freshness/fingerprint.py"}


def guide(room: Path) -> str:
    """The docstring of a room, which leads through it."""
    return ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""


GUIDES = [path.parent for path in sorted(PACKAGE.rglob("__init__.py")) if path.parent != PACKAGE]


@pytest.mark.parametrize("room", GUIDES, ids=lambda room: str(room.relative_to(PACKAGE)))
def test_the_guide_of_a_room_names_what_is_there_and_all_of_it(room: Path) -> None:
    """Its modules, in its own guide or in that of a room around it."""
    here = {path.name for path in room.rglob("*.py")}
    named = re.findall(r"`((?:\w+/)+|(?:\w+/)*\w+\.py)`", guide(room))
    bases = (room, PACKAGE)
    absent = [name for name in named if name not in here and not any((base / name).exists() for base in bases)]
    assert absent == []
    guides = "".join(map(guide, [room, *(around for around in GUIDES if around in room.parents)]))
    listed = set(re.findall(r"`(?:\w+/)*(\w+\.py)`", guides))
    assert sorted({path.name for path in room.glob("*.py")} - listed - {"__init__.py"}) == []


def test_no_file_name_stands_in_two_rooms() -> None:
    names = Counter(path.name for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def room_of(file: str) -> str:
    return max((place for place in rows() if place.endswith("/") and is_in(file, place)), key=len, default=file)


def test_no_circle_of_rooms() -> None:
    uses: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        file = str(path.relative_to(PACKAGE))
        if file not in WIRING:
            ours = {room_of(name) for name in imports(path) if name.endswith(".py") and name not in WIRING}
            uses.setdefault(room_of(file), set()).update(ours - {room_of(file), "__init__.py"})
    while free := [room for room, others in uses.items() if not others & uses.keys()]:
        for room in free:
            del uses[room]
    assert uses == {}
