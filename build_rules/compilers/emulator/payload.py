"""The quantized network as an emulated HEF carries it, in the place of a chip's configuration."""

from __future__ import annotations

import zlib

from build_rules.errors import InputError

__all__ = ["pack_payload", "unpack_payload"]

PAYLOAD_MAGIC = b"EMULATED-ONNX\0"
MAX_NETWORK_BYTES = 1 << 30
PLAIN_NETWORK_BYTES = 16 << 20
MAX_RATIO = 32
"""Networks of more than 16 MiB unpack to at most so many times their packed size; weights do not shrink by half."""


def pack_payload(network: bytes, level: int) -> bytes:
    """Return a serialized ONNX model as the HEF carries it."""
    return PAYLOAD_MAGIC + zlib.compress(network, level)


def unpack_payload(payload: bytes) -> bytes | None:
    """Return the serialized ONNX model of a payload; None when an emulator did not write it.

    Raises `InputError` when it is damaged, or unpacks to more than any network.
    """
    if not payload.startswith(PAYLOAD_MAGIC):
        return None
    unpacker = zlib.decompressobj()
    limit = min(MAX_NETWORK_BYTES, PLAIN_NETWORK_BYTES + MAX_RATIO * len(payload))
    try:
        network = unpacker.decompress(payload[len(PAYLOAD_MAGIC) :], limit)
    except zlib.error as error:
        raise InputError(f"the emulated network is damaged ({error}); build the HEF again.") from error
    if not unpacker.eof:
        raise InputError(f"the emulated network is cut short or larger than {limit >> 20} MiB; build the HEF again.")
    return network
