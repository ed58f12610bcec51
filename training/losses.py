"""What the detectors are punished for.

Cells are made responsible for objects by task alignment (score to the power 0.5 times overlap to the power 6: a cell
that is already good at both gets the object), scores learn the quality of their cell's box by binary cross entropy,
boxes learn complete IoU plus either the two bins around the true distance (distributions) or the distance itself
(direct), masks learn binary cross entropy inside the true box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.networks import REG_MAX, Detector, Raw
from training.pool import INPUT_SIZE

__all__ = ["Losses", "Targets", "detection_losses"]

CANDIDATES = 10  # cells per object
SMALLEST_TARGET = 10.0  # an object smaller than this, in pixels, still claims the cells of a box this big
BOX, SCORE, DISTANCE, MASK = 7.5, 0.5, 1.5, 2.5


@dataclass(frozen=True)
class Targets:
    """Truth of a batch: boxes N x M x 4 in pixels, labels N x M (-1 = none), instance maps N x 64 x 64."""

    boxes: Tensor
    labels: Tensor
    instances: Tensor


@dataclass(frozen=True)
class Losses:
    """The weighted parts; their sum is what is minimized."""

    boxes: Tensor
    scores: Tensor
    distances: Tensor
    masks: Tensor

    @property
    def total(self) -> Tensor:
        return self.boxes + self.scores + self.distances + self.masks


@dataclass(frozen=True)
class _Assignment:
    """Per image and cell: is it responsible, for which object, and with what target score."""

    positive: Tensor  # N x A, bool
    owner: Tensor  # N x A, index into the objects
    quality: Tensor  # N x A


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the distance of the centres and the difference in shape; boxes are ... x 4 corners and broadcast."""
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1, bx2 - bx1, by2 - by1
    across = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    down = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    both = across * down
    iou = both / (aw * ah + bw * bh - both + 1e-7)
    hull_width = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    hull_height = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    apart = ((ax1 + ax2 - bx1 - bx2) ** 2 + (ay1 + ay2 - by1 - by2) ** 2) / 4
    shape = (4 / math.pi**2) * (torch.atan(bw / (bh + 1e-7)) - torch.atan(aw / (ah + 1e-7))) ** 2
    with torch.no_grad():
        weight = shape / (1 - iou + shape + 1e-7)
    return iou - apart / (hull_width**2 + hull_height**2 + 1e-7) - shape * weight


@torch.no_grad()
def _assign(scores: Tensor, boxes: Tensor, centres: Tensor, targets: Targets) -> _Assignment:
    """scores N x A x C (0..1), boxes N x A x 4 and centres A x 2 in pixels."""
    valid = targets.labels >= 0
    middle = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2
    reach = ((targets.boxes[..., 2:] - targets.boxes[..., :2]) / 2).clamp(min=SMALLEST_TARGET / 2)
    inside = ((centres[None, None] - middle[:, :, None]).abs() < reach[:, :, None]).all(-1) & valid[..., None]
    overlap = complete_iou(targets.boxes[:, :, None], boxes[:, None]).clamp(min=0) * inside
    columns = targets.labels.clamp(min=0)[..., None].expand(-1, -1, scores.shape[1])
    alignment = scores.transpose(1, 2).gather(1, columns).sqrt() * overlap**6
    ranked = torch.where(inside, alignment + 1e-12, torch.zeros_like(alignment))
    best, cells = ranked.topk(CANDIDATES, -1)
    chosen = torch.zeros_like(inside).scatter_(2, cells, best > 0)
    owner = torch.where(chosen, overlap, torch.full_like(overlap, -1)).argmax(1)
    positive = chosen.any(1)
    mine = torch.zeros_like(chosen).scatter_(1, owner[:, None], positive[:, None])
    alignment, overlap = alignment * mine, overlap * mine
    scaled = alignment / (alignment.amax(-1, keepdim=True) + 1e-9) * overlap.amax(-1, keepdim=True)
    return _Assignment(positive, owner, scaled.amax(1))


def _distance_loss(raw: Tensor, distances: Tensor, wanted: Tensor) -> Tensor:
    """Per positive cell: cross entropy to the two bins around each wanted distance; direct: relative error."""
    if raw.shape[-1] == 4:
        return (distances - wanted).abs().mean(-1) / wanted.abs().mean(-1).clamp(min=0.5)
    wanted = wanted.clamp(0, REG_MAX - 1.01)
    low = wanted.long()
    share = wanted - low
    logs = raw.view(-1, 4, REG_MAX).log_softmax(-1)
    below, above = logs.gather(2, low[..., None])[..., 0], logs.gather(2, low[..., None] + 1)[..., 0]
    return -(below * (1 - share) + above * share).mean(-1)


def _mask_loss(raw: Raw, targets: Targets, found: _Assignment, rows: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross entropy over the pixels of the true box, averaged over the positive cells."""
    assert raw.coefficients is not None
    assert raw.protos is not None
    side = raw.protos.shape[-1]
    image, cell = rows
    logits = torch.cat(
        [raw.coefficients[n, :, cell[image == n]].T @ raw.protos[n].flatten(1) for n in range(len(raw.protos))], 0
    )  # rows come grouped by image, as nonzero() orders them
    objects = found.owner[image, cell]
    truth = (targets.instances[image].flatten(1) == (objects + 1)[:, None]).float()
    boxes = targets.boxes[image, objects] * (side / INPUT_SIZE)
    along = torch.arange(side) + 0.5
    x_inside = (along > boxes[:, None, 0] - 0.5) & (along < boxes[:, None, 2] + 0.5)
    y_inside = (along > boxes[:, None, 1] - 0.5) & (along < boxes[:, None, 3] + 0.5)
    window = (y_inside[:, :, None] & x_inside[:, None, :]).flatten(1).float()
    pixels = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * window
    return (pixels.sum(1) / window.sum(1).clamp(min=1)).mean()


def detection_losses(network: Detector, raw: Raw, targets: Targets) -> Losses:
    """All parts for one batch."""
    head = network.head
    anchors, strides = head.anchors[0].T, head.strides.T
    distances = head.distances(raw.boxes).transpose(1, 2)
    boxes = torch.cat((anchors - distances[..., :2], anchors + distances[..., 2:]), -1) * strides
    logits = raw.scores.transpose(1, 2)
    found = _assign(logits.detach().sigmoid(), boxes.detach(), anchors * strides, targets)
    weight = found.quality.sum().clamp(min=1)
    image, cell = found.positive.nonzero(as_tuple=True)
    objects = found.owner[image, cell]
    wanted_scores = torch.zeros_like(logits)
    quality = found.quality[image, cell]
    wanted_scores[image, cell, targets.labels[image, objects]] = quality
    score_loss = functional.binary_cross_entropy_with_logits(logits, wanted_scores, reduction="sum") / weight
    true_boxes = targets.boxes[image, objects]
    box_loss = ((1 - complete_iou(boxes[image, cell], true_boxes)) * quality).sum() / weight
    corners, centre = true_boxes / strides[cell], anchors[cell]
    wanted = torch.cat((centre - corners[:, :2], corners[:, 2:] - centre), -1)
    distance = _distance_loss(raw.boxes.transpose(1, 2)[image, cell], distances[image, cell], wanted)
    distance_loss = (distance * quality).sum() / weight
    mask_loss = torch.zeros(()) if raw.protos is None else _mask_loss(raw, targets, found, (image, cell))
    return Losses(BOX * box_loss, SCORE * score_loss, DISTANCE * distance_loss, MASK * mask_loss)
