"""What a preset means: which outputs get 16 bits, how hard the compiler optimises."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """One trade of precision against compile time.

    `wide_roles` are the boundary names (from the split hints) whose output tensors are delivered in 16 bits; a role
    that a model does not have is simply not there. `optimization_level` is the compiler's: 1 adds bias correction,
    2 adds the fine-tune. Compression is always 0: 4-bit weights are never wanted here.
    """

    name: str
    wide_roles: tuple[str, ...]
    optimization_level: int
    finetune: bool


_REGRESSION = ("boxes", "landmarks", "angle")
_CONFIDENCE = ("scores", "objectness", "confidence")

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("fast", (), optimization_level=1, finetune=False),
        Preset("balanced", _REGRESSION, optimization_level=1, finetune=False),
        Preset("accurate", _REGRESSION + _CONFIDENCE, optimization_level=2, finetune=True),
    )
}
"""By name, what is made fastest first."""
