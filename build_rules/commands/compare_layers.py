"""`doit compare MODEL --layers`: what each layer costs, worst first, and what would help it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from build_rules.errors import InputError, printable

if TYPE_CHECKING:
    from build_rules.compilers.network_images import Images
    from build_rules.compilers.protocol import Compiler
    from build_rules.declared.model import Model
    from build_rules.mixed.find_set import SetInputs

__all__ = ["layers_text", "search_inputs"]

SHOWN = 20
"""Layers of the table; JSON has all of them."""


def search_inputs(
    model: Model,
    compiler: Compiler,
    progress: Callable[[str], None],
    *,
    hw_arch: str | None = None,
    held_out: Images | None = None,
) -> tuple[str, SetInputs]:
    """Return the name of the first built target of a model, those that are made fastest first, and what to read of it.

    `hw_arch` None: of whatever chip. `held_out` are images that are no calibration images, where there are some.
    Raises `InputError` when none is built.
    """
    from build_rules import workspace as ws
    from build_rules.compilers.protocol import Surroundings
    from build_rules.mixed.find_set import SetInputs
    from build_rules.records.calibration_json import load_calibrated

    folder = ws.folder(model)
    for _, target in ws.targets((model,)):
        place, parsed = ws.target_folder(model, target), ws.arch_folder(model, target.hw_arch) / "parsed.har"
        is_asked = hw_arch in (None, target.hw_arch)
        if is_asked and (place / "model.har").is_file() and parsed.is_file():
            return f"{model.name}:{ws.target_name(model, target)}", SetInputs(
                compiler,
                parsed,
                place / "model.alls",
                folder / "calibration.safetensors",
                folder / "endpoints.json",
                folder / "split.onnx",
                place / "feed.json",
                load_calibrated(folder / "calibration.json").count,
                held_out,
                Surroundings(progress),
                collected if (collected := parsed.with_name("statistics.npz")).is_file() else None,
            )
    raise InputError(f"{model.name}: no target of it is built; run `doit` first, then its layers can be measured.")


def layers_text(target: str, inputs: SetInputs, as_json: bool) -> str:
    """Measure, and return what is to be printed. Raises `InputError` where the compiler cannot measure layers."""
    from build_rules.commands.render import render_json, render_table
    from build_rules.mixed.advice import advise
    from build_rules.mixed.find_set import divide, measure_noise

    noises = measure_noise(inputs)
    advice = advise(noises, inputs.compiler.describe(inputs.har).layers)
    rows = [_row(noise, each) for noise, each in zip(noises, advice, strict=True)]
    count = len(divide(inputs.count)[0])
    if as_json:
        facts = {"target": target, "measured_by": inputs.compiler.version(), "images": count, "layers": rows}
        return render_json(facts)
    head = printable(
        f"{target}: the noise that each of {len(rows)} layers makes alone at the cells that hold objects, worst first, "
        f"on {count} calibration images, by {inputs.compiler.version()}"
    )
    more = ""
    if len(rows) > SHOWN:
        rest = sum(row["share"] for row in rows[SHOWN:])
        more = f"{len(rows) - SHOWN} more layers make {rest:.1%} together; --json has them\n"
    table = render_table([_shown(row) for row in rows[:SHOWN]], long=("node",))
    return f"{head}\n{table}{more}{_lines(rows)}"


def _row(noise: Any, advice: Any) -> dict[str, Any]:
    return {
        "layer": noise.layer,
        "kind": noise.kind,
        "nodes": list(noise.nodes),
        "share": noise.share,
        "by_weights": noise.weights,
        "outputs": dict(noise.outputs),
        "low": noise.low,
        "high": noise.high,
        "range_used": noise.used,
        "bits": noise.bits,
        "helps": advice.text,
        "lines": list(advice.lines),
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    weights = row["by_weights"]
    return {
        "share": f"{row['share']:.1%}",
        "layer": row["layer"],
        "node": row["nodes"][0] if row["nodes"] else "",
        "range": f"{row['low']:.4g} to {row['high']:.4g}",
        "used": f"{row['range_used']:.0%}",
        "by weights": "" if weights is None else f"{weights:.0%}",
        "what helps": row["helps"],
    }


def _lines(rows: list[dict[str, Any]]) -> str:
    lines = [row["lines"][0] for row in rows if row["lines"]]
    if not lines:
        return "no line of the model script would help one of them\n"
    told = "".join(f"   {printable(line)}\n" for line in lines[:SHOWN])
    return (
        f"lines for [alls] append in model.toml, of each the better one:\n{told}"
        "`doit compare MODEL --mixed` finds the fewest that do, and proves them\n"
    )
