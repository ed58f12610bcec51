"""Read and write the HEF container, list its streams, append and strip a ZIP. Knows nothing of what the ZIP means.

`container` is header and sections, `protobuf` the wire format, `schema` its numbers, `streams` the records, `reader`
and `writer` the message, `trailer` the ZIP.
"""

from build_rules.hef.container import (
    Container,
    Header,
    Layout,
    Section,
    build_container,
    read_container,
)
from build_rules.hef.reader import read_hef, read_payload
from build_rules.hef.streams import Hef, HostOp, NetworkGroup, Nms, Quantization, Stream, format_text
from build_rules.hef.trailer import append_zip, contains_zip_signature, read_members, strip
from build_rules.hef.writer import HefSpec, write_hef

__all__ = [
    "Container",
    "Header",
    "Hef",
    "HefSpec",
    "HostOp",
    "Layout",
    "NetworkGroup",
    "Nms",
    "Quantization",
    "Section",
    "Stream",
    "append_zip",
    "build_container",
    "contains_zip_signature",
    "format_text",
    "read_container",
    "read_hef",
    "read_members",
    "read_payload",
    "strip",
    "write_hef",
]
