"""split.json, calibration.json, parsed.har -> model.alls, feed.json: what the preset asks for, in the layers' names."""

from __future__ import annotations

from pathlib import Path

from build_rules.alls.compose import Finetune, FoldedActivation, ScriptPlan, compose_script
from build_rules.alls.script import format_script
from build_rules.compilers.har_file import OutputLayer, outline_har, output_layers
from build_rules.errors import InputError
from build_rules.presets import Preset
from build_rules.records.calibration_json import Calibrated, Feed, dump_feed, load_calibrated
from build_rules.records.split_json import Endpoint, Front, Split, load_split

__all__ = ["plan_script", "run"]

FINETUNE_IMAGES = 1024


def run(split_json: Path, calibrated: Path, parsed_har: Path, script: Path, feed: Path, preset: Preset) -> None:
    """Write the model script of a preset, and what the exported graph takes, by which `har` proves it."""
    layers = output_layers(outline_har(parsed_har)[0].hn)
    split, facts = load_split(split_json), load_calibrated(calibrated)
    plan = plan_script(split, facts, layers, preset)
    script.write_text(format_script(compose_script(plan)), encoding="utf-8")
    swapped = split.front is not None and split.front.swapped
    feed.write_text(dump_feed(Feed(facts.normalization, swapped)), encoding="utf-8")


def plan_script(split: Split, calibrated: Calibrated, layers: tuple[OutputLayer, ...], preset: Preset) -> ScriptPlan:
    """Decide what the script says; layers are found by the ONNX node they come from."""
    by_endpoint = {endpoint.name: _layer_of(endpoint, layers) for endpoint in split.endpoints}
    folded = [
        FoldedActivation(by_endpoint[endpoint.name].producer, endpoint.activation)
        for endpoint in split.endpoints
        if endpoint.name in split.folded and endpoint.activation is not None
    ]
    wide = [
        by_endpoint[endpoint.name].output_layer
        for endpoint in split.endpoints
        if endpoint.kind.precision in preset.wide
    ]
    mean, std = _normalization(calibrated, split.front)
    return ScriptPlan(
        mean=mean,
        std=std,
        folded=tuple(folded),
        wide_outputs=tuple(wide),
        optimization_level=preset.optimization_level,
        calibration_count=calibrated.count,
        finetune=Finetune(min(FINETUNE_IMAGES, calibrated.count)) if preset.finetune else None,
        matmul_correction=bool(split.attention),
    )


def _normalization(calibrated: Calibrated, front: Front | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) in pixel units of what is done to pixels, before the graph and by its front, as one."""
    mean, std = calibrated.normalization.in_pixels()
    if front is None:
        return mean, std
    # ((p - m) / s - M) / S = (p - (m + M * s)) / (s * S)
    together = zip(mean, std, front.mean, front.std, strict=True)
    pairs = [(_plain(m + M * s), _plain(s * S)) for m, s, M, S in together]
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


def _plain(value: float) -> float:
    """Return a product without the last digits, which are those of the arithmetic (58.394999999999996)."""
    return float(f"{value:.9g}")


def _layer_of(endpoint: Endpoint, layers: tuple[OutputLayer, ...]) -> OutputLayer:
    matching = [layer for layer in layers if endpoint.node in layer.original_names]
    if len(matching) != 1:
        names = ", ".join(layer.producer for layer in matching) or "none"
        raise InputError(
            f"endpoint {endpoint.name} (ONNX node {endpoint.node}) should be one output of the parsed network, but "
            f"these come from it: {names}. The compiler read the graph differently from how it was cut."
        )
    return matching[0]
