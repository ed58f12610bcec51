"""A model cut, calibrated and quantized as a preset does it, and the float network beside it: what judges are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from safetensors.numpy import load_file

from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pixels.letterbox import fit, place
from build_rules.compilers.describe_har import describe
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.protocol import OptimizeJob
from build_rules.inference import new_session, session_options
from build_rules.presets import PRESETS
from build_rules.records.split_json import Split, load_split
from build_rules.steps import alls, calibration, parse, split

Pixels = npt.NDArray[np.uint8]
Outputs = dict[str, npt.NDArray[np.float32]]
"""By endpoint, [N, H, W, C]."""


@dataclass(frozen=True)
class Quantized:
    """The files of one model in `folder`; `samples` are those that ranges were taken from, [N, C, H, W]."""

    folder: Path
    split: Split
    samples: Pixels

    def ours(self, images: Pixels) -> Outputs:
        """What the quantized network delivers of images [N, C, H, W]: the activations folded where the split says."""
        har = self.folder / "model.har"
        delivered = Emulator().simulate(har, images.transpose(0, 2, 3, 1))
        streams = {node: output.stream for output in describe(har).outputs for node in output.original_names}
        return {endpoint.name: delivered[streams[endpoint.node]] for endpoint in self.split.endpoints}

    def of(self, network: bytes, images: Pixels) -> Outputs:
        """The same of an ONNX network that takes pixels over 255 and gives the endpoints in their order."""
        session = new_session(network, session_options())
        rows = [session.run(None, {self.split.input.name: scaled(image)}) for image in images]
        columns = [np.concatenate(column).transpose(0, 2, 3, 1) for column in zip(*rows, strict=True)]
        return {endpoint.name: values for endpoint, values in zip(self.split.endpoints, columns, strict=True)}

    def float_network(self) -> onnx.ModelProto:
        """The cut network with the folded activations, its outputs those of the split and in their order."""
        model = onnx.load(str(self.folder / "split.onnx"))
        outputs = []
        for endpoint in self.split.endpoints:
            name = endpoint.tensor
            if endpoint.name in self.split.folded:
                name = f"{endpoint.name}_folded"
                model.graph.node.append(onnx.helper.make_node("Sigmoid", [endpoint.tensor], [name], name))
            outputs.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, endpoint.shape))
        del model.graph.output[:]
        model.graph.output.extend(outputs)
        return model


def scaled(image: Pixels) -> npt.NDArray[np.float32]:
    """Pixels over 255 in a batch of one, as exports take them."""
    return np.asarray(image[None] / np.float32(255), np.float32)


def fitted(pictures: list[Path], size: tuple[int, int]) -> Pixels:
    """Pictures letterboxed to (height, width), [N, C, H, W]."""
    rows = []
    for picture in pictures:
        image = decode(picture)
        rows.append(fit(image, place((image.shape[0], image.shape[1]), size)).transpose(2, 0, 1))
    return np.stack(rows)


def quantize(model: Path, name: str, pictures: list[Path], folder: Path, preset: str = "fast") -> Quantized:
    """Cut `model` and quantize it on all of `pictures`, with the script of `preset`."""
    f = folder
    split.run(model, f / "split.onnx", f / "split.json", name, None, None, None)
    calibration.run(
        f / "split.json", pictures, f / "snapshot", f / "calibration.json", f / "chosen", f / "sheet",
        str(pictures[0].parent), None, len(pictures), False, "", str(f / "known"), str(f / "snapshot"),
    )  # fmt: skip
    parse.run(f / "split.onnx", f / "split.json", f / "parsed.har", Emulator(), name, "hailo8l")
    alls.run(
        *(f / "split.json", f / "calibration.json", f / "parsed.har", f / "model.alls", f / "compile.alls"),
        f / "feed.json",
        PRESETS[preset],
        "hailo8l",
    )
    Emulator().optimize(OptimizeJob(f / "parsed.har", f / "model.alls", f / "snapshot", f / "model.har"))
    made = load_split(f / "split.json")
    return Quantized(f, made, load_file(f / "snapshot")[made.input.name])
