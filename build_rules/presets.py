"""What a preset means: which outputs get 16 bits, how hard the compiler optimises."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["PRESETS", "Preset", "without_search"]


@dataclass(frozen=True)
class Preset:
    """One trade of precision against compile time.

    Outputs of the precision groups `wide` (`precision` in the table of roles) are delivered in 16 bits, all others in
    8. `optimization_level` is the compiler's: 1 adds bias correction, 2 adds the fine-tune. Compression is always 0:
    4-bit weights are never wanted here. `wide_attention`: a network with attention also computes in 16 bits what leads
    the values past it, and its outputs. `mixed`: layers that 16 bits are worth are looked for, where a model asks for
    it (`mixed_precision`).
    """

    name: str
    wide: tuple[str, ...]
    optimization_level: int
    finetune: bool
    wide_attention: bool = False
    mixed: bool = False


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("fast", (), optimization_level=1, finetune=False),
        Preset("balanced", ("regression",), optimization_level=1, finetune=False),
        Preset(
            "accurate",
            ("regression", "classification"),
            optimization_level=2,
            finetune=True,
            wide_attention=True,
            mixed=True,
        ),
    )
}
"""By name, what is made fastest first."""


def without_search(preset: Preset) -> Preset:
    """Return what layers are looked for with: the same bits, without the passes that take long and change none."""
    return replace(preset, optimization_level=min(1, preset.optimization_level), finetune=False)
