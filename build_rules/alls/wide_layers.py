"""Which kinds of layers may work in 16 bits on a Hailo-8, as far as public scripts and reports tell, and which never.

Nobody outside of Hailo has the whole table. A kind that is not in it is never proposed; a line of the user's may name
it all the same, and the compiler has the last word.

========  ==========================================================================================
source    where
========  ==========================================================================================
yolo26    Hailo's model zoo v2.18, `generic/yolo26s.alls`, `yolo26m.alls`: `dw1`, `dw6`, `dw7`, `dw8` and the six end
          convolutions in a16_w16
vit       the zoo's scripts for ViTs: `{ew_add*}` in a16_w16
outputs   the zoo's scripts for yolov5-seg and pose: `output_layerN` in a16_w16
modes     those of a Hailo-8 are a8_w8, a8_w4, a16_w16, a8_w8_a16 (public integrations that list them)
softmax   community.hailo.ai, topic 19530: a16_w16 on the softmax of attention ends in a crash of the allocator, on a
          convolution far from it, it compiles; `has 2 APUs but max allowed is 1` where 16 bits meet a softmax
matmul    public notes on yolo26n-seg with DFC 3.33: matmul in a16_w16 is `Unsupported value` when the script is read,
          in a8_w8_a16 it is quantized and then refused by the mapper (`precision mode is not accurate`)
========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MODES", "NEVER_WIDE", "PASSIVE", "WIDE", "WideKind", "kind_of"]

WIDE = ("a16_w16", "a8_w8_a16")
"""Modes that put 16 bits somewhere: into all that a layer reads, holds and makes, or into what it makes alone."""


@dataclass(frozen=True)
class WideKind:
    """The modes that one kind of layer may be proposed in; `source` is a row of the table above."""

    modes: tuple[str, ...]
    source: str


MODES: Mapping[str, WideKind] = {
    "conv": WideKind(("a8_w8_a16", "a16_w16"), "yolo26, modes"),
    "dw": WideKind(("a8_w8_a16", "a16_w16"), "yolo26, modes"),
    "ew_add": WideKind(("a16_w16",), "vit"),
}
"""By kind as the HN has it."""

NEVER_WIDE: Mapping[str, str] = {"softmax": "softmax", "matmul": "matmul"}
"""Kinds that no line may put into 16 bits, with the source; nor does what they read or what reads them get any."""

PASSIVE = frozenset(
    {
        *("concat", "maxpool", "format_conversion", "feature_splitter", "spatial_splitter", "slice", "shortcut"),
        *("depth_to_space", "space_to_depth", "resize"),
    }
)
"""Kinds that only move values: what they read and what they make has the same bits."""


def kind_of(layer: str) -> str:
    """Return the kind that the name of a layer (`net/softmax3`) tells."""
    return layer.rpartition("/")[2].rstrip("0123456789")
