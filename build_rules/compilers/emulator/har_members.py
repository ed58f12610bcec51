"""Members of a HAR in which the emulator keeps what it needs; each is called by the network's name and one of these."""

from __future__ import annotations

__all__ = ["META_MEMBER", "ONNX_MEMBER", "QUANTIZED_MEMBER"]

ONNX_MEMBER = ".emulator.onnx"
"""Since parse: the cut ONNX graph."""
META_MEMBER = ".original_model_meta.json"
"""Since parse: the end nodes, among what the vendor's compiler writes there."""
QUANTIZED_MEMBER = ".emulator.quantized.onnx"
"""Since optimize: the quantized network; compiling puts it into the HEF."""
