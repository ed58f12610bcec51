"""What is read in the folder of a run, where anything may lie."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.launch import WorkerFailure
from build_rules.compilers.dfc.launch.run_folder import MAX_RESULT, MAX_WORD, read_result
from tests.compilers.dfc.launch.environments import make_client, parse_work, run_quietly

ENVIRONMENT = {"dfc": "3.33.0", "python": "3.10.12", "numpy": "1.26.4", "digest": "ab" * 32}
WHOLE = {"nonce": "1", "environment": ENVIRONMENT, "facts": {"fps": 1.5}}


def result(folder: Path, **changes: Any) -> Any:
    (folder / "result.json").write_text(json.dumps({**WHOLE, **changes}))
    return read_result(folder, "1")


def test_an_answer_to_this_request(tmp_path: Path) -> None:
    assert result(tmp_path) == WHOLE
    assert result(tmp_path, nonce="2") is None
    failed = result(tmp_path, kind="raised", message="m", type="T", traceback="t")
    assert failed["kind"] == "raised"


@pytest.mark.parametrize(
    "changes",
    [
        *({"environment": {**ENVIRONMENT, "dfc": word}} for word in ("3.33.0\x1b[2J", "3.33.0\n", "3" * 201, 3, None)),
        *({"environment": {k: v for k, v in ENVIRONMENT.items() if k != name}} for name in ENVIRONMENT),
        {"environment": []},
        {"facts": []},
        {"facts": None},
        {"kind": 1},
        {"kind": "raised", "message": ["m"]},
    ],
)
def test_what_is_no_answer(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert MAX_WORD == 200
    assert result(tmp_path, **changes) is None


def test_numbers_that_other_json_cannot_hold_are_none(tmp_path: Path) -> None:
    text = json.dumps(WHOLE).replace("1.5", "[NaN, Infinity, -Infinity, 1e999, 1e-999, 2.5]")
    (tmp_path / "result.json").write_text(text)
    read = read_result(tmp_path, "1")
    assert read is not None
    assert read["facts"]["fps"] == [None, None, None, None, 0.0, 2.5]


def test_folders_below_one_another_are_kept_and_removed(tmp_path: Path) -> None:
    source = """
    def translate(self, model, net_name, **options):
        for _ in range(3000):
            os.mkdir("d"); os.chdir("d"); open("file", "w").close()
        raise RuntimeError("deep")
    ClientRunner.translate_onnx_model = translate
    """
    with pytest.raises(WorkerFailure, match="deep") as caught:
        run_quietly(DfcSettings(python=str(make_client(tmp_path / "dfc", source))), parse_work(tmp_path))
    assert not list(tmp_path.glob(".dfc-*"))
    kept = caught.value.kept
    assert kept is not None
    assert sum(len(files) for _, _, files in os.walk(kept)) == 3000 + len(("output.log", "request.json", "result.json"))
    shutil.rmtree(kept)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "", "\x00", '"\\ud800'])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    assert read_result(tmp_path, "1") is None


def test_a_result_of_any_size_costs_little(tmp_path: Path) -> None:
    small = ("[],", '{"":1},', "0.1,", '"a",')
    texts = ["[" + piece * (MAX_RESULT // len(piece) - 2) + "0]" for piece in small]
    tracemalloc.start()
    try:
        with (tmp_path / "result.json").open("wb") as stream:
            stream.truncate(8 << 30)
        assert read_result(tmp_path, "1") is None
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_RESULT
        for text in texts:
            (tmp_path / "result.json").write_text(text)
            assert read_result(tmp_path, "1") is None
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
