"""From a trained ONNX to `split.onnx` and the record of its endpoints: the whole job of this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build_rules.endpoints import Split
from build_rules.errors import InputError
from build_rules.graph.attention import find_attention
from build_rules.graph.constants import Array
from build_rules.graph.cut import cut_graph, model_bytes
from build_rules.graph.endpoints import find_endpoints
from build_rules.graph.proof import prove_cut
from build_rules.graph.source import load_source
from build_rules.graph.view import view_graph

__all__ = ["SplitResult", "split_model"]


@dataclass(frozen=True)
class SplitResult:
    """`split` is the content of `split.json`, `model` the bytes of `split.onnx`, the same for equal graphs.

    `external_files` are the files beside the ONNX that hold its weights, empty when it holds them itself.
    """

    split: Split
    model: bytes
    external_files: tuple[Path, ...] = ()


def split_model(onnx_path: Path, model_name: str, samples: Sequence[Array] = ()) -> SplitResult:
    """Cut a model at its endpoints and prove the cut.

    `samples` are further inputs for the proof, each in the shape and type of the model's input. Raises `InputError`,
    naming the file, for anything that cannot be cut.
    """
    try:
        source = load_source(onnx_path)
        view = view_graph(source.model, source.input)
        endpoints = find_endpoints(view, source.document)
        tensors = [endpoint.tensor for endpoint in endpoints]
        cut = cut_graph(view, tensors)
        content = model_bytes(cut)
        proof = prove_cut(view, cut, tensors, samples)
        split = Split(model_name, source.input, endpoints, find_attention(cut.graph.node), proof)
        return SplitResult(split, content, source.external_files)
    except InputError as error:
        raise InputError(f"{onnx_path}: {error}") from error
