"""What the profiler says, whatever it looks like."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.dfc.profile_facts import profile_facts
from build_rules.records.stage_report import StageReport, dump_report


def test_numbers_are_found_by_what_they_are_called() -> None:
    document = {
        "stats": {"layers": [{"name": "conv1", "fps": 9999.0}], "fps": 64.7, "utilization": "75.8 %"},
        "latency_data": {"overall_latency_ms": "13.2 ms", "runtime_data": {"bandwidth_mbps": 812}},
    }
    assert profile_facts(document) == {
        "profile_fps": 64.7,
        "profile_latency_ms": 13.2,
        "profile_bandwidth": {"bandwidth_mbps": 812.0},
        "profile_utilization": {"utilization": 75.8},
    }


def test_what_is_no_number_is_left_out() -> None:
    assert profile_facts({}) == {}
    assert profile_facts({"fps": True, "latency": "fast", "bandwidth": float("nan"), "utilization": None}) == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["fps", "latency", "a"]), inner),
)


@given(st.dictionaries(st.text(max_size=5), VALUES))
def test_any_document(document: dict[str, Any]) -> None:
    dump_report(StageReport(profile_facts(document)))


def test_hostile_documents_are_read_in_time() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"a": deep, "b": deep}
    begun = time.process_time()
    assert profile_facts(deep) == {}
    assert profile_facts({"x": [{"y": 1}] * 1_000_000}) == {}
    assert time.process_time() - begun < 2
