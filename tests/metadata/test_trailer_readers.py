"""The model resolver of `edgefirst.decoder`, which opens the ZIP behind a HEF, on what this room writes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import edgefirst.decoder
import pytest

from build_rules.metadata.serialize import document_bytes
from build_rules.trainer.labels import labels_text
from tests.metadata.synthetic import Head
from tests.metadata.test_decoding import compiled


@pytest.mark.parametrize("head", [Head(nc=3), Head("direct", nc=1), Head(nc=5, masks=32, size=(384, 640))])
def test_the_resolver_takes_document_and_labels(head: Head, tmp_path: Path) -> None:
    labels = [f"class {index} é" for index in range(head.nc)]
    document, _ = compiled(head, dataset={"classes": labels})
    path = tmp_path / "model.hef"
    path.write_bytes(b"\x01HEF" + bytes(60))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("edgefirst.json", document_bytes(document))
        archive.writestr("labels.txt", labels_text(labels).encode("utf-8"))
    resolved = edgefirst.decoder.resolve_model_config(path)
    assert resolved.labels == labels
    assert resolved.schema["outputs"][0]["shape"] == document["outputs"][0]["shape"]
    task = edgefirst.decoder.ModelTask
    assert resolved.task == (task.Segment if head.masks else task.Detect)
