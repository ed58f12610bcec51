"""Steps note what else they read, so that a change of it is told when they fail."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from build_rules.engine.running.note_reads import marks_now, note_reads, noted_reads
from build_rules.errors import InputError
from build_rules.records.choices import SplitChoice
from build_rules.steps import split
from tests.graph.graphs import detection


def test_split_notes_labels_and_weights_beside_the_model(tmp_path: Path) -> None:
    model, labels = tmp_path / "m.onnx", tmp_path / "labels.txt"
    onnx.save(detection(), model, save_as_external_data=True, location="weights.bin", size_threshold=0)
    labels.write_text("one\n" * 99)
    draft = tmp_path / "draft" / "split.onnx"
    draft.parent.mkdir()
    with pytest.raises(InputError):
        split.run(model, draft, draft.with_name("split.json"), "m", SplitChoice(prove=False), str(labels), None)
    assert dict(noted_reads(draft.parent)) == {path: marks_now(path) for path in (labels, tmp_path / "weights.bin")}


def test_names_of_any_bytes_are_noted(tmp_path: Path) -> None:
    files = [tmp_path / "straße\udcff.txt", tmp_path / "line\nbreak"]
    for file in files:
        file.write_text("x")
    note_reads(tmp_path / "draft", [*files, tmp_path / "missing"])
    assert list(noted_reads(tmp_path)) == [*((f, marks_now(f)) for f in files), (tmp_path / "missing", None)]
    assert list(noted_reads(tmp_path / "nowhere")) == []
    (tmp_path / ".reads").write_text("{half")
    assert list(noted_reads(tmp_path)) == []
