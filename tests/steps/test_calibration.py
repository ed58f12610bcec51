"""What the calibration step refuses before it reads an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from build_rules.errors import InputError
from build_rules.records.normalization import Normalization
from build_rules.records.split_json import ModelInput, Preprocessing, dump_split
from build_rules.steps.calibration import run
from tests.records.test_records import SPLIT

UNKNOWN = Preprocessing(normalization=Normalization(1 / 255, (0.0, 0.0), (1.0, 1.0)), color=None)


def test_an_input_of_unknown_colours(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    image = tmp_path / "pool/a.png"
    image.write_bytes(b"never read")
    split = tmp_path / "split.json"
    split.write_text(dump_split(replace(SPLIT, input=ModelInput("pair", (1, 2, 64, 48)), preprocessing=UNKNOWN)))
    with pytest.raises(InputError, match=r"pool: the model's input 'pair' has 2 channels.*cameraadaptor"):
        run(
            split_json=split,
            images=(image,),
            snapshot=tmp_path / "s",
            calibrated=tmp_path / "c",
            chosen=tmp_path / "i",
            sheet=tmp_path / "p",
            database=str(tmp_path / "known"),
            final=str(tmp_path / "s"),
            source=str(tmp_path / "pool"),
            named_in=None,
            count=8,
            skip_broken=False,
            passed_over="",
        )
