"""Files of settings as they really are: saved by every editor, or written to do harm."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from build_rules.errors import InputError
from build_rules.toml_table import Table, read_toml


@pytest.mark.parametrize(
    "content",
    [
        b"a = 1\nb = 2\n",
        b"\xef\xbb\xbfa = 1\nb = 2\n",
        b"\xef\xbb\xbfa = 1\r\nb = 2\r\n",
        b"a = 1\rb = 2",
    ],
)
def test_marks_and_line_ends_of_every_editor(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    assert read_toml(tmp_path / "x.toml") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = 1\n".encode("utf-16"), "cannot be read as UTF-8 text: .*save it as UTF-8"),
        (b"\xef\xbb\xbf\xef\xbb\xbfa = 1", "not valid TOML"),
        (b"a = \n", "not valid TOML: .*line 1"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"\n\n" + b".".join([b"a"] * 400_000) + b" = 1", "line 3: more than 32 names joined by dots"),
        (b"[" + b".".join([b'"a"'] * 200_000) + b"]", "line 1: more than 32 names joined by dots"),
        (b"a = 1\n" + b"#" * (1 << 20), "has more than 1 MiB, which is too much for a file of settings"),
    ],
)
def test_what_is_no_settings_is_told_at_once(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    began = time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        read_toml(tmp_path / "x.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'x.toml'}")
    assert time.process_time() - began < 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.toml: cannot be read \(No such file"):
        read_toml(tmp_path / "x.toml")


def test_messages_are_short_whatever_the_value_is() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    table = Table({"long": "x" * 100_000, "deep": deep}, "model.toml")
    with pytest.raises(InputError) as caught:
        table.integer("long", 1, 1, 2)
    assert str(caught.value).endswith("xxx... is not possible; expected an integer from 1 to 2.")
    assert len(str(caught.value)) < 400
    with pytest.raises(InputError, match="deep = what is nested too deep to be shown"):
        table.text("deep")
    while deep:  # freed from outside in, one by one
        deep = deep.pop("a")  # type: ignore[assignment]
