"""The grammar: what is written can be read back, and what is wrong is named by line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.alls.script import NOTHING, Glob, Name, Script, Statement, String, Value, format_script, parse_script
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
statements = st.builds(
    Statement,
    command=names,
    arguments=st.lists(values, max_size=3).map(tuple),
    keywords=st.lists(st.tuples(names, values), max_size=3).map(tuple),
    targets=st.lists(st.one_of(names, st.just(NOTHING)), max_size=3).map(tuple),
)


@pytest.mark.parametrize(
    "written", ["{} = b(1)", "{}=b(1)", "{ } = b(1)", "  {\t}\t= b(1)", "a, {} = b(1)", "{}, {} = b()"]
)
def test_a_target_may_be_nothing(written: str) -> None:
    (statement,) = parse_script(written).statements
    assert statement.targets[-1] == NOTHING
    assert format_script(Script((statement,))).startswith(("{} = b(", "a, {} = b(", "{}, {} = b("))


@given(st.lists(statements, max_size=5))
def test_round_trip(written: list[Statement]) -> None:
    text = format_script(Script(tuple(written)))
    read = parse_script(text)
    assert read == Script(tuple(Statement(**{**vars(s), "line": i + 1}) for i, s in enumerate(written)))


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_script(format_script(parse_script(text))).statements is not None
