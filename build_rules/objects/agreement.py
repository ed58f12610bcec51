"""How far what one network finds is what another one finds, or what is there."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Agreement", "ClassAgreement", "Precision"]


@dataclass(frozen=True)
class ClassAgreement:
    """One class. `objects` counts those of the reference; average precisions are None where it has none."""

    label: int
    objects: int
    map50: float | None
    map50_95: float | None
    lost: int
    invented: int


@dataclass(frozen=True)
class Agreement:
    """A network's objects against those of a reference network (its objects scored 0.25 and more) on `images` images.

    `map50`, `map50_95`: mean over classes, None without any object. Of the matched pairs (same class, overlap of at
    least 0.5): `mean_iou`, and `score_shift`, the mean of found minus reference. `lost` objects of the reference have
    no partner scored 0.25 and more, `invented` ones are scored so and have none in the reference.
    """

    images: int
    objects: int
    map50: float | None
    map50_95: float | None
    mean_iou: float | None
    score_shift: float | None
    lost: int
    invented: int
    per_class: tuple[ClassAgreement, ...] = ()


@dataclass(frozen=True)
class Precision:
    """A network's objects against the truth: mean average precision, None without any object."""

    images: int
    objects: int
    map50: float | None
    map50_95: float | None
