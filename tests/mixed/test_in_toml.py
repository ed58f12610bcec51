"""Lines get into a `model.toml` in which nothing else changes, once, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.mixed.in_toml import append_lines, show_difference
from build_rules.toml_table import read_toml

WHERE = Path("models/m/model.toml")
LINES = [
    "quantization_param(onnx:/a/Conv, precision_mode=a8_w8_a16)",
    'quantization_param("onnx:/a b/Conv", precision_mode=a16_w16)',
]
TABLE = '# mine\ncalibration = "../images"   # all\n\n[[target]]\npreset = "fast"\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        TABLE,
        TABLE + "\n[alls]\nappend = []\n\n[metadata]\nname = 'x'\n",
        TABLE + '\n[alls]\nappend = ["a(1)",\n          "b(2)"]  # both\nfile = "extra.alls"\n',
        '[alls]\nappend = [\n  "a(1)", # one\n  "b(2)", # two\n]\n',
        '[alls]\nfile = "extra.alls"  # beside it\n',
        'alls.append = ["a(1)"]\n',
        '[alls]\r\nappend = ["a(1)"]\r\n',
    ],
)
def test_nothing_but_the_lines_changes(text: str, tmp_path: Path) -> None:
    made = append_lines(text, LINES, "why", WHERE)
    path = tmp_path / "model.toml"
    path.write_text(made, encoding="utf-8", newline="")
    after = read_toml(path)
    path.write_text(text, encoding="utf-8", newline="")
    before = read_toml(path)
    own = before.pop("alls", {})
    assert after.pop("alls") == {**own, "append": [*own.get("append", []), *LINES]}
    assert after == before
    assert [line for line in text.splitlines() if "#" in line and line not in made.splitlines()] in (
        [],
        ['          "b(2)"]  # both'],
    )
    assert all(comment in made for comment in ("# mine", "# both", "# one", "# beside it") if comment in text)
    assert append_lines(made, LINES, "why", WHERE) == made
    assert all(line in show_difference(text, made, WHERE) for line in LINES)


def test_a_line_that_stands_there_in_other_words_is_not_written_again() -> None:
    text = '[alls]\nappend = ["quantization_param( \\"onnx:/a/Conv\\",precision_mode = a8_w8_a16 )"]\n'
    assert append_lines(text, LINES[:1], "why", WHERE) == text


@pytest.mark.parametrize(
    "text",
    ["[alls\n", "alls = 3\n", "[alls]\nappend = 'a(1)'\n", "[alls]\nappend = [1]\n", "[[alls]]\n", "a = 1\na = 2\n"],
)
def test_what_is_no_list_of_lines_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"models/m/model\.toml: "):
        append_lines(text, LINES, "why", WHERE)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30), max_size=4))
def test_any_line_is_read_back_as_it_was(lines: list[str]) -> None:
    import tomli

    made = append_lines('[alls]\nappend = ["x(1)"]\n', lines, "why", WHERE)
    read = tomli.loads(made)["alls"]["append"]
    plain = {"".join(line.split()).replace('"', "") for line in read}
    assert all("".join(line.split()).replace('"', "") in plain for line in lines)
    assert set(read) <= {"x(1)", *lines}
