"""The script of the compile stage: read to its end, obeyed by nobody, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.placement import read_placement
from build_rules.compilers.protocol import CompileJob
from build_rules.errors import InputError
from tests.compilers.emulator.test_quantize import FAST
from tests.compilers.emulator.test_script_settings import HN
from tests.compilers.nets import Build, detector


def read(*lines: str, modified_by: str = "") -> tuple[str, ...]:
    return read_placement("".join(f"{line}\n" for line in lines), "compile.alls", HN, modified_by)


def test_what_is_asked_for_is_told_once() -> None:
    assert read() == ()
    assert read(
        "# reasons",
        "context_switch_param(mode=allowed)",
        "performance_param(compiler_optimization_level=max)",
        "performance_param(compiler_optimization_level=2, optimize_for_power=True)",
        "allocator_param(whatever=1)",
        "buffers(conv1, net/conv2, 1, FULL_ROW)",
        "{} = defuse_block(conv1, [conv2])",
        "part1, part2 = defuse(conv1, 2)",
        "place(0, [part1, part2, {conv*}])",
    ) == (
        *("context_switch_param", "performance_param", "allocator_param", "buffers", "defuse_block", "defuse"),
        "place",
    )


def test_names_that_the_script_before_has_made_still_hold() -> None:
    assert read("shortcut(norm1, conv1)", modified_by="norm1 = normalization([0, 0, 0], [1, 1, 1])\n") == ("shortcut",)
    with pytest.raises(InputError, match="layer 'norm1' doesn't exist"):
        read("shortcut(norm1, conv1)")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("quantization_param(conv1, precision_mode=a8_w8)", "'quantization_param' is none of the compile stage"),
        ("frobnicate()", "'frobnicate' is none of the compile stage"),
        ("performance_param(level=max)", "No argument named 'level' in performance_param; known are: compiler_opt"),
        ("performance_param(compiler_optimization_level=3)", "choose one of: 0, 1, 2, max"),
        ("context_switch_param(mode=perhaps)", "mode=perhaps is not possible; choose one of: allowed, enabled"),
        ("shortcut(conv1, conv7)", "layer 'conv7' doesn't exist in the HN of 'net'"),
        ("place(0, [conv1, [dw1]])", "layer 'dw1' doesn't exist"),
        ("place(0, {dw*})", "matches no layer"),
        ("place(0 0)", "expected"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read("# a script", line)
    assert str(caught.value).startswith("compile.alls, line 2: ")
    assert told in str(caught.value)


def test_it_changes_no_byte_is_told_and_stands_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = Build(tmp_path, *detector()).parse().optimize(FAST)
    script, hef = tmp_path / "compile.alls", tmp_path / "placed.hef"
    script.write_text("resources_param(max_utilization=0.8)\n", encoding="utf-8")
    capsys.readouterr()
    report = Emulator().compile(CompileJob(build.har, hef, script))
    assert capsys.readouterr().out == "   accepted, not emulated: resources_param\n"
    assert report.facts == {"not_emulated": ["resources_param"]}
    assert hef.read_bytes() == build.compile().hef.read_bytes()
    script.write_text("resources_param(max_utilisation=0.8)\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"compile\.alls, line 1: No argument named 'max_utilisation'"):
        Emulator().compile(CompileJob(build.har, hef, script))
    script.unlink()
    with pytest.raises(InputError, match="not a readable model script"):
        Emulator().compile(CompileJob(build.har, hef, script))


def test_the_line_of_the_step_is_short_and_the_report_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = Build(tmp_path, *detector()).parse().optimize(FAST)
    lines = ("allocator_param()", "buffers(a)", "context_switch_param(mode=auto)", "hef_param()", "logger_param()")
    script = tmp_path / "compile.alls"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    capsys.readouterr()
    report = Emulator().compile(CompileJob(build.har, tmp_path / "placed.hef", script))
    told = "allocator_param, buffers, context_switch_param, hef_param, and 1 more (doit inspect tells)"
    assert capsys.readouterr().out == f"   accepted, not emulated: {told}\n"
    assert report.facts == {"not_emulated": [line.partition("(")[0] for line in lines]}


def test_of_a_feature_the_step_names_the_feature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = Build(tmp_path, *detector()).parse()
    build.optimize(FAST + "post_quantization_optimization(finetune, policy=enabled, learning_rate=0.001)\n")
    assert "   accepted, not emulated: finetune: learning_rate\n" in capsys.readouterr().out
