"""split.json, calibration.json, parsed.har -> model.alls, compile.alls, feed.json: what the preset asks for.

Two scripts, since `optimize` takes hours: a line that only says how the device is to be filled must not run it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NoReturn

from build_rules.alls.compose import (
    TUNED,
    Adaround,
    Attention,
    Finetune,
    FoldedActivation,
    MixedLayer,
    ScriptPlan,
    compose_scripts,
)
from build_rules.alls.layers import Layers
from build_rules.alls.own_lines import OwnLines, level_of, read_own_lines
from build_rules.alls.script import Origin, Statement, format_script
from build_rules.compilers.har_file import HnLayer, OutputLayer, hn_layers, outline_har, output_layers
from build_rules.errors import InputError
from build_rules.presets import Preset
from build_rules.records.calibration_json import Calibrated, Feed, dump_feed, load_calibrated
from build_rules.records.hardware import DEFAULT_ARCH, HARDWARE
from build_rules.records.mixed_json import load_mixed
from build_rules.records.split_json import Endpoint, Split, in_pixels, load_split
from build_rules.regular_file import SCRIPT_BYTES, read_small
from build_rules.versions import is_emulated

__all__ = ["plan_script", "run"]

ROUNDED = {3: 256, 4: 1024}
"""Images that adaround learns from at the levels that have it."""
BATCH = 8
"""Images at once of a network that takes 640 x 640; what a GPU has to hold grows with the pixels."""
USUAL_PIXELS = 640 * 640


def run(
    split_json: Path,
    calibrated: Path,
    parsed_har: Path,
    script: Path,
    compile_script: Path,
    feed: Path,
    preset: Preset,
    hw_arch: str,
    append: Sequence[str] = (),
    declared_in: str = "model.toml",
    own_file: Sequence[Path] = (),
    mixed: Sequence[Path] = (),
) -> None:
    """Write the scripts of a preset, and what the exported graph takes, by which `har` proves it.

    `append` and `own_file` are lines of the user's, the latter none or one; `declared_in` is what errors call the file
    that holds the former. `mixed` is the record of layers that 16 bits are worth, where they were looked for.
    """
    har = outline_har(parsed_har)[0]
    split, facts = load_split(split_json), load_calibrated(calibrated)
    layers, outputs = hn_layers(har.hn), output_layers(har.hn)
    # Nobody behind an emulated compiler knows of commands that our table does not have.
    own = read_own_lines(
        _own_places(append, declared_in, own_file),
        _named(str(har.hn.get("name")), layers),
        facts.count,
        folded=[each.layer for each in _folded(split, outputs)],
        known_only=is_emulated(har.sdk_version),
    )
    plan = plan_script(split, facts, outputs, preset, layers, hw_arch, own)
    scripts = compose_scripts(replace(plan, mixed=_mixed(mixed, _named(str(har.hn.get("name")), layers))))
    script.write_text(format_script(scripts.optimize), encoding="utf-8")
    compile_script.write_text(format_script(scripts.compile), encoding="utf-8")
    swapped = split.front is not None and split.front.swapped
    feed.write_text(dump_feed(Feed(facts.normalization, swapped)), encoding="utf-8")


def plan_script(
    split: Split,
    calibrated: Calibrated,
    outputs: tuple[OutputLayer, ...],
    preset: Preset,
    layers: tuple[HnLayer, ...] = (),
    hw_arch: str = DEFAULT_ARCH,
    own: tuple[Statement, ...] = (),
) -> ScriptPlan:
    """Decide what the scripts say; layers are found by the ONNX node they come from."""
    by_endpoint = {endpoint.name: _layer_of(endpoint, outputs) for endpoint in split.endpoints}
    wide = [by_endpoint[e.name] for e in split.endpoints if e.kind.precision in preset.wide]
    mean, std = in_pixels(calibrated.normalization, split.front)
    # A level of the user's decides which algorithms run, so also which of them need to be told how much data there is.
    level = level_of(own)
    tunes = preset.finetune if level is None else level == 2
    rounds = ROUNDED.get(preset.optimization_level if level is None else level)
    batch = max(1, min(BATCH, BATCH * USUAL_PIXELS // (split.input.height * split.input.width), calibrated.count))
    return ScriptPlan(
        mean=mean,
        std=std,
        folded=_folded(split, outputs),
        wide_outputs=tuple(output.output_layer for output in wide),
        optimization_level=preset.optimization_level,
        calibration_count=calibrated.count,
        calibration_batch=batch,
        finetune=Finetune(min(TUNED, calibrated.count), batch_size=batch) if tunes else None,
        adaround=None if rounds is None else Adaround(min(rounds, calibrated.count), batch),
        attention=_attention(split, layers, preset, hw_arch, {output.producer for output in wide}),
        own=own,
        normalization=_free_name(layers),
    )


def _folded(split: Split, outputs: tuple[OutputLayer, ...]) -> tuple[FoldedActivation, ...]:
    return tuple(
        FoldedActivation(_layer_of(endpoint, outputs).producer, endpoint.activation)
        for endpoint in split.endpoints
        if endpoint.name in split.folded and endpoint.activation is not None
    )


def _free_name(layers: tuple[HnLayer, ...]) -> str:
    """Return a name for the layer that normalizes pixels; the compiler calls others of the network `normalizationN`."""
    taken = {layer.name.rpartition("/")[2] for layer in layers}
    return next(name for number in count(1) if (name := f"normalization{number}") not in taken)


def _named(net: str, layers: tuple[HnLayer, ...]) -> Layers:
    """Return what a line may name: the layers of the network, and the one that our own lines add."""
    named = Layers(net, {layer.name: layer.original_names for layer in layers})
    return replace(named, added=frozenset({named.scoped(_free_name(layers))}))


def _own_places(append: Sequence[str], declared_in: str, own_file: Sequence[Path]) -> list[OwnLines]:
    """Return the user's lines, those of the file first."""
    places = [OwnLines(_read_text(path), str(path), "from the file that [alls] names") for path in own_file]
    if append:
        places.append(OwnLines("\n".join(append), f"{declared_in}, [alls] append", "from [alls] append"))
    return places


def _mixed(paths: Sequence[Path], layers: Layers) -> tuple[MixedLayer, ...]:
    """Return the layers of a record with the names that this compiler gives them."""

    def fail(problem: str) -> NoReturn:
        raise InputError(f"{paths[0]}: {problem}. Its layers are those of another graph; delete it and run doit again.")

    found: list[MixedLayer] = []
    for record in map(load_mixed, paths):
        for number, layer in enumerate(record.layers):
            why = f"{layer.node} {layer.because}"
            because = (why,) if number else (record.because, why)
            found.append(MixedLayer(layers.find_origin(Origin(layer.node), fail), layer.mode, because))
    return tuple(found)


def _read_text(path: Path) -> str:
    try:
        return read_small(path, SCRIPT_BYTES, "lines of a model script").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error}); save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _attention(
    split: Split, layers: tuple[HnLayer, ...], preset: Preset, hw_arch: str, ends: set[str]
) -> Attention | None:
    """Decide what the attention blocks of the cut need, by where they are in the graph and never by a model's name.

    `ends` are the layers that make outputs of 16 bits. With 16 bits in a product or a softmax the compiler crashes.
    """
    if not split.attention:
        return None
    products = {node for block in split.attention for node in (block.scores, block.mixed)}
    beside = {node for block in split.attention for node in block.beside}
    matmuls = tuple(layer.name.rpartition("/")[2] for layer in _come_from(products, layers, "matmul"))
    longest_search = HARDWARE[hw_arch].needs_longest_search
    if not preset.wide_attention:
        return Attention(matmuls, longest_search=longest_search)
    return Attention(
        matmuls,
        beside=tuple(layer.name for layer in _come_from(beside, layers, "dw")),
        ends=tuple(layer.name for layer in layers if layer.name in ends and layer.kind == "conv"),
        longest_search=longest_search,
    )


def _come_from(nodes: set[str], layers: tuple[HnLayer, ...], kind: str) -> tuple[HnLayer, ...]:
    return tuple(layer for layer in layers if layer.kind == kind and not nodes.isdisjoint(layer.original_names))


def _layer_of(endpoint: Endpoint, layers: tuple[OutputLayer, ...]) -> OutputLayer:
    matching = [layer for layer in layers if endpoint.node in layer.original_names]
    if len(matching) != 1:
        names = ", ".join(layer.producer for layer in matching) or "none"
        raise InputError(
            f"endpoint {endpoint.name} (ONNX node {endpoint.node}) should be one output of the parsed network, but "
            f"these come from it: {names}. The compiler read the graph differently from how it was cut."
        )
    return matching[0]
