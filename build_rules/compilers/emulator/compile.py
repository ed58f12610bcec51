"""Quantized HAR -> HEF: the streams of the network, and the quantized network itself in the place of the weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx

from build_rules.compilers.emulator.har_members import QUANTIZED_MEMBER
from build_rules.compilers.emulator.network import Delivered, Network, load_network
from build_rules.compilers.emulator.payload import pack_payload, unpack_payload
from build_rules.compilers.emulator.placement import read_placement
from build_rules.compilers.emulator.stored import read_stored
from build_rules.compilers.har_file import Har, read_har
from build_rules.compilers.protocol import CompileJob
from build_rules.errors import InputError
from build_rules.hef.streams import Quantization, Stream
from build_rules.hef.writer import HefSpec, write_hef

__all__ = ["Compiled", "compile_har"]

ZIP_SIGNATURE = b"PK\x03\x04"
LEVELS = (6, 9, 5, 4, 3, 2, 1)


class Compiled(NamedTuple):
    """The bytes of a HEF, and the commands of the script that have no counterpart here."""

    hef: bytes
    not_emulated: tuple[str, ...]


def compile_har(job: CompileJob) -> Compiled:
    """Return the HEF of a quantized HAR. The same HAR gives the same bytes: no time, no machine, no environment.

    Raises `InputError` when the HAR is not quantized or was made by another compiler, and for errors in the script.
    """
    har = read_har(job.har)
    if har.state != "quantized_model" or har.name + QUANTIZED_MEMBER not in har.members:
        raise InputError(f"{job.har}: is a {har.state} and not one that the emulator quantized; run optimize first.")
    if har.hw_arch is None:
        raise InputError(f"{job.har}: does not say for which hw_arch it was parsed; parse it again.")
    network, quantized = load_network(har), _quantized(har, job)
    not_emulated = _read_script(har, job)
    spec = HefSpec(
        hw_arch=har.hw_arch,
        sdk_version=har.sdk_version,
        timestamp_ms=0,
        network_group=har.name,
        inputs=(_input_stream(network),),
        outputs=_output_streams(network, quantized),
    )
    for level in LEVELS:
        payload = pack_payload(har.member(QUANTIZED_MEMBER), level)
        unpack_payload(payload)  # what it refuses would be refused whenever the file is run
        hef = write_hef(spec, payload)
        # Readers of EdgeFirst's files cut at the first ZIP signature, wherever it is.
        if ZIP_SIGNATURE not in hef:
            return Compiled(hef, not_emulated)
    raise InputError(f"{job.har}: no compression level keeps the ZIP signature out of the HEF; quantize it anew.")


def _read_script(har: Har, job: CompileJob) -> tuple[str, ...]:
    if job.script is None:
        return ()
    try:
        text = job.script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{job.script}: not a readable model script ({error}).") from error
    return read_placement(text, str(job.script), har.hn, har.member(".alls").decode())


def _quantized(har: Har, job: CompileJob) -> onnx.ModelProto:
    try:
        return read_stored(har.member(QUANTIZED_MEMBER))
    except InputError as error:
        raise InputError(f"{job.har}: {error}; build it again.") from error


def _input_stream(network: Network) -> Stream:
    _, height, width, channels = network.input_shape
    return Stream(
        name=network.input_name,
        direction="input",
        shape=(height, width, channels),
        padded_shape=(height, width, channels),
        order="NHWC",
        data_bytes=1,
        quantization=Quantization(1.0, 0.0, 0.0, 255.0),
        original_names=(network.image,),
    )


def _output_streams(network: Network, quantized: onnx.ModelProto) -> tuple[Stream, ...]:
    """Read scale and zero point from the quantized graph itself: what runs is what is told."""
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}

    def number(name: str) -> np.generic:
        return onnx.numpy_helper.to_array(constants[name]).reshape(-1)[0]  # type: ignore[no-any-return]

    return tuple(
        _output_stream(output, float(number(f"{output.name}/scale")), number(f"{output.name}/zero"))
        for output in network.outputs
    )


def _output_stream(output: Delivered, scale: float, zero: np.generic) -> Stream:
    _, height, width, channels = output.shape
    top = int(np.iinfo(zero.dtype).max)
    low, high = scale * (0 - int(zero)), scale * (top - int(zero))
    return Stream(
        name=output.name,
        direction="output",
        shape=(height, width, channels),
        padded_shape=(height, width, -(-channels // 8) * 8),
        order="NHWC",
        data_bytes=zero.dtype.itemsize,
        quantization=Quantization(scale, float(zero), low, high),
        original_names=output.original_names,
    )
