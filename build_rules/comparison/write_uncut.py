"""The graph with its tail: what would be compiled if nobody cut it."""

from __future__ import annotations

from pathlib import Path

from build_rules.errors import InputError
from build_rules.graph.load.graph_view import view_graph
from build_rules.graph.load.source import load_source
from build_rules.graph.prove.cut import cut_graph
from build_rules.onnx_file.onnx_files import OnnxFiles
from build_rules.onnx_file.write import write_model
from build_rules.trainer.image_size import image_sizes
from build_rules.trainer.read_document import read_document

__all__ = ["write_uncut"]


def write_uncut(onnx: Path, target: str, shape: tuple[int, int], output: Path) -> str:
    """Write the model up to its own output `target`, at `shape` (height, width); return the node that makes that.

    Raises `InputError` when it has no such output, and as `split_model` does.
    """
    with OnnxFiles(onnx) as files:
        source = load_source(files, image_sizes(read_document(files)), shape)
        view = view_graph(source)
        node = view.producer(target)
        if node is None or target not in view.image_tensors:
            raise InputError(f"{onnx}: has no output {target!r} that is made of the image.")
        write_model(cut_graph(view, [target]), source.files, output)
        return node.name
