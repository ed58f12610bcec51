"""Small hand-made networks, calibration snapshots and scripts for the compiler tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.compilers.protocol import CompileJob, OptimizeJob, ParseJob
from build_rules.hef import Stream, read_hef

SIZE = 32
NORMAL = "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])\n"


@dataclass
class Net:
    """A network under construction; every method returns the name of the tensor it makes. Node names end in the op."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def constant(self, value: npt.ArrayLike, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        tag = f"n{len(self.nodes)}"
        made = [f"{tag}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=f"/{tag}/{kind}", **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x: str, channels: tuple[int, int], k: int = 3, stride: int = 1, group: int = 1) -> str:
        i, o = channels
        weight = self.rng.normal(0, 1.4 / np.sqrt(i // group * k * k), (o, i // group, k, k))
        pads = [k // 2] * 4
        bias = self.constant(self.rng.normal(0, 0.3, o))
        made: str = self.op(
            "Conv", x, self.constant(weight), bias, kernel_shape=[k, k], pads=pads, strides=[stride] * 2, group=group
        )
        return made

    def silu(self, x: str) -> str:
        made: str = self.op("Mul", x, self.op("Sigmoid", x))
        return made

    def model(self, outputs: Sequence[str], channels: int = 3) -> onnx.ModelProto:
        source = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, channels, SIZE, SIZE])
        values = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", [source], values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)

    def node(self, tensor: str) -> str:
        return next(str(node.name) for node in self.nodes if tensor in node.output)


def detector(scores: int = 5, boxes: int = 16) -> tuple[onnx.ModelProto, list[str]]:
    """A small detector: boxes, scores and prototypes, with every kind of layer the YOLO family has."""
    net = Net()
    stem = net.silu(net.conv("images", (3, 16), stride=2))
    left, right = net.op("Split", stem, net.constant([8, 8], np.int64), outputs=2, axis=1)
    right = net.op("Add", right, net.silu(net.conv(right, (8, 8))))
    body = net.silu(net.conv(net.op("Concat", left, right, axis=1), (16, 16), k=1))
    pooled = net.op("MaxPool", body, kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
    small = net.silu(net.conv(net.op("Concat", body, pooled, axis=1), (32, 16), stride=2))
    scales = net.constant([1, 1, 2, 2])
    up = net.op("Resize", small, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
    neck = net.op("Concat", up, body, axis=1)
    box = net.conv(net.silu(net.conv(neck, (32, 16))), (16, boxes), k=1)
    dw = net.silu(net.conv(neck, (32, 32), group=32))
    score = net.conv(net.silu(net.conv(dw, (32, 16), k=1)), (16, scores), k=1)
    proto = net.silu(net.conv(neck, (32, 8), k=1))
    return net.model([box, score, proto]), [net.node(tensor) for tensor in (box, score, proto)]


def attention() -> tuple[onnx.ModelProto, list[str]]:
    """A convolution, one attention head as in C2PSA, and a convolution."""
    net = Net()
    x = net.silu(net.conv("images", (3, 16), stride=4))
    tokens = (SIZE // 4) ** 2
    qkv = net.op("Reshape", net.conv(x, (16, 32), k=1), net.constant([1, 2, 16, tokens], np.int64))
    q, k, v = net.op("Split", qkv, net.constant([4, 4, 8], np.int64), outputs=3, axis=2)
    q = net.op("Transpose", net.op("Mul", q, net.constant(0.5)), perm=[0, 1, 3, 2])
    weights = net.op("Softmax", net.op("MatMul", q, k), axis=-1)
    seen = net.op("MatMul", v, net.op("Transpose", weights, perm=[0, 1, 3, 2]))
    back = net.op("Reshape", seen, net.constant([1, 16, SIZE // 4, SIZE // 4], np.int64))
    out = net.conv(net.op("Add", back, x), (16, 8), k=1)
    return net.model([out]), [net.node(out)]


def images(count: int, seed: int = 0, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Smooth random pictures, uint8 [N, C, H, W]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, channels, SIZE // 4, SIZE // 4))
    fine = coarse.repeat(4, axis=2).repeat(4, axis=3) + rng.integers(-20, 21, (count, channels, SIZE, SIZE))
    pixels: npt.NDArray[np.uint8] = np.clip(fine, 0, 255).astype(np.uint8)
    return pixels


class Build:
    """One network on its way through the emulator, in a folder of its own."""

    def __init__(self, folder: Path, model: onnx.ModelProto, ends: Sequence[str], name: str = "net") -> None:
        self.folder, self.model, self.ends, self.name = folder, model, tuple(ends), name
        folder.mkdir(exist_ok=True)
        self.onnx, self.snapshot = folder / "split.onnx", folder / "calibration.safetensors"
        self.parsed, self.script = folder / "parsed.har", folder / "model.alls"
        self.har, self.hef = folder / "model.har", folder / "model.hef"
        onnx.save(model, str(self.onnx))
        save_file({"images": images(24)}, str(self.snapshot))

    def parse(self) -> Build:
        Emulator().parse(ParseJob(self.onnx, self.name, "hailo8l", self.ends, self.parsed))
        return self

    def optimize(self, script: str) -> Build:
        self.script.write_text(script, encoding="utf-8")
        Emulator().optimize(OptimizeJob(self.parsed, self.script, self.snapshot, self.har))
        return self

    def compile(self) -> Build:
        Emulator().compile(CompileJob(self.har, self.hef))
        return self

    def all(self, script: str) -> Build:
        return self.parse().optimize(script).compile()

    def streams(self) -> tuple[Stream, ...]:
        return read_hef(self.hef).network_groups[0].outputs

    def errors(self, activations: Sequence[str | None] | None = None) -> list[float]:
        """Return the rms error of every output, real values against the float network, relative to its deviation."""
        session, reference = HostSession(self.hef), onnxruntime.InferenceSession(self.model.SerializeToString())
        streams = self.streams()
        errors = np.zeros((len(streams), 2))
        for image in images(6, seed=99):
            delivered = session.run(np.ascontiguousarray(image.transpose(1, 2, 0)))
            truth = reference.run(None, {"images": image[None].astype(np.float32) / 255})
            for i, stream in enumerate(streams):
                q = stream.quantization
                real = q.scale * (delivered[stream.name].astype(np.float64) - q.zero_point)
                wanted = truth[i].transpose(0, 2, 3, 1).astype(np.float64)
                if activations and activations[i] == "sigmoid":
                    wanted = 1 / (1 + np.exp(-wanted))
                errors[i] += ((real - wanted) ** 2).mean(), wanted.var()
        return [float(value) for value in np.sqrt(errors[:, 0] / errors[:, 1])]
