"""`doit inspect FILE --map`: one table of the names that a network's layers have, from the ONNX to the stream.

A HAR tells layers and the ONNX nodes they come from, a HEF its streams; `split.json` of the model's folder, or else the
metadata in the HEF, tells roles. What lies where the build puts it is found from either file; what is not there is
told, and the table holds the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from build_rules.commands.left_beside import find_split
from build_rules.commands.render import render_json, render_table
from build_rules.compilers.describe_har import HarDescription, HarLayer, HarOutput, describe
from build_rules.errors import InputError, printable
from build_rules.hef import Stream
from build_rules.metadata.examine import examine
from build_rules.metadata.problems import mapping
from build_rules.regular_file import find_fault

__all__ = ["LayerMap", "Row", "Source", "map_layers", "read_sources", "show_map"]

LAYERS = ("hn_layer", "output_layer", "stream")
"""Columns of names that begin with the network's."""
LONG = ("onnx_nodes", *LAYERS)
"""Columns whose beginnings are cut where a terminal is too narrow."""
SPARE = ("shape", "output_layer")
"""Columns that are left out, one after the other, where it is narrower still."""


@dataclass(frozen=True)
class Named:
    """What an output is for: its role, how many input pixels one cell covers, the activation folded into it."""

    role: str
    stride: Any = None
    activation: str | None = None


@dataclass(frozen=True)
class Source:
    """Everything that could be found; `missing` says in a sentence each what could not, and what is not shown for it.

    `by_node` names outputs by an ONNX node fused into them, `by_stream` by what the HEF calls them.
    """

    har: HarDescription | None
    streams: tuple[Stream, ...]
    by_node: Mapping[str, Named]
    by_stream: Mapping[str, Named]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One layer; of an output `output_layer`, `stream` and `role` are set as far as they are known, of others None.

    `scale` is how many input pixels one cell covers. `bits` are those of what the layer gives, of an output those that
    are delivered; None when nothing is quantized yet, or nobody tells.
    """

    onnx_nodes: tuple[str, ...]
    hn_layer: str | None
    output_layer: str | None
    stream: str | None
    role: str | None
    scale: Any
    shape: tuple[int, ...] | None
    bits: int | None
    activation: str | None


@dataclass(frozen=True)
class LayerMap:
    """The table, in the order of the layers, and what is missing in it."""

    rows: tuple[Row, ...]
    missing: tuple[str, ...]


def show_map(path: Path, *, as_json: bool) -> str:
    """Return the table of a HEF or HAR as text, which fits into a terminal if it goes to one, or as JSON."""
    found = map_layers(read_sources(path))
    rows = [{**asdict(row), "shape": None if row.shape is None else list(row.shape)} for row in found.rows]
    if as_json:
        return render_json({"file": str(path), "layers": rows, "missing": list(found.missing)})
    shown = [{**row, "onnx_nodes": ", ".join(row["onnx_nodes"])} for row in rows]
    if sys.stdout.isatty():
        table, notes = _fitted(shown, get_terminal_size().columns)
    else:
        table, notes = render_table(shown), ()
    return table + "".join(f"{printable(text)}\n" for text in (*notes, *found.missing))


def _fitted(rows: Sequence[Mapping[str, Any]], width: int) -> tuple[str, tuple[str, ...]]:
    """Return a table that fits into `width` characters if any can, and what a person is to know of what it lacks."""
    table, notes = render_table(rows), []
    if _width(table) <= width:
        return table, ()
    prefixes = {str(row[column]).partition("/")[:2] for row in rows for column in LAYERS if row[column] is not None}
    if len(prefixes) == 1 and (prefix := "".join(*prefixes)).endswith("/"):
        rows = [{**row, **{name: row[name] and row[name].removeprefix(prefix) for name in LAYERS}} for row in rows]
        notes.append(f"layers and streams are called {prefix}...")
    left_out: list[str] = []
    while _width(table := render_table(rows, width, LONG)) > width and len(left_out) < len(SPARE):
        left_out.append(SPARE[len(left_out)])
        rows = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
    if left_out:
        notes.append(f"{', '.join(left_out).replace('_', ' ')}: left out, there is no room here; `| cat` shows all")
    return table, tuple(notes)


def _width(table: str) -> int:
    return max(map(len, table.splitlines()), default=0)


def map_layers(source: Source) -> LayerMap:
    """Put together what is known of every layer; without a HAR, of every output alone."""
    if source.har is None:
        rows = tuple(_stream_row(stream, source) for stream in source.streams)
    else:
        rows = tuple(_layer_rows(source.har, source))
    return LayerMap(rows, source.missing)


def _layer_rows(har: HarDescription, source: Source) -> Iterator[Row]:
    outputs: dict[str, list[HarOutput]] = {}
    for output in har.outputs:
        outputs.setdefault(output.stream, []).append(output)
    for layer in har.layers:
        if layer.kind == "output_layer":
            continue  # they stand in the rows of what feeds them
        if layer.name not in outputs:
            yield _row(layer, har)
        for output in outputs.get(layer.name, ()):
            yield _output_row(layer, output, source, har)


def _row(layer: HarLayer, har: HarDescription) -> Row:
    scale = _scale(layer.shape, har.input_shape)
    return Row(
        layer.original_names, layer.name, None, None, None, scale, layer.shape, layer.bits, _applied(layer.activation)
    )


def _output_row(layer: HarLayer, output: HarOutput, source: Source, har: HarDescription) -> Row:
    stream = _stream_of(output, source.streams)
    name = output.stream if stream is None else stream.name
    named = _named(name, output.original_names, source)
    scale = named.stride if named and named.stride is not None else _scale(output.shape, har.input_shape)
    return Row(
        onnx_nodes=output.original_names,
        hn_layer=layer.name,
        output_layer=output.output_layer,
        stream=name,
        role=named.role if named else None,
        scale=scale,
        shape=output.shape,
        bits=output.bits if stream is None else stream.data_bytes * 8,
        activation=_applied(output.activation) or (named.activation if named else None),
    )


def _stream_row(stream: Stream, source: Source) -> Row:
    named = _named(stream.name, stream.original_names, source)
    return Row(
        onnx_nodes=stream.original_names,
        hn_layer=stream.name,  # a stream is called like the layer that makes it
        output_layer=None,
        stream=stream.name,
        role=named.role if named else None,
        scale=named.stride if named else None,
        shape=(1, *stream.shape),
        bits=stream.data_bytes * 8,
        activation=named.activation if named else None,
    )


def _stream_of(output: HarOutput, streams: Sequence[Stream]) -> Stream | None:
    by_name = [stream for stream in streams if stream.name == output.stream]
    nodes = set(output.original_names)
    by_node = [stream for stream in streams if not nodes.isdisjoint(stream.original_names)]
    return by_name[0] if by_name else by_node[0] if len(by_node) == 1 else None


def _named(stream: str, nodes: Sequence[str], source: Source) -> Named | None:
    by_node = next((source.by_node[node] for node in nodes if node in source.by_node), None)
    return by_node or source.by_stream.get(stream)


def _scale(shape: Sequence[int] | None, image: Sequence[int] | None) -> int | None:
    """Return how many input pixels one cell covers, None where that is no whole number, the same both ways."""
    if shape is None or image is None or image[1] % shape[1] or image[2] % shape[2]:
        return None
    rows, columns = image[1] // shape[1], image[2] // shape[2]
    return rows if rows == columns else None


def _applied(activation: str | None) -> str | None:
    return None if activation == "linear" else activation


def read_sources(path: Path) -> Source:
    """Read a HEF or HAR, and what lies beside it where the build puts it. Raises `InputError` for another file."""
    missing: list[str] = []
    har: HarDescription | None = None
    streams: tuple[Stream, ...] = ()
    by_stream: Mapping[str, Named] = {}
    if path.suffix.lower() == ".har":
        har = describe(path)
    elif path.suffix.lower() == ".hef":
        examined = examine(path)
        streams = tuple(stream for group in examined.hef.network_groups for stream in group.outputs)
        by_stream = _roles_of_document(examined.document or {})
        har = _har_beside(path, {stream.name for stream in streams}, missing)
    else:
        raise InputError(f"{path}: --map shows the layers of a .hef or .har.")
    if har is not None and not har.is_quantized:
        missing.append(f"{har.network} is a {har.state} here: bits and folded activations are decided later")
    by_node = _roles_of_split(path, har, streams)
    if not by_node and not by_stream:
        missing.append("no split.json of this network and no metadata: nobody tells the roles of its outputs")
    return Source(har, streams, by_node, by_stream, tuple(missing))


def _har_beside(path: Path, streams: set[str], missing: list[str]) -> HarDescription | None:
    """Return the HAR of the network whose HEF lies at `path`: that beside it, else the parsed one of its chip."""
    folder = path.absolute().parent
    chip = folder.name.partition("-")[0]
    parsed = sorted(folder.parent.glob(f"{escape(chip)}*/parsed.har")) if chip else []
    for candidate in (path.with_suffix(".har"), folder / "model.har", folder / "parsed.har", *parsed):
        if find_fault(candidate) is None:
            har = describe(candidate)
            if streams <= {output.stream for output in har.outputs}:
                return har
    missing.append("no HAR of this network beside it (model.har, parsed.har): only its outputs are shown")
    return None


def _roles_of_split(path: Path, har: HarDescription | None, streams: Sequence[Stream]) -> Mapping[str, Named]:
    """Return what the model's `split.json` says of its endpoints, by node; nothing where it is of another network."""
    nodes = {name for output in (har.outputs if har else ()) for name in output.original_names}
    nodes |= {name for stream in streams for name in stream.original_names}
    split = find_split(path)
    if split is None or any(endpoint.node not in nodes for endpoint in split.endpoints):
        return {}
    return {endpoint.node: Named(endpoint.role, endpoint.stride) for endpoint in split.endpoints}


def _roles_of_document(document: Mapping[str, Any]) -> Mapping[str, Named]:
    """Return what metadata say of the streams, by name."""
    found: dict[str, Named] = {}
    for output in mapping(document.get("outputs")):
        for child in mapping(output.get("outputs")) or [output]:
            applied = child.get("activation_applied")
            if isinstance(name := child.get("name"), str):
                role = output.get("type") or output.get("name")
                found[name] = Named(str(role), child.get("stride"), applied if isinstance(applied, str) else None)
    return found
