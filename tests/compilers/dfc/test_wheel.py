"""Which wheel is the DFC's, and which Python it wants."""

from __future__ import annotations

import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from build_rules.compilers.dfc.wheel import read_wheel, suits, wanted_pythons
from build_rules.errors import InputError
from tests.compilers.dfc.wheels import make_wheel, wheel_name


def test_what_a_wheel_says(tmp_path: Path) -> None:
    head = "Name: Hailo_Dataflow.Compiler\nVersion: {version}\nRequires-Python: >=3.10\n"
    wheel = read_wheel(make_wheel(tmp_path, version="3.33.1", head=head))
    assert (wheel.version, wheel.python, wheel.platform, wheel.requires) == (
        *("3.33.1", "py3", "linux_x86_64"),
        ">=3.10",
    )
    assert wanted_pythons(wheel) == ((3, 10), (3, 11), (3, 12))


@pytest.mark.parametrize(
    ("version", "tag", "requires", "wanted"),
    [
        ("3.30.0", "py3", "", ((3, 10), (3, 9), (3, 8))),  # by the table
        ("3.30.0", "py3", ">=3.8,<3.10", ((3, 9), (3, 8))),  # what it says itself counts more
        ("3.33.0", "cp310", ">=3.8", ((3, 10),)),
        ("3.33.0", "cp38", "", ((3, 8),)),
        ("3.99.0", "py3", "", ((3, 10), (3, 11), (3, 12), (3, 9), (3, 8))),  # nothing is known of it
        ("3.33.0", "py3", "<3.10", ((3, 9), (3, 8))),  # the table is wrong
    ],
)
def test_the_python_it_wants(
    tmp_path: Path, version: str, tag: str, requires: str, wanted: tuple[tuple[int, int], ...]
) -> None:
    head = "Name: hailo-dataflow-compiler\nVersion: {version}\n" + (
        f"Requires-Python: {requires}\n" if requires else ""
    )
    assert wanted_pythons(read_wheel(make_wheel(tmp_path, version=version, tag=tag, head=head))) == wanted


@pytest.mark.parametrize(
    ("requires", "python", "taken"),
    [
        ("", (3, 8), True),
        (">=3.8, <3.11", (3, 10), True),
        (">=3.8,<3.11", (3, 11), False),
        (">=3.9", (3, 8), False),
        ("==3.10.*", (3, 10), True),
        ("==3.10.*", (3, 11), False),
        ("<=3.10", (3, 11), False),
        ("<3.10.5", (3, 10), True),
        (">3.9", (3, 9), False),
        ("~=3.8", (3, 12), True),  # left to pip
    ],
)
def test_requires_python(requires: str, python: tuple[int, int], taken: bool) -> None:
    assert suits(requires, python) is taken


@pytest.mark.parametrize(
    "name", ["hailort-4.23.0-cp310-cp310-linux_x86_64.whl", "hailo_dataflow_compiler-3.33.0.tar.gz", "dfc.whl"]
)
def test_another_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="is not named like Hailo's wheel"):
        read_wheel(tmp_path / name)


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"head": "Name: evil\nVersion: {version}\n"}, "says inside that it is evil 3.33.0"),
        ({"head": "Name: hailo-dataflow-compiler\nVersion: 3.32.0\n"}, "says inside that it is .* 3.32.0"),
        ({"head": ""}, "says inside that it is nothing"),
        ({"members": {"hailo_sdk_client/__init__.py": ""}}, "holds no hailo_sdk_client"),
        ({"members": {"second-1.dist-info/METADATA": "Name: second\n"}}, "holds no hailo_sdk_client"),
    ],
)
def test_another_content(tmp_path: Path, kwargs: dict[str, object], told: str) -> None:
    path = make_wheel(tmp_path, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=told):
        read_wheel(path)


def test_what_is_no_wheel_at_all(tmp_path: Path) -> None:
    path = tmp_path / wheel_name()
    with pytest.raises(InputError, match="cannot be read"):
        read_wheel(path)
    path.write_bytes(b"<html>Please log in</html>")
    with pytest.raises(InputError, match="was not downloaded whole"):
        read_wheel(path)
    whole = make_wheel(tmp_path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="was not downloaded whole"):
        read_wheel(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="is a pipe"):
        read_wheel(path)


def test_a_list_of_members_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / wheel_name()
    with path.open("wb") as stream:
        stream.truncate(200 << 20)
        stream.seek(200 << 20)
        stream.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 60000, 60000, 100 << 20, 100 << 20, 0))
    with pytest.raises(InputError, match="lists more members than"):
        read_wheel(path)


def test_a_list_of_members_that_says_its_length_twice_is_not_believed(tmp_path: Path) -> None:
    """As a ZIP64 does, whose second word counts for `zipfile`; a wheel of less than 4 GiB needs none."""
    path = make_wheel(tmp_path)
    content = path.read_bytes()
    again = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 5, 5, 100 << 20, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1)
    path.write_bytes(content[:-22] + again + locator + content[-22:])
    with pytest.raises(InputError, match="lists more members than"):
        read_wheel(path)


def test_metadata_without_end_are_not_unpacked(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, wants=("a" * (2 << 20),))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match="METADATA has more than 1 MiB"):
        read_wheel(path)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4))
@example([(206, 255)])  # in the packed METADATA
def test_damage_anywhere_is_an_input_error(damage: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make_wheel(Path(folder))
        content = bytearray(path.read_bytes())
        for place, value in damage:
            content[place % len(content)] = value
        path.write_bytes(content)
        with suppress(InputError):
            assert read_wheel(path).version == "3.33.0"
