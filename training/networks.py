"""Four tiny detectors with the head designs that converters meet in the field.

`shapes-det` and `shapes-seg` follow the published YOLOv8 design (decoupled head, boxes as distributions over 16 bins),
`shapes-attn` the published YOLO11/YOLO26 ideas (an attention block before the neck, boxes as four plain distances).
`shapes-wide` is `shapes-attn` with one fine grid for every size from a few pixels to the whole picture.

Layers sit in one numbered list, as that family's exports number them, so node names in the ONNX read like those of a
full-size model: `/model.22/cv2.0/cv2.0.2/Conv`.

A head answers in two ways: `raw` maps for the loss, and decoded `output0` (x, y, w, h in pixels, scores 0..1) for
export.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.scenes import USUAL, WIDE, Spread

__all__ = ["NETWORKS", "STRIDES", "Detector", "Raw", "anchor_grid", "build", "fuse"]

STRIDES = (8, 16, 32)
CHANNELS = (16, 24, 40, 48, 64)  # after the stem, then at strides 4, 8, 16, 32
HEAD_CHANNELS = 32
MASK_CHANNELS = 24
REG_MAX = 16
MASKS = 32


class Conv(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act: nn.Module = nn.SiLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, optionally around a skip."""

    def __init__(self, channels: int, skip: bool) -> None:
        super().__init__()
        self.cv1, self.cv2, self.skip = Conv(channels, channels, 3), Conv(channels, channels, 3), skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.skip else y  # type: ignore[no-any-return]


class C2f(nn.Module):
    """Split the channels, refine one half, keep everything that was seen on the way."""

    def __init__(self, inputs: int, outputs: int, skip: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.cv1, self.cv2 = Conv(inputs, 2 * half), Conv(3 * half, outputs)
        self.m = nn.ModuleList([Bottleneck(half, skip)])

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).chunk(2, 1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))  # type: ignore[no-any-return]


class SPPF(nn.Module):
    """Max-pool three times in a row to see far at little cost."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels // 2), Conv(channels * 2, channels)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return self.cv2(torch.cat(parts, 1))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention over pixels; position comes from a depth-wise convolution of the values."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.value_size = heads, channels // heads
        self.key_size = self.value_size // 2
        self.qkv = Conv(channels, channels + 2 * heads * self.key_size, activate=False)
        self.proj = Conv(channels, channels, activate=False)
        self.pe = Conv(channels, channels, 3, groups=channels, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        mixed = self.qkv(x).reshape(batch, self.heads, 2 * self.key_size + self.value_size, height * width)
        query, key, value = mixed.split([self.key_size, self.key_size, self.value_size], 2)
        weights = ((query * self.key_size**-0.5).transpose(2, 3) @ key).softmax(-1)
        seen = (value @ weights.transpose(2, 3)).reshape(batch, channels, height, width)
        return self.proj(seen + self.pe(value.reshape(batch, channels, height, width)))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Attention and a two-layer network, each around a skip."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(channels, heads)
        self.ffn = nn.Sequential(Conv(channels, 2 * channels), Conv(2 * channels, channels, activate=False))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.ffn(x)  # type: ignore[no-any-return]


class C2PSA(nn.Module):
    """Half of the channels pass through attention, the other half pass by."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.part = channels // 2
        self.cv1, self.cv2 = Conv(channels, channels), Conv(channels, channels)
        self.m = nn.Sequential(AttentionBlock(self.part, heads))

    def forward(self, x: Tensor) -> Tensor:
        kept, attended = self.cv1(x).split((self.part, self.part), 1)
        return self.cv2(torch.cat((kept, self.m(attended)), 1))  # type: ignore[no-any-return]


class Proto(nn.Module):
    """Mask prototypes at stride 4 from the stride 8 map."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cv1 = Conv(inputs, hidden, 3)
        self.upsample = nn.ConvTranspose2d(hidden, hidden, 2, 2)
        self.cv2, self.cv3 = Conv(hidden, hidden, 3), Conv(hidden, MASKS)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(self.cv2(self.upsample(self.cv1(x))))  # type: ignore[no-any-return]


def _through(branch: nn.Module, x: Tensor, noise: nn.Module | None) -> Tensor:
    """What a branch answers, with noise before each of its layers when it trains."""
    if noise is None or not noise.training:
        return branch(x)  # type: ignore[no-any-return]
    for layer in branch.children():
        x = layer(noise(x))
    return x


class DFL(nn.Module):
    """The mean of a distribution over bins, as a convolution with the bin numbers for weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(REG_MAX, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(REG_MAX, dtype=torch.float32).view(1, REG_MAX, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, cells = x.shape
        bins = x.reshape(batch, 4, REG_MAX, cells).transpose(1, 2).softmax(1)
        return self.conv(bins).reshape(batch, 4, cells)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Raw:
    """Undecoded outputs over all cells: box channels, score logits and, with masks, coefficients and prototypes."""

    boxes: Tensor
    scores: Tensor
    coefficients: Tensor | None = None
    protos: Tensor | None = None


def anchor_grid(size: int, levels: tuple[int, ...] = STRIDES) -> tuple[Tensor, Tensor]:
    """Cell centres (2 x cells, in cells) and the stride of each (1 x cells), in the order of the concatenated maps."""
    centres, strides = [], []
    for stride in levels:
        along = torch.arange(size // stride) + 0.5
        y, x = torch.meshgrid(along, along, indexing="ij")
        centres.append(torch.stack((x.reshape(-1), y.reshape(-1))))
        strides.append(torch.full((1, len(along) ** 2), float(stride)))
    return torch.cat(centres, 1), torch.cat(strides, 1)


class Noise(nn.Module):
    """Noise of a share of the largest value, as coarse numbers would add; for training alone.

    What follows learns to take its answer from many channels that agree, so that noise made here averages out.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) * (self.share * x.detach().amax())


def _branch(inputs: int, hidden: int, outputs: int, light: bool = False) -> nn.Sequential:
    """Two refining layers and a plain 1x1; the light kind separates space from channels."""
    if light:
        first = nn.Sequential(Conv(inputs, inputs, 3, groups=inputs), Conv(inputs, hidden))
        second = nn.Sequential(Conv(hidden, hidden, 3, groups=hidden), Conv(hidden, hidden))
        return nn.Sequential(first, second, nn.Conv2d(hidden, outputs, 1))
    return nn.Sequential(Conv(inputs, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))


@dataclass(frozen=True)
class Design:
    """What distinguishes the networks."""

    direct: bool = False
    masks: bool = False
    attention: bool = False
    strides: tuple[int, ...] = STRIDES  # all three, or the finest alone
    box_hidden: int = HEAD_CHANNELS
    noise: float = 0.0
    spread: Spread = USUAL


class Head(nn.Module):
    """Decoupled detection head: cv2 boxes, cv3 scores, cv4 mask coefficients, one branch per scale."""

    anchors: Tensor
    strides: Tensor

    def __init__(self, classes: int, inputs: tuple[int, ...], size: int, design: Design) -> None:
        super().__init__()
        direct, masks = design.direct, design.masks
        self.classes, self.box_channels = classes, 4 if direct else 4 * REG_MAX
        self.cv2 = nn.ModuleList(_branch(channels, design.box_hidden, self.box_channels) for channels in inputs)
        self.noise = Noise(design.noise) if design.noise else None
        self.cv3 = nn.ModuleList(_branch(channels, HEAD_CHANNELS, classes, light=direct) for channels in inputs)
        self.cv4 = nn.ModuleList(_branch(channels, MASK_CHANNELS, MASKS) for channels in inputs) if masks else None
        self.proto = Proto(inputs[0], MASKS) if masks else None
        self.dfl: nn.Module = nn.Identity() if direct else DFL()
        anchors, strides = anchor_grid(size, design.strides)
        self.register_buffer("anchors", anchors[None], persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self._start_biases(size, design.strides)

    def _start_biases(self, size: int, strides: tuple[int, ...]) -> None:
        """Begin with boxes of about two cells and with the few positives an image really has."""
        for boxes, scores, stride in zip(self.cv2, self.cv3, strides, strict=True):
            nn.init.constant_(boxes[-1].bias, 1.0)  # type: ignore[index]
            nn.init.constant_(scores[-1].bias, math.log(4 / self.classes / (size / stride) ** 2))  # type: ignore[index]

    def raw(self, maps: list[Tensor]) -> Raw:
        def over_cells(branches: nn.ModuleList, channels: int, noise: nn.Module | None = None) -> Tensor:
            return torch.cat(
                [_through(b, x, noise).reshape(x.shape[0], channels, -1) for b, x in zip(branches, maps, strict=True)],
                -1,
            )

        boxes, scores = over_cells(self.cv2, self.box_channels, self.noise), over_cells(self.cv3, self.classes)
        if self.cv4 is None or self.proto is None:
            return Raw(boxes, scores)
        return Raw(boxes, scores, over_cells(self.cv4, MASKS), self.proto(maps[0]))

    def distances(self, boxes: Tensor) -> Tensor:
        """Left, top, right, bottom in cells."""
        return self.dfl(boxes)  # type: ignore[no-any-return]

    def forward(self, maps: list[Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        raw = self.raw(maps)
        distances = self.distances(raw.boxes)
        near, far = self.anchors - distances[:, :2], self.anchors + distances[:, 2:]
        boxes = torch.cat(((near + far) / 2, far - near), 1) * self.strides
        if raw.coefficients is None or raw.protos is None:
            return torch.cat((boxes, raw.scores.sigmoid()), 1)
        return torch.cat((boxes, raw.scores.sigmoid(), raw.coefficients), 1), raw.protos


class Concat(nn.Module):
    """Join along channels; a module so that it owns a number in the list."""

    def forward(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)


class Detector(nn.Module):
    """Backbone, neck, head: `routes[i]` says which earlier layers feed layer i (-1 = the previous one)."""

    def __init__(self, classes: int, size: int, design: Design) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = CHANNELS
        layers: list[tuple[list[int], nn.Module]] = [
            ([-1], Conv(3, c1, 3, 2)),
            ([-1], Conv(c1, c2, 3, 2)),
            ([-1], C2f(c2, c2, True)),
            ([-1], Conv(c2, c3, 3, 2)),
            ([-1], C2f(c3, c3, True)),
            ([-1], Conv(c3, c4, 3, 2)),
            ([-1], C2f(c4, c4, True)),
            ([-1], Conv(c4, c5, 3, 2)),
            ([-1], C2f(c5, c5, True)),
            ([-1], SPPF(c5)),
        ]
        if design.attention:
            layers.append(([-1], C2PSA(c5, 2)))
        deep = len(layers) - 1
        layers += [
            ([-1], nn.Upsample(scale_factor=2, mode="nearest")),
            ([-1, 6], Concat()),
            ([-1], C2f(c5 + c4, c4)),
            ([-1], nn.Upsample(scale_factor=2, mode="nearest")),
            ([-1, 4], Concat()),
            ([-1], C2f(c4 + c3, c3)),
        ]
        if len(design.strides) == 3:
            layers += [
                ([-1], Conv(c3, c3, 3, 2)),
                ([-1, deep + 3], Concat()),
                ([-1], C2f(c3 + c4, c4)),
                ([-1], Conv(c4, c4, 3, 2)),
                ([-1, deep], Concat()),
                ([-1], C2f(c4 + c5, c5)),
            ]
        levels = [deep + 6, deep + 9, deep + 12][: len(design.strides)]
        head = Head(classes, CHANNELS[2 : 2 + len(levels)], size, design)
        layers.append((levels, head))
        self.routes = [route for route, _ in layers]
        self.model = nn.ModuleList(layer for _, layer in layers)

    @property
    def head(self) -> Head:
        last = self.model[-1]
        assert isinstance(last, Head)
        return last

    def features(self, images: Tensor) -> list[Tensor]:
        """The three maps the head reads."""
        seen: list[Tensor] = []
        x = images
        for route, layer in zip(self.routes[:-1], list(self.model)[:-1], strict=True):
            inputs = [x if source == -1 else seen[source] for source in route]
            x = layer(inputs if isinstance(layer, Concat) else inputs[0])
            seen.append(x)
        return [seen[source] for source in self.routes[-1]]

    def raw(self, images: Tensor) -> Raw:
        return self.head.raw(self.features(images))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.head(self.features(images))  # type: ignore[no-any-return]


NETWORKS = {
    "shapes-det": Design(),
    "shapes-seg": Design(masks=True),
    "shapes-attn": Design(direct=True, attention=True),
    "shapes-wide": Design(direct=True, attention=True, strides=(8,), box_hidden=64, noise=0.005, spread=WIDE),
}


def build(name: str, classes: int, size: int) -> Detector:
    """A network by the name of its model folder, untrained."""
    return Detector(classes, size, NETWORKS[name])


def fuse(network: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place; inference only."""
    for module in network.modules():
        if not isinstance(module, Conv) or not isinstance(module.bn, nn.BatchNorm2d):
            continue
        module.conv = nn.utils.fusion.fuse_conv_bn_eval(module.conv.eval(), module.bn.eval())
        module.bn = nn.Identity()
