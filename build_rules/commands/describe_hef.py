"""What a HEF says about itself: who can load it, its streams, and its metadata beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.commands.stage_facts import HEF_NAMES, described_stages, read_reports, stage_facts
from build_rules.hef import Hef, HostOp, Stream
from build_rules.hef.container import open_hef
from build_rules.hef.header import HEADER_BYTES, LAYOUTS, peek_version
from build_rules.hef.loaders import oldest_release, without_added
from build_rules.hef.releases import release_text
from build_rules.metadata.examine import Examined, examine_opened
from build_rules.metadata.problems import mapping
from build_rules.records.hardware import from_code, takes_code

__all__ = ["describe_hef", "loader_facts", "oldest_facts", "problem_facts"]

if TYPE_CHECKING:
    from build_rules.metadata.compare_with_hef import Pair

Facts = dict[str, Any]
MAX_PROBLEMS = 100


def describe_hef(path: Path) -> Facts:
    """Return the facts of a HEF file. Raises `InputError` when it is none or is damaged."""
    with open_hef(path) as stream:
        version = peek_version(stream.read(HEADER_BYTES))
        if version is None or version in LAYOUTS:
            return _facts(examine_opened(stream, path), path)
    known = ", ".join(map(str, LAYOUTS))
    unknown = [f"header version {version}; its sections cannot be told (known are {known})"]
    return {"kind": "Hailo executable", "header_version": version, "unknown": unknown}


def _facts(examined: Examined, path: Path) -> Facts:
    hef = examined.hef
    silicon = next((chip.silicon for chip in from_code(hef.arch_code)), None)
    return {
        "kind": "Hailo executable",
        "header_version": hef.version,
        "hw_arch": hef.hw_arch,
        "silicon": "not known"
        if silicon is None
        else f"none: it runs on a host (doit infer), as {silicon} would"
        if hef.is_emulated
        else silicon,
        "hailort_architectures": [chip.name.upper() for chip in takes_code(hef.arch_code, 5)],
        "compiler": hef.sdk_version if hef.is_emulated else f"Hailo Dataflow Compiler ({hef.sdk_version})",
        "sdk_version": hef.sdk_version,
        "emulated": hef.is_emulated,
        "timestamp_ms": hef.timestamp_ms,
        "created": None if hef.created is None else hef.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "extensions": list(map(str, hef.extensions)),
        "unknown": list(hef.unknown),
        "compiled_bytes": hef.container.length,
        "embedding": hef.container.embedding,
        "sections": _sections(hef),
        **oldest_facts(hef),
        "loaders": loader_facts(examined),
        "networks": [
            {
                "name": group.name,
                "contexts": group.contexts,
                "inputs": list(map(_stream, group.inputs)),
                "outputs": list(map(_stream, group.outputs)),
                "host_ops": list(map(_host_op, group.host_ops)),
            }
            for group in hef.network_groups
        ],
        "zip_members": [{"name": name, "bytes": len(data)} for name, data in examined.members.items()],
        "metadata": _metadata(examined),
        **_build(examined, path),
        "described": list(map(_pair, examined.pairs)),
        "problems": problem_facts(examined),
    }


def _build(examined: Examined, path: Path) -> Facts:
    """Return what its compiler reported: as the metadata say it, else as it lies beside a file that the build made."""
    if examined.document is not None:
        return stage_facts(*described_stages(examined.document))
    return stage_facts(read_reports(path.parent) if path.name in HEF_NAMES else {})


def problem_facts(examined: Examined) -> list[Facts]:
    """Return the problems of a HEF's metadata, as rows."""
    rows = [{"severity": p.severity, "path": p.path, "text": p.text} for p in examined.problems[:MAX_PROBLEMS]]
    more = len(examined.problems) - len(rows)
    return [*rows, {"severity": "error", "path": "", "text": f"and {more} more"}] if more else rows


def _sections(hef: Hef) -> list[Facts]:
    container = hef.container
    named = {
        "header": (0, container.proto.offset),
        "message": (container.proto.offset, container.proto.length),
        "padding": (container.padding.offset, container.padding.length),
        "ccws": (container.ccws.offset, container.ccws.length),
        "additional info": (container.additional_info.offset, container.additional_info.length),
        "added": (container.added.offset, container.added.length),
    }
    return [{"section": name, "offset": offset, "bytes": size} for name, (offset, size) in named.items() if size]


def oldest_facts(hef: Hef) -> Facts:
    """Return the oldest release of the runtime that loads a HEF as it lies there, and without what follows its end."""
    whole, bare = oldest_release(hef), oldest_release(without_added(hef))
    return {
        "oldest_hailort": None if whole is None else release_text(whole),
        "oldest_hailort_without_zip": None if bare is None else release_text(bare),
    }


def loader_facts(examined: Examined) -> list[Facts]:
    """Return who loads a HEF, as rows: the verdicts of the room that knows files, and what metadata add to them."""
    *runtimes, cutting = examined.loaders
    if cutting.loads and examined.document is None:
        cutting = replace(cutting, why="but finds no metadata to decode the outputs with")
    return [asdict(one) for one in (*runtimes, replace(cutting, reader=f"EdgeFirst ({cutting.reader})"))]


def _host_op(op: HostOp) -> Facts:
    nms = op.nms
    return {
        "name": op.name,
        "kind": op.kind,
        "classes": None if nms is None else nms.classes,
        "max_proposals_per_class": None if nms is None else nms.max_proposals_per_class,
        "score_threshold": None if nms is None else nms.score_threshold,
        "iou_threshold": None if nms is None else nms.iou_threshold,
        "boxes_only": None if nms is None else nms.boxes_only,
        "inputs": list(op.inputs),
    }


def _stream(stream: Stream) -> Facts:
    """What one stream is; with one scale for each feature, the smallest and the largest instead of the one."""
    numbers = stream.quantization
    several = numbers.per_feature and bool(numbers.scales)
    return {
        "name": stream.name,
        "order": stream.order,
        "shape": list(stream.shape),
        "padded_shape": list(stream.padded_shape),
        "dtype": stream.dtype,
        "bytes": prod(stream.shape) * stream.data_bytes,
        "scale": None if several else numbers.scale,
        "zero_point": None if several else numbers.zero_point,
        "per_feature": len(numbers.scales) if several else 0,
        **({"scale_range": [min(numbers.scales), max(numbers.scales)]} if several else {}),
        "limits": [numbers.limits_min, numbers.limits_max],
        "original_names": list(stream.original_names),
    }


def _metadata(examined: Examined) -> Facts | None:
    document = examined.document
    if document is None:
        return None
    outputs = [
        {
            "name": output.get("name"),
            "type": output.get("type"),
            "encoding": output.get("encoding"),
            "shape": output.get("shape"),
            "physical": [child.get("name") for child in mapping(output.get("outputs"))],
        }
        for output in mapping(document.get("outputs"))
    ]
    labels = 0 if examined.labels is None else len(examined.labels)
    section = document.get("hailo")
    if isinstance(section, dict):  # what stages report stands in a table of its own
        section = {key: value for key, value in section.items() if key != "build"}
    return {"labels": labels, "hailo": section, "outputs": outputs}


def _pair(pair: Pair) -> Facts:
    """One output as the metadata describe it, beside the stream; `differs` marks every disagreement."""
    described: Mapping[str, Any] = pair.described or {}
    numbers = described.get("quantization")
    numbers = numbers if isinstance(numbers, dict) else {}
    tensor = pair.tensor
    applied, required = described.get("activation_applied"), described.get("activation_required")
    return {
        "differs": ", ".join(pair.differs),
        "described_as": pair.output,
        "name": described.get("name"),
        "hef_name": None if tensor is None else tensor.name,
        "shape": described.get("shape"),
        "hef_shape": None if tensor is None else list(tensor.shape),
        "dtype": described.get("dtype"),
        "hef_dtype": None if tensor is None else tensor.dtype,
        "scale": numbers.get("scale"),
        "hef_scale": None if tensor is None else tensor.exact_scale,
        "zero_point": numbers.get("zero_point"),
        "hef_zero_point": None if tensor is None else tensor.zero_point,
        "activation": f"{applied} applied" if applied else f"{required} to do" if required else None,
    }
