"""From what a preset wants, in terms of layers, to the statements of both scripts, each with its reason above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from build_rules.alls.commands import COMPILE_STAGE
from build_rules.alls.own_lines import Sizes, complete
from build_rules.alls.script import Name, Script, Statement, Value

__all__ = [
    "MIXED",
    "TUNED",
    "Adaround",
    "Attention",
    "Finetune",
    "FoldedActivation",
    "MixedLayer",
    "ScriptPlan",
    "Scripts",
    "compose_scripts",
]

MIXED = "mixed precision"
"""How the comments begin that tell why a layer has 16 bits; by them others tell which layers these are."""
TUNED = 1024
"""Images that the fine-tune learns from, and adaround where nobody says how many."""


@dataclass(frozen=True)
class FoldedActivation:
    """An activation (`sigmoid`) that the layer producing an output shall apply on the chip."""

    layer: str
    activation: str


@dataclass(frozen=True)
class Finetune:
    """The compiler's iterative calibration fine-tune; `dataset_size` images, never more than the snapshot holds."""

    dataset_size: int
    epochs: int = 4
    batch_size: int = 8
    learning_rate: float = 0.0001


@dataclass(frozen=True)
class Adaround:
    """The compiler's search for the better way to round each weight; `dataset_size` as for the fine-tune."""

    dataset_size: int
    batch_size: int = 8


@dataclass(frozen=True)
class Attention:
    """What a network with attention is compiled with.

    `matmuls` are the products of the blocks. To work in 16 bits are `beside`, the depth-wise convolutions that lead the
    values past the blocks, and `ends`, the convolutions that make outputs of 16 bits. `longest_search`: the chip is so
    small that only the longest search places such a network.
    """

    matmuls: tuple[str, ...]
    beside: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    longest_search: bool = False


@dataclass(frozen=True)
class MixedLayer:
    """A layer whose 16 bits were proven to be worth it, the `mode` for it, and why, in lines of words."""

    layer: str
    mode: str
    because: tuple[str, ...]


@dataclass(frozen=True)
class ScriptPlan:
    """Everything that the scripts decide, with every layer named as the compiler named it.

    `mean` and `std` are per channel and in pixel units: the network sees (pixel - mean) / std.
    `wide_outputs` are the `output_layerN` whose delivered tensor shall have 16 bits. At most one of `finetune` and
    `adaround` is run. `attention` is None for networks without any. `own` are the user's statements, in order, and
    come last. `mixed` are layers that were found to be worth 16 bits. `normalization` is what the layer is called
    that the script adds, which no other may be.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    folded: tuple[FoldedActivation, ...]
    wide_outputs: tuple[str, ...]
    optimization_level: int
    calibration_count: int
    calibration_batch: int = 8
    finetune: Finetune | None = None
    adaround: Adaround | None = None
    attention: Attention | None = None
    own: tuple[Statement, ...] = ()
    mixed: tuple[MixedLayer, ...] = ()
    normalization: str = "normalization1"


@dataclass(frozen=True)
class Scripts:
    """A script in two parts: what `optimize` takes, and the lines of the compile stage alone."""

    optimize: Script
    compile: Script


def compose_scripts(plan: ScriptPlan) -> Scripts:
    """Return the scripts of a plan.

    Optimization level, compression level and calibration size are always written: without them the compiler lowers
    the level silently and may choose 4-bit weights.
    """
    own = [complete(statement, _sizes(plan)) for statement in plan.own]
    ours = (*_modify(plan), *_levels(plan), *_before(plan), *_precision(plan), *_after(plan))
    return Scripts(
        Script((*ours, *(each for each in own if each.command not in COMPILE_STAGE))),
        _say_when_empty(Script((*_place(plan), *(each for each in own if each.command in COMPILE_STAGE)))),
    )


def _say_when_empty(script: Script) -> Script:
    return script if script.statements else Script((), ("nothing: the compiler decides how the device is filled",))


def _sizes(plan: ScriptPlan) -> Sizes:
    tuned = plan.finetune or Finetune(min(TUNED, plan.calibration_count), batch_size=plan.calibration_batch)
    rounded = plan.adaround or Adaround(tuned.dataset_size, tuned.batch_size)
    return Sizes(
        plan.optimization_level,
        plan.calibration_count,
        plan.calibration_batch,
        (("dataset_size", tuned.dataset_size), ("batch_size", tuned.batch_size)),
        (("dataset_size", rounded.dataset_size), ("batch_size", rounded.batch_size)),
    )


def _because(reason: str, *statements: Statement) -> tuple[Statement, ...]:
    """Put a reason above the first of some statements."""
    return tuple(replace(each, comments=(reason,)) if number == 0 else each for number, each in enumerate(statements))


def _modify(plan: ScriptPlan) -> Sequence[Statement]:
    pixels = Statement("normalization", (plan.mean, plan.std), targets=(plan.normalization,))
    folded = (Statement("change_output_activation", (Name(f.layer), Name(f.activation))) for f in plan.folded)
    return (
        *_because("the chip is fed pixels, 0 to 255", pixels),
        *_because("the decode begins with it; on the chip it is free, and 8 bits then hold 0 to 1", *folded),
    )


def _levels(plan: ScriptPlan) -> Sequence[Statement]:
    levels = (("optimization_level", plan.optimization_level), ("compression_level", 0))
    sizes = (("batch_size", plan.calibration_batch), ("calibset_size", plan.calibration_count))
    return (
        *_because(
            "written so that it cannot be lowered without a word; 0: no weights in 4 bits",
            Statement("model_optimization_flavor", (), levels),
        ),
        *_because("every sample that there is", Statement("model_optimization_config", (Name("calibration"),), sizes)),
    )


def _before(plan: ScriptPlan) -> Sequence[Statement]:
    if plan.attention is None or not plan.attention.matmuls:
        return ()
    options: tuple[tuple[str, Value], ...] = (
        ("layers", tuple(map(Name, plan.attention.matmuls))),
        ("correction_type", Name("zp_comp_block")),
    )
    return _because(
        "attention: both factors of these products are activations, and the zero points of both must be made up for",
        Statement("pre_quantization_optimization", (Name("matmul_correction"),), options),
    )


def _precision(plan: ScriptPlan) -> Sequence[Statement]:
    wide = (("precision_mode", Name("a16_w16")),)
    beside, ends = ((), ()) if plan.attention is None else (plan.attention.beside, plan.attention.ends)
    return (
        *_because(
            "attention: what leads the values past the products, which stay in 8 bits, as the zoo has it for YOLO26",
            *(Statement("quantization_param", (Name(layer),), wide) for layer in beside),
        ),
        *_because(
            "attention: the layers that make the outputs of 16 bits, with weights and inputs to match",
            *(Statement("quantization_param", (Name(layer),), wide) for layer in ends),
        ),
        *_because(
            "the outputs that the preset delivers in 16 bits",
            *(Statement("quantization_param", (Name(layer),), wide) for layer in plan.wide_outputs),
        ),
        *(
            Statement(
                "quantization_param",
                (Name(each.layer),),
                (("precision_mode", Name(each.mode)),),
                comments=tuple(f"{MIXED}: {line}" for line in each.because),
            )
            for each in plan.mixed
        ),
    )


def _after(plan: ScriptPlan) -> Sequence[Statement]:
    command, enabled = "post_quantization_optimization", ("policy", Name("enabled"))
    statements: list[Statement] = []
    if plan.finetune is None:
        statements.append(Statement(command, (Name("finetune"),), (("policy", Name("disabled")),)))
    else:
        tuned = plan.finetune
        options = (
            enabled,
            ("dataset_size", tuned.dataset_size),
            ("batch_size", tuned.batch_size),
            ("epochs", tuned.epochs),
            ("learning_rate", tuned.learning_rate),
        )
        reason = "no more images than there are, no more at once than fit into a GPU"
        statements += _because(reason, Statement(command, (Name("finetune"),), options))
    if plan.adaround is not None:
        sizes = (("dataset_size", plan.adaround.dataset_size), ("batch_size", plan.adaround.batch_size))
        reason = "no more images than there are, and fewer at once than the 32 of the default, which fill a GPU"
        statements += _because(reason, Statement(command, (Name("adaround"),), (enabled, *sizes)))
    return statements


def _place(plan: ScriptPlan) -> Sequence[Statement]:
    if plan.attention is None:
        return ()
    contexts = Statement("context_switch_param", (), (("mode", Name("allowed")),))
    search = Statement("performance_param", (), (("compiler_optimization_level", Name("max")),))
    return (
        *_because("attention: it may take more than the chip has at once", contexts),
        *_because(
            'attention: on this chip a shorter search ends in "Agent infeasible"',
            *((search,) if plan.attention.longest_search else ()),
        ),
    )
