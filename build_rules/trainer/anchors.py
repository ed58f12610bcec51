"""The anchors of a classic anchor head, level by level, divided by the input size.

Trainers write them in one of three places: with each `detection` output (ModelPack, already divided by the input size),
in the split hint, or in the `model` section (YOLOv5, in input pixels). A document without any leaves those that the
graph itself holds; those of a head that `model.toml` describes win over any document. The EdgeFirst HAL wants them
divided by the input size.
"""

from __future__ import annotations

from typing import Any

from build_rules.errors import InputError
from build_rules.records.roles import ANCHOR, BEFORE_SCORES
from build_rules.records.split_json import Anchors, Level, ModelInput, Split
from build_rules.trainer.document import TrainerDocument, objects_of

__all__ = ["MAX_SIDE", "anchor_levels", "split_anchors"]

GRAPH = "the graph"
MAX_SIDE = 1 << 16
"""Pixels of a side of an anchor, whoever names it."""
HALF_A_PIXEL, ROUNDED = 0.51, 0.02


def split_anchors(document: TrainerDocument, split: Split) -> Anchors:
    """Return the anchors of the levels of an anchor head, finest first, as fractions of the input image; else none.

    Raises `InputError` when there are none, and when the maps do not hold whole boxes for as many.
    """
    levels = split.anchor_levels
    if not levels:
        return ()
    by_hand = split.found_by == "model.toml" and split.anchors
    anchors = anchor_levels(TrainerDocument() if by_hand else document, len(levels), split.input, split.anchors)
    for level, own in zip(levels, anchors, strict=True):
        channels = level.shape[1]
        if channels % len(own) or channels // len(own) <= BEFORE_SCORES:
            raise InputError(
                f"'{level.tensor}' has {channels} channels, which are not {len(own)} anchors of 4 coordinates, "
                "objectness and class scores; an anchor head is cut at the whole grid, once per scale: correct the "
                "anchors or the split hints."
            )
    if len({level.shape[1] // len(own) for level, own in zip(levels, anchors, strict=True)}) > 1:
        listing = ", ".join(
            f"'{level.tensor}' {level.shape[1]} channels for {len(own)} anchors"
            for level, own in zip(levels, anchors, strict=True)
        )
        raise InputError(f"the levels do not hold boxes of one kind: {listing}; correct the anchors.")
    if not by_hand:
        _check_stated(anchors, split, ", ".join(str(level.stride) for level in levels))
    return anchors


def _check_stated(stated: Anchors, split: Split, strides: str) -> None:
    """Refuse anchors of a document that are not the graph's, or that stand in the order of other levels."""
    image = split.input
    if split.anchors is not None:
        graph = _divided(split.anchors, image)
        if [len(level) for level in stated] != [len(level) for level in graph] or not _alike(stated, graph, image):
            raise InputError(
                f"the metadata says the anchors {_pixels(stated, image)}, but the graph decodes with "
                f"{_pixels(graph, image)} (pixels, strides {strides}); correct the metadata or export the model again."
            )
        return
    areas = [sum(width * height for width, height in level) / len(level) for level in stated]
    if areas != sorted(areas):
        raise InputError(
            f"the metadata has larger anchors before smaller ones ({_pixels(stated, image)}), but the levels are those "
            f"of the strides {strides}, finest first; correct the metadata or export the model again."
        )


def _alike(stated: Anchors, graph: Anchors, image: ModelInput) -> bool:
    """Say whether anchors are the same, but for what rounding to whole pixels makes of them."""
    pairs = [
        (one * side, two * side)
        for level, own in zip(stated, graph, strict=True)
        for first, second in zip(level, own, strict=True)
        for one, two, side in zip(first, second, (image.width, image.height), strict=True)
    ]
    return all(abs(one - two) <= HALF_A_PIXEL + ROUNDED * two for one, two in pairs)


def _pixels(anchors: Anchors, image: ModelInput) -> str:
    return str([[[round(w * image.width, 1), round(h * image.height, 1)] for w, h in level] for level in anchors])


def anchor_levels(document: TrainerDocument, count: int, image: ModelInput, of_graph: Anchors | None = None) -> Anchors:
    """Return the `(width, height)` anchors of each of `count` levels, finest first, as fractions of the input image.

    `of_graph` are anchors from elsewhere, in input pixels, for a document that has none. Raises `InputError` when there
    are no anchors for exactly `count` levels.
    """
    seen = []
    for place, raw in [*_candidates(document), (GRAPH, list(of_graph or ()))]:
        if not raw:
            continue
        levels = [_level(anchors) for anchors in raw]
        if len(levels) == count and all(levels):
            whole = tuple(level for level in levels if level)
            return _divided(whole, image) if place == GRAPH else _normalized(whole, image)
        seen.append(f"{place} ({len(levels)} levels)")
    raise InputError(
        f"an anchor head with {count} levels needs the anchors of {count} levels, each a list of [width, height] "
        f'pairs; found {", ".join(seen) or "none"}. Write `anchors` beside role = "{ANCHOR}" in [[split.endpoint]], '
        "or into [[split.hint]], of model.toml: in pixels of the input, finest level first, as they were in training."
    )


def _candidates(document: TrainerDocument) -> list[tuple[str, list[Any]]]:
    """Return every place that may hold anchors, with a list of levels for each."""
    outputs = [o for o in objects_of(document.content.get("outputs")) if "anchors" in o]
    if all(_stride(o) is not None for o in outputs):
        outputs.sort(key=lambda o: _stride(o) or 0)
    hints = [h["anchors"] for h in objects_of(document.content.get("split_hints")) if "anchors" in h]
    if len(hints) == 1 and isinstance(hints[0], list) and not _level(hints[0]):
        hints = hints[0]  # one hint for all levels, not one hint per grid output
    own = document.section("model").get("anchors")
    return [
        ("outputs[].anchors", [o["anchors"] for o in outputs]),
        ("split_hints[].anchors", hints),
        ("model.anchors", own if isinstance(own, list) else []),
    ]


def _stride(output: dict[str, Any]) -> int | None:
    """Return an output's horizontal stride, written as a number or as a pair."""
    stride = output.get("stride")
    if isinstance(stride, list) and stride:
        stride = stride[0]
    return stride if type(stride) is int else None


def _level(anchors: Any) -> Level | None:
    """Return one level's anchors, None when they are no list of pairs of positive numbers in bounds."""
    if not isinstance(anchors, list | tuple) or not anchors:
        return None
    pairs: list[tuple[float, float]] = []
    for pair in anchors:
        if not (isinstance(pair, list | tuple) and len(pair) == 2):
            return None
        if not all(type(size) in (int, float) and 0 < size <= MAX_SIDE for size in pair):
            return None
        pairs.append((float(pair[0]), float(pair[1])))
    return tuple(pairs)


def _normalized(levels: Anchors, image: ModelInput) -> Anchors:
    """Divide by the input size unless that was done.

    The smallest anchor tells: it is wider than a pixel and narrower than the image. The largest does not, because
    anchors are often kept when a model is exported for smaller images, and then exceed them.
    """
    if min(min(pair) for level in levels for pair in level) < 1:
        return levels
    return _divided(levels, image)


def _divided(levels: Anchors, image: ModelInput) -> Anchors:
    return tuple(tuple((width / image.width, height / image.height) for width, height in level) for level in levels)
