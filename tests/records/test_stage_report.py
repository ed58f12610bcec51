"""What a stage reports survives its file; what no stage writes is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.records.stage_report import REPORT_BYTES, StageReport, dump_report, load_report, parse_report

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
REPORTS = st.builds(
    StageReport, st.dictionaries(st.text(max_size=9), VALUES, max_size=4), st.lists(st.text(), max_size=3).map(tuple)
)


@given(REPORTS)
def test_a_report_survives_its_file(report: StageReport) -> None:
    text = dump_report(report)
    assert parse_report(text.encode(), "har.json") == report
    assert dump_report(parse_report(text.encode(), "har.json")) == text


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "har.json"
    path.write_text(dump_report(StageReport({"contexts": 3}, ("one",))), encoding="utf-8")
    assert load_report(path) == StageReport({"contexts": 3}, ("one",))
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        load_report(tmp_path / "none.json")


def test_what_json_lacks_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dump_report(StageReport({"snr": float("nan")}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1}',
        '{"format": 2, "facts": {}, "warnings": []}',
        '{"format": 1, "facts": [], "warnings": []}',
        '{"format": 1, "facts": {}, "warnings": "one"}',
        '{"format": 1, "facts": {}, "warnings": [1]}',
        '{"format": 1, "facts": {"snr": NaN}, "warnings": []}',
        json.dumps({"format": 1, "facts": {"a": [[[[[[[[[1]]]]]]]]]}, "warnings": []}),
        "[" * 200_000,
        '{"format": 1, "facts": {}, "warnings": []}' + " " * REPORT_BYTES,
    ],
)
def test_what_no_stage_writes_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^har\.json: "):
        parse_report(text.encode(), "har.json")
