"""Comparisons that nobody has measured."""

from __future__ import annotations

import math
from typing import Literal

from hypothesis import strategies as st

from build_rules.comparison.measured import (
    Check,
    Comparison,
    Histogram,
    OutputMeasure,
    PresetMeasure,
    SetMeasure,
)
from build_rules.objects.agreement import Agreement, ClassAgreement, Precision

NUMBERS = st.floats(-1e6, 1e6)
MAYBE = st.none() | NUMBERS
COUNTS = st.integers(0, 10**6)
WORDS = st.text(max_size=8)
NAMES: st.SearchStrategy[Literal["calibration", "held-out"]] = st.sampled_from(["calibration", "held-out"])


HISTOGRAMS = st.builds(Histogram, NUMBERS, NUMBERS, st.just((1, 2)), st.just((3, 0)))
OUTPUTS = st.builds(
    OutputMeasure,
    *(WORDS, WORDS, WORDS, st.just((4, 4, 2)), st.sampled_from([8, 16])),
    *(NUMBERS | st.just(math.nan), COUNTS, COUNTS, NUMBERS, MAYBE, NUMBERS, NUMBERS, NUMBERS, HISTOGRAMS),
)
CLASSES = st.builds(ClassAgreement, COUNTS, COUNTS, MAYBE, MAYBE, COUNTS, COUNTS)
AGREEMENTS = st.builds(
    Agreement, COUNTS, COUNTS, MAYBE, MAYBE, MAYBE, MAYBE, COUNTS, COUNTS, st.lists(CLASSES, max_size=2).map(tuple)
)
PRECISIONS = st.builds(Precision, COUNTS, COUNTS, MAYBE, MAYBE)
SETS = st.builds(
    SetMeasure, NAMES, COUNTS, st.lists(OUTPUTS, max_size=2).map(tuple), st.none() | AGREEMENTS, st.none() | PRECISIONS
)
PRESETS = st.builds(
    PresetMeasure,
    *(WORDS, WORDS, WORDS, st.booleans(), st.none() | COUNTS, COUNTS, st.lists(WORDS, max_size=2).map(tuple)),
    *(st.lists(SETS, max_size=2).map(tuple), st.booleans()),
)
CHECKS = st.builds(Check, WORDS, st.sampled_from(["passed", "failed", "not known"]), WORDS, WORDS)
COMPARISONS = st.builds(
    Comparison,
    *(WORDS, WORDS, st.lists(st.tuples(WORDS, PRECISIONS), max_size=2).map(tuple)),
    *(st.lists(PRESETS, max_size=2).map(tuple), st.lists(CHECKS, max_size=2).map(tuple), st.none() | WORDS, WORDS),
    st.lists(WORDS, max_size=2).map(tuple),
)
