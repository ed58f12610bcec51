"""Streams and metadata of one executable, as the file itself says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.hef.streams import Hef, Stream
from build_rules.metadata.examine import Examined, examine
from build_rules.metadata.problems import mapping
from build_rules.report_page.views import Fact, HefView, StreamRow

__all__ = ["view_hef"]

NODES = 3
"""Names of nodes that are shown of a stream: the last ones, which make it."""
PROBLEMS = 20


def view_hef(target: str, path: Path, emulated: bool, warnings: tuple[str, ...]) -> HefView:
    """Return what an executable holds, or why that cannot be told."""
    try:
        examined = examine(path)
    except (InputError, OSError) as error:
        return HefView(target, emulated, fault=str(error))
    hef = examined.hef
    problems = tuple(f"{problem.severity}: {problem.path} {problem.text}" for problem in examined.problems[:PROBLEMS])
    return HefView(
        target=target,
        emulated=hef.is_emulated,
        facts=tuple(_facts(hef, path)),
        streams=tuple(_streams(hef)),
        described=tuple(_described(examined)),
        problems=problems,
        warnings=warnings,
        document="" if examined.document is None else json.dumps(examined.document, indent=1, ensure_ascii=False),
    )


def _facts(hef: Hef, path: Path) -> Iterator[Fact]:
    contexts = sum(group.contexts for group in hef.network_groups)
    yield Fact("chip", hef.hw_arch or "not known")
    yield Fact("compiled by", hef.sdk_version or "not known", hef.is_emulated)
    yield Fact("runs on a device", "no: it is emulated" if hef.is_emulated else "yes")
    yield Fact("size of the file", f"{path.stat().st_size:,} bytes", hef.is_emulated)
    yield Fact("of it compiled", f"{hef.container.length:,} bytes", hef.is_emulated)
    yield Fact("contexts", str(contexts), hef.is_emulated)
    operations = [op.kind for group in hef.network_groups for op in group.host_ops]
    yield Fact("work the runtime does on the host", ", ".join(operations) or "none")


def _streams(hef: Hef) -> Iterator[StreamRow]:
    for group in hef.network_groups:
        for stream in (*group.inputs, *group.outputs):
            yield _stream(stream)


def _stream(stream: Stream) -> StreamRow:
    numbers = stream.quantization
    several = numbers.per_feature and bool(numbers.scales)
    return StreamRow(
        name=stream.name,
        direction=stream.direction,
        order=stream.order,
        shape=" x ".join(map(str, stream.shape)),
        dtype=stream.dtype,
        frame_bytes=prod(stream.shape) * stream.data_bytes,
        scale=f"{len(numbers.scales)} scales" if several else f"{numbers.scale:.8g}",
        zero_point="" if several else f"{numbers.zero_point:g}",
        nodes=", ".join(stream.original_names[-NODES:]),
    )


def _described(examined: Examined) -> Iterator[tuple[str, str, str, str]]:
    """Return the logical outputs of the metadata: name, type, encoding, the streams that they are made of."""
    document: Mapping[str, Any] = examined.document or {}
    for output in mapping(document.get("outputs")):
        streams = ", ".join(str(child.get("name")) for child in mapping(output.get("outputs")))
        texts = (output.get(name) for name in ("name", "type", "encoding"))
        name, kind, encoding = ("" if text is None else str(text) for text in texts)
        yield name, kind, encoding, streams
