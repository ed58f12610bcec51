"""The HEF file, whole: read every version, list its streams, add a ZIP and take it off, write one, say who can load it.

Knows nothing of what the ZIP means.

====================  ==================================================================================
`header.py`           which version is it, how long are its sections, what is the checksum?
`container.py`        where do the sections lie, was something added, is the file undamaged?
`directory.py`        where does the ZIP at the end begin, and how long was the file before it was sealed?
`members.py`          what is in the ZIP, and what may be?
`embed.py`            append a ZIP, seal it in, take it off again
`parsable.py`         does the vendor's parser take all of the message?
`schema.py`           its field numbers and enumerations
`features.py`         which of the vendor's features does the message use, and where are its streams?
`streams.py`          the records that everybody else sees
`reader.py`           from the message to the records
`writer.py`           and back, with no network inside
`refusals.py`         what in the message makes the vendor's runtime refuse it?
`host_work.py`        and what in the work that it does on the host?
`releases.py`         what did each release of the runtime learn?
`loaders.py`          which runtimes accept the file?
====================  ==================================================================================
"""

from build_rules.hef.container import Container, Section, build_container
from build_rules.hef.embed import embed_zip, holds_zip_signature, strip
from build_rules.hef.header import Header, Layout
from build_rules.hef.members import read_members
from build_rules.hef.reader import read_hef, read_payload
from build_rules.hef.streams import Hef, HostOp, NetworkGroup, Nms, Quantization, Stream
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
    "build_container",
    "embed_zip",
    "holds_zip_signature",
    "read_hef",
    "read_members",
    "read_payload",
    "strip",
    "write_hef",
]
