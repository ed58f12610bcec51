"""How far the float network may be from the exported graph, whichever compiler made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from build_rules.calibration.snapshot.safetensors_file import encode_header
from build_rules.compilers.pixel_proof import prove_pixels
from build_rules.compilers.protocol import Compiler, OptimizeJob
from build_rules.errors import InputError
from build_rules.records.calibration_json import Feed
from build_rules.records.normalization import Normalization
from tests.opens import opens

SHAPE = [1, 3, 8, 8]
FEED = Feed(Normalization(1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), False)


@dataclass
class Rough:
    """A compiler whose float network is off by `error`, as a part of the largest value."""

    error: float
    float_tolerance: ClassVar[float] = 0.001

    def run_float(self, job: OptimizeJob, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        exact = image[None].astype(np.float32) / 255
        return (exact + np.float32(self.error) * np.resize([1, -1], exact.shape).astype(np.float32),)


def exported(folder: Path, kind: int) -> Path:
    """A graph that gives its input back, through numbers of a kind."""
    nodes: list[Any] = [
        helper.make_node("Cast", ["images"], ["narrow"], to=kind),
        helper.make_node("Cast", ["narrow"], ["out"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("images", "out")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "split.onnx")
    return folder / "split.onnx"


@pytest.mark.parametrize(
    ("kind", "error", "agrees", "reads"),
    [
        (TensorProto.FLOAT, 0.0, True, 0),
        (TensorProto.FLOAT, 0.004, False, 1),
        (TensorProto.FLOAT16, 0.0, True, 0),
        (TensorProto.FLOAT16, 0.004, True, 1),
        (TensorProto.FLOAT16, 0.04, False, 1),
    ],
)
def test_halves_may_differ_by_more(tmp_path: Path, kind: int, error: float, agrees: bool, reads: int) -> None:
    """The graph is looked into only when it matters: onnxruntime has read it already."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, *SHAPE[1:]), dtype=np.uint8)
    snapshot = tmp_path / "snapshot"
    snapshot.write_bytes(encode_header("images", "U8", pixels.shape, {}) + pixels.tobytes())
    job = OptimizeJob(tmp_path / "parsed.har", tmp_path / "model.alls", snapshot, tmp_path / "har")
    graph, compiler = exported(tmp_path, kind), cast(Compiler, Rough(error))
    with opens() as counts:
        if agrees:
            prove_pixels(compiler, job, graph, FEED)
        else:
            with pytest.raises(InputError, match=r"the tensor 'out' differs from that of split\.onnx"):
                prove_pixels(compiler, job, graph, FEED)
    assert counts[graph] == reads
