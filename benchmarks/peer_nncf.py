"""Quantize an ONNX network with OpenVINO's NNCF, the peer of `presets.py --peer`; runs in an environment that has it.

Usage: PYTHON benchmarks/peer_nncf.py FLOAT.onnx SAMPLES.npy QUANTIZED.onnx    (`pip install nncf onnx onnxruntime`)

SAMPLES is uint8 [N, C, H, W]; the network takes them over 255. Activations are asymmetric and weights symmetric per
channel, 8 bits each, with NNCF's channel alignment and fast bias correction, as it does by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nncf
import numpy as np
import onnx


def main(source: str, samples: str, target: str) -> None:
    """Write the quantized network, with quantize-dequantize pairs."""
    model, pixels = onnx.load(source), np.load(samples)
    name = model.graph.input[0].name
    rows = nncf.Dataset(list(pixels), lambda row: {name: row[None].astype(np.float32) / np.float32(255)})
    quantized = nncf.quantize(
        model, rows, preset=nncf.QuantizationPreset.MIXED, subset_size=len(pixels), fast_bias_correction=True
    )
    Path(target).write_bytes(quantized.SerializeToString())


if __name__ == "__main__":
    main(*sys.argv[1:4])
