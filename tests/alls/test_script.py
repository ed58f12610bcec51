"""The grammar: what is written can be read back, and what is wrong is named by line."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.alls.script import (
    NOTHING,
    Glob,
    Name,
    Origin,
    Script,
    Statement,
    String,
    Value,
    format_script,
    parse_script,
    without_comments,
)
from build_rules.errors import InputError

ZOO_LIKE = """
normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])  # ImageNet
change_output_activation(net/conv42, sigmoid)
model_optimization_flavor(optimization_level=2, compression_level=0)
post_quantization_optimization(finetune, policy=enabled,
                               learning_rate=1e-4, epochs=4)
quantization_param([conv1, output_layer3], precision_mode=a16_w16)
quantization_param({conv*}, precision_mode=a8_w8)
nms_postprocess("../nms.json", meta_arch=yolov8, engine=cpu)
a, b = shortcut.split(conv1, -1.5)
buffers()
{} = defuse_block(conv1, [conv2, conv3])
"""


def test_every_kind_of_value() -> None:
    script = parse_script(ZOO_LIKE)
    commands = [s.command for s in script.statements]
    assert commands[:2] == ["normalization", "change_output_activation"]
    assert script.statements[0].arguments == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert script.statements[0].targets == ("normalization1",)
    assert script.statements[1].arguments == (Name("net/conv42"), Name("sigmoid"))
    assert dict(script.statements[3].keywords)["learning_rate"] == 1e-4
    assert script.statements[4].arguments == ((Name("conv1"), Name("output_layer3")),)
    assert script.statements[5].arguments == (Glob("conv*"),)
    assert script.statements[6].arguments == (String("../nms.json"),)
    assert script.statements[7] == Statement("shortcut.split", (Name("conv1"), -1.5), (), ("a", "b"), 10)
    assert script.statements[8] == Statement("buffers", line=11)
    defused = Statement("defuse_block", (Name("conv1"), (Name("conv2"), Name("conv3"))), (), (NOTHING,), 12)
    assert script.statements[9] == defused


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a(1,)", 1, "')'"),
        ("\n\na(1", 3, "'end of file'"),
        ("a(x=1, 2)", 1, "'2'"),
        ("a(1) b(2)", 1, "'b'"),
        ("a, b(1)", 1, "'('"),
        ("a(;)", 1, "';'"),
        ("a\n(1)", 1, "'end of line'"),
        ("a({co{n})", 1, "'{'"),
        ("{}(1)", 1, "expected '=', found '('"),
        ("{}, a(1)", 1, "expected '=', found '('"),
        ("{} =", 1, "expected a command, found 'end of file'"),
        ("{} = {}(1)", 1, "expected a command, found '{}'"),
        ("a = {} = b(1)", 1, "expected a command, found '{}'"),
        ("a({})", 1, "expected a value, found '{}'"),
        ("a({}=1)", 1, "expected a value, found '{}'"),
        ("{conv*} = a(1)", 1, "expected a command, found '{conv*}'"),
        ("a(" + "[" * 1000 + "]" * 1000 + ")", 1, "nested"),
    ],
)
def test_errors_name_the_line(text: str, line: int, found: str) -> None:
    with pytest.raises(InputError, match=rf"script\.alls, line {line}: ") as caught:
        parse_script(text, "script.alls")
    assert found in str(caught.value)


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 101, "0." + "3" * 400])
def test_endless_numbers_are_refused(number: str) -> None:
    with pytest.raises(InputError, match=r"script\.alls, line 2: a number of \d+ characters") as caught:
        parse_script(f"\na({number})", "script.alls")
    assert len(str(caught.value)) < 200


names = st.from_regex(r"[A-Za-z_*?][A-Za-z0-9_*?./-]{0,12}", fullmatch=True)
numbers = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False))
leaves: st.SearchStrategy[Value] = st.one_of(
    names.map(Name),
    st.from_regex(r"[A-Za-z*/_]{1,8}", fullmatch=True).map(Glob),
    st.from_regex(r"[A-Za-z ./_#]{0,8}", fullmatch=True).map(String),
    numbers,
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
comments = st.text(max_size=12).map(lambda text: " ".join(text.split("\n")).replace("\r", "").strip())
statements = st.builds(
    Statement,
    command=names,
    arguments=st.lists(values, max_size=3).map(tuple),
    keywords=st.lists(st.tuples(names, values), max_size=3).map(tuple),
    targets=st.lists(st.one_of(names, st.just(NOTHING)), max_size=3).map(tuple),
    comments=st.lists(comments, max_size=2).map(tuple),
    remark=comments,
)


@pytest.mark.parametrize(
    "written", ["{} = b(1)", "{}=b(1)", "{ } = b(1)", "  {\t}\t= b(1)", "a, {} = b(1)", "{}, {} = b()"]
)
def test_a_target_may_be_nothing(written: str) -> None:
    (statement,) = parse_script(written).statements
    assert statement.targets[-1] == NOTHING
    assert format_script(Script((statement,))).startswith(("{} = b(", "a, {} = b(", "{}, {} = b("))


@given(st.lists(statements, max_size=5), st.lists(comments, max_size=2).map(tuple))
def test_round_trip(written: list[Statement], last: tuple[str, ...]) -> None:
    """Statements come back with their comments, and with the line on which they stand."""
    text = format_script(Script(tuple(written), last))
    read = parse_script(text)
    numbers = [sum(1 + len(one.comments) for one in written[: i + 1]) for i in range(len(written))]
    assert read == Script(tuple(replace(s, line=line) for s, line in zip(written, numbers, strict=True)), last)
    assert format_script(read) == text


COMMENTED = """
# The first line,
#   and the second.

a(1)  # why

#
b(2,  # of the first
  # of the second
  3)  # at the end
# left over"""


def test_comments_stay_with_what_they_are_about() -> None:
    """Those above a statement and those inside it come to stand above it, the one at its end stays there."""
    script = parse_script(COMMENTED)
    first, second = script.statements
    assert (first.comments, first.remark, first.line) == (("The first line,", "and the second."), "why", 5)
    assert (second.comments, second.remark) == (("", "of the first", "of the second"), "at the end")
    assert script.comments == ("left over",)
    assert format_script(script) == (
        "# The first line,\n# and the second.\na(1)  # why\n"
        "#\n# of the first\n# of the second\nb(2, 3)  # at the end\n# left over\n"
    )


def test_statements_alone() -> None:
    text = "# above\na = normalization([0.0], [255.0])  # beside\n# last\n"
    assert format_script(without_comments(parse_script(text))) == "a = normalization([0.0], [255.0])\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_comment_ends_with_its_line_however_that_ends(end: str) -> None:
    """Whoever reads the file as text takes each of these for the end of a line: what follows is no comment."""
    script = parse_script(end.join(["# one", "a(1)  # two", "b(2)"]))
    assert [(s.command, s.line, s.remark) for s in script.statements] == [("a", 2, "two"), ("b", 3, "")]


def test_nodes_of_the_graph_are_named_in_lines_of_users_only() -> None:
    text = 'a(onnx:/model.22/cv3.0/Conv, [onnx:n:0;x, conv1], layers="onnx:odd, (name)")'
    (statement,) = parse_script(text, origins=True).statements
    assert statement.arguments == (Origin("/model.22/cv3.0/Conv"), (Origin("n:0;x"), Name("conv1")))
    assert statement.keywords == (("layers", Origin("odd, (name)")),)
    again = parse_script(format_script(Script((statement,))), origins=True).statements
    assert again == (statement,)
    with pytest.raises(InputError, match=r"model\.alls, line 1: ':' is not part of the model script language"):
        parse_script(text)
    assert parse_script('a("onnx:x")').statements[0].arguments == (String("onnx:x"),)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_script(format_script(parse_script(text))).statements is not None
