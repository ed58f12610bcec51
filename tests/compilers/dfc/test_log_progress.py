"""How far a run of the compiler is, from what it prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.dfc.log_progress import Follower
from tests.compilers.dfc.logs import COMPILED, LOWERED, OPTIMIZED


def told(text: str) -> list[str]:
    follower = Follower()
    return [said for line in text.split("\n") if (said := follower.feed(line)) is not None]


def test_an_optimization() -> None:
    assert told(OPTIMIZED) == [
        "translation",
        "mixed precision",
        "statistics collector",
        "statistics collector: 100 %",
        "fine-tune",
        "fine-tune: epoch 1 of 4",
        "fine-tune: epoch 1 of 4, 50 %",
        "fine-tune: epoch 1 of 4, 100 %",
        "fine-tune: epoch 2 of 4",
        "fine-tune: epoch 2 of 4, 63 %",
        "layer noise analysis",
        "full quant analysis: 100 %",
    ]


def test_a_compilation() -> None:
    assert told(COMPILED) == [
        "partition search",
        "partition search: attempt 1, 3 contexts",
        "partition search: attempt 2, 2 contexts",
        "validation: 57 %",
        "allocation",
        "allocation: attempt 4, 2 contexts",
        "code generation",
        "writing the HEF",
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("Adaround:  42%|####      | 5/12 [01:05<00:00, 4.1s/blocks, Layers=['net/conv3']]", "adaround: 42 %"),
        ("Adaround:   8%|8 | 1/12\rAdaround:  16%|16 | 2/12\r", "adaround: 16 %"),
        ("\x1b[32m[info]\x1b[0m Starting Adaround", "adaround"),
        ("[info] allocation attempt 3: trying 2 contexts", "allocation: attempt 3, 2 contexts"),
        ("Allocation attempt 7", "allocation: attempt 7"),
        ("[info] Iteration #184 - Contexts: 5", "partition search: attempt 184, 5 contexts"),
        ("Context:0/0 Iteration 4: Trying parallel mapping...", "allocation: attempt 4, 1 context"),
        ("Calibration: 250%|", "calibration: 100 %"),
        ("[info] Starting Fine Tune", "fine-tune"),
    ],
)
def test_single_lines(line: str, text: str) -> None:
    assert Follower().feed(line) == text


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[info] Starting Model Optimization",
        "[info] Starting Hailo allocation and compilation flow",
        "2024-10-21 11:00:21.315784: I tensorflow/core/common_runtime/executor.cc:1197] ...",
        "12/64 [====>",  # of no epoch
        "[info] Bias Correction skipped",
        "\x00\xff\ud800 95%|",
    ],
)
def test_lines_that_say_nothing(line: str) -> None:
    assert Follower().feed(line) is None


def test_bars_in_colours() -> None:
    bar = "\x1b[1m 24/417\x1b[0m \x1b[32m━\x1b[0m\x1b[37m━━\x1b[0m \x1b[1m2:18:40\x1b[0m 21s/step"
    follower = Follower()
    follower.feed("Epoch 3/6")
    assert follower.feed(f"\x08\x08\x08\r{bar}") == "fine-tune: epoch 3 of 6, 5 %"


def test_nothing_is_told_twice_in_a_row() -> None:
    assert told("Adaround: 1%|\nAdaround: 1%|\nAdaround: 2%|\n") == ["adaround: 1 %", "adaround: 2 %"]


PIECES = st.sampled_from([*OPTIMIZED.splitlines(), *LOWERED.splitlines(), *COMPILED.splitlines()])


@given(st.lists(st.text(max_size=60) | PIECES | st.binary(max_size=60).map(lambda data: data.decode("latin-1"))))
def test_never_fails(lines: list[str]) -> None:
    follower = Follower()
    for line in lines:
        said = follower.feed(line)
        assert said is None or (said.isprintable() and len(said) < 200)


def test_never_fails_on_what_is_no_text() -> None:
    follower = Follower()
    for byte in range(256):
        follower.feed(bytes([byte, 255 - byte, 37, 124]).decode("utf-8", "surrogateescape"))
    assert follower.feed("Epoch 1/0") == "fine-tune: epoch 1 of 0"
    assert follower.feed("5/0 [===") is None
