"""The tensors that a network delivers, as the objects that are in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from build_rules.errors import InputError
from build_rules.objects.decode_scale import CutScale, GridScale, Scale, Tensors
from build_rules.objects.found import Objects
from build_rules.objects.suppress import suppress
from build_rules.records.roles import BEFORE_SCORES, BOXES, DFL, DIRECT, OBJECTNESS, SCORES
from build_rules.records.split_json import Endpoint, Split

__all__ = ["ObjectReader"]


class ObjectReader:
    """Decodes the endpoints of one split, one image at a time, as EdgeFirst's decoders do.

    Distances by DFL or direct ones, and raw anchor grids; each place has its best class, and classes are suppressed on
    their own (Ultralytics). Of masks, landmarks and angles nothing is read: their objects are judged by upright box and
    score.

    Of an anchor head the split has to hold the anchors; in `endpoints.json` it does, whoever has written them down.

    Known differences from the decoders: they give a hundred objects at most, approximate the exponentials of anchor
    grids to a percent, and score a grid of one class by its objectness alone, where ours, as the graph, has the
    product. A softmax that a head ends in is applied, as in the graph; they apply none. Boxes whose sides are the wrong
    way round, which they deliver, are left out.
    """

    def __init__(self, split: Split, *, score: float = 0.001, overlap: float = 0.7, most: int = 300) -> None:
        """Objects are scored above `score` (0..1); of those that overlap by more than `overlap` the best one remains.

        At most `most` are kept. Raises `InputError` when nobody decodes these outputs.
        """
        self._scales = _scales_of(split)
        self._endpoints = split.endpoints
        self._score, self._overlap, self._most = score, overlap, most
        self.classes = self._scales[0].classes

    def read(self, tensors: Tensors) -> Objects:
        """Return what is in one image.

        `tensors` are by the names of the endpoints, [H, W, C], real values as delivered: behind the activation where
        `split.folded` says so. Only places whose score is high enough are decoded.
        """
        levels = [scale.read(tensors, self._score) for scale in self._scales]
        boxes = np.concatenate([level.boxes for level in levels])
        proper = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes = boxes[proper]
        scores = np.concatenate([level.scores for level in levels])[proper]
        labels = np.concatenate([level.labels for level in levels])[proper]
        kept = suppress(boxes, scores, labels, self._overlap, self._most)
        return Objects(boxes[kept], scores[kept], labels[kept])

    def cells(self, tensors: Tensors) -> dict[str, NDArray[np.float32]]:
        """Return for each endpoint how much each of its places tells about objects, [H, W], 0..1: the best score there.

        An output of another grid (prototypes) has the best score of all scales at that place.
        """
        best = [scale.best(tensors) for scale in self._scales]
        by_stride = {scale.stride: scores for scale, scores in zip(self._scales, best, strict=True)}
        weights = {}
        for endpoint in self._endpoints:
            shape = tensors[endpoint.name].shape[:2] if endpoint.name in tensors else endpoint.shape[2:4]
            own = by_stride.get(endpoint.stride or 0)
            if own is not None and own.shape == shape:
                weights[endpoint.name] = own
            else:
                weights[endpoint.name] = np.maximum.reduce([_on_grid(scores, shape) for scores in best])
        return weights


def _on_grid(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a map on another grid: repeated where that is finer, the largest of a place where it is coarser."""
    for axis, new in enumerate(shape):
        old = values.shape[axis]
        starts = np.arange(new) * old // new
        values = np.maximum.reduceat(values, starts, axis=axis) if new < old else values.take(starts, axis=axis)
    return values


def _scales_of(split: Split) -> tuple[Scale, ...]:
    if split.anchor_head:
        return _grid_scales(split)
    boxes, scores, objectness = (_by_stride(split, role) for role in (BOXES, SCORES, OBJECTNESS))
    if not boxes or boxes.keys() != scores.keys() or not objectness.keys() <= {*boxes}:
        raise _nobody(split, "they need boxes and scores with the same strides")
    if (objectness and objectness.keys() != boxes.keys()) or 0 in boxes:
        raise _nobody(split, "all of a head's maps of one scale need its stride")
    for endpoint in boxes.values():
        channels = endpoint.shape[1]
        if endpoint.encoding not in (DFL, DIRECT) or channels % 4 or (endpoint.encoding == DIRECT and channels != 4):
            raise _nobody(split, f"{endpoint.name} holds boxes in no way that is known")
    return tuple(
        CutScale(stride, boxes[stride], scores[stride], objectness.get(stride), split.folded)
        for stride in sorted(boxes)
    )


def _by_stride(split: Split, role: str) -> dict[int, Endpoint]:
    return {endpoint.stride or 0: endpoint for endpoint in split.endpoints if endpoint.role == role}


def _grid_scales(split: Split) -> tuple[Scale, ...]:
    grids, anchors = split.anchor_levels, split.anchors
    if anchors is None or len(anchors) != len(grids) or not all(grid.stride for grid in grids):
        raise _nobody(split, "the anchors of its grids are not known: name them in [split] of model.toml")
    scales = []
    for grid, level in zip(grids, anchors, strict=True):
        per_anchor = grid.shape[1] // len(level)
        classes = _classes(split, per_anchor)
        if grid.shape[1] % len(level) or not 0 < classes <= per_anchor - BEFORE_SCORES:
            raise _nobody(split, f"which of the {grid.shape[1]} channels of {grid.name} are scores is not known")
        scales.append(GridScale(grid.stride or 0, grid, level, classes))
    return tuple(scales)


def _classes(split: Split, per_anchor: int) -> int:
    """Return how many of an anchor's channels are scores: all the rest, unless there is more, as a hint must say."""
    for hint in split.hints:
        widths = {boundary.name: boundary.channels[1] - boundary.channels[0] for boundary in hint.boundaries}
        if hint.anchors_per_cell > 1 and SCORES in widths and widths.keys() - {BOXES, OBJECTNESS, SCORES}:
            return widths[SCORES]
    if any(endpoint.kind.form == "whole" for endpoint in split.endpoints):
        return 0
    return per_anchor - BEFORE_SCORES


def _nobody(split: Split, why: str) -> InputError:
    return InputError(
        f"{split.model}: objects cannot be read of the outputs {', '.join(e.name for e in split.endpoints)}: {why}. "
        "What they hold can be compared as numbers only."
    )
