"""From what a preset wants, in terms of layers, to the statements of a model script."""

from __future__ import annotations

from dataclasses import dataclass

from build_rules.alls.script import Glob, Name, Script, Statement

__all__ = ["Finetune", "FoldedActivation", "ScriptPlan", "compose_script"]


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
class ScriptPlan:
    """Everything a script decides, with every layer named as the compiler named it.

    `mean` and `std` are per channel and in pixel units: the network sees (pixel - mean) / std.
    `wide_outputs` are the `output_layerN` whose delivered tensor shall have 16 bits.
    `matmul_correction` is wanted by networks with attention blocks.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    folded: tuple[FoldedActivation, ...]
    wide_outputs: tuple[str, ...]
    optimization_level: int
    calibration_count: int
    calibration_batch: int = 8
    finetune: Finetune | None = None
    matmul_correction: bool = False


def compose_script(plan: ScriptPlan) -> Script:
    """Return the script of a plan.

    Optimization level, compression level and calibration size are always written: without them the compiler lowers
    the level silently and may choose 4-bit weights.
    """
    statements = [Statement("normalization", (plan.mean, plan.std), targets=("normalization1",))]
    statements += [
        Statement("change_output_activation", (Name(fold.layer), Name(fold.activation))) for fold in plan.folded
    ]
    levels = (("optimization_level", plan.optimization_level), ("compression_level", 0))
    statements.append(Statement("model_optimization_flavor", (), levels))
    sizes = (("batch_size", plan.calibration_batch), ("calibset_size", plan.calibration_count))
    statements.append(Statement("model_optimization_config", (Name("calibration"),), sizes))
    if plan.matmul_correction:
        options = (("layers", Glob("matmul*")), ("correction_type", Name("zp_comp_block")))
        statements.append(Statement("pre_quantization_optimization", (Name("matmul_correction"),), options))
    statements += [
        Statement("quantization_param", (Name(layer),), (("precision_mode", Name("a16_w16")),))
        for layer in plan.wide_outputs
    ]
    statements.append(_finetune(plan.finetune))
    return Script(tuple(statements))


def _finetune(finetune: Finetune | None) -> Statement:
    if finetune is None:
        return Statement("post_quantization_optimization", (Name("finetune"),), (("policy", Name("disabled")),))
    options = (
        ("policy", Name("enabled")),
        ("dataset_size", finetune.dataset_size),
        ("batch_size", finetune.batch_size),
        ("epochs", finetune.epochs),
        ("learning_rate", finetune.learning_rate),
    )
    return Statement("post_quantization_optimization", (Name("finetune"),), options)
