"""What the user decides in `model.toml` over anything that metadata or graph say: where to cut, what pixels are."""

from __future__ import annotations

from dataclasses import dataclass

from build_rules.records.split_hint import SplitHint
from build_rules.records.split_json import Anchors

__all__ = ["AUTOMATIC", "EndpointGroup", "InputChoice", "SplitChoice"]


@dataclass(frozen=True)
class EndpointGroup:
    """The tensors of one role, named by hand: `tensors` are names of tensors or of the nodes that compute them."""

    role: str
    tensors: tuple[str, ...]
    encoding: str | None = None
    activation: str | None = None


@dataclass(frozen=True)
class SplitChoice:
    """`[split]` of `model.toml`: what the user decides, over anything that metadata or graph say.

    `hints` replace the trainer's; `groups` name the endpoints themselves. At most one of the two is given. `anchors`
    are those of an anchor head, empty when the graph or the metadata are to tell them. `outputs` are the graph's
    outputs that are built, all of them when empty.
    """

    prove: bool = True
    hints: tuple[SplitHint, ...] = ()
    groups: tuple[EndpointGroup, ...] = ()
    anchors: Anchors = ()
    outputs: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """Return the tensors and nodes that are named by hand, none when endpoints are to be found."""
        return tuple(name for group in self.groups for name in group.tensors)


AUTOMATIC = SplitChoice()
"""What holds when the user decides nothing."""


@dataclass(frozen=True)
class InputChoice:
    """`[input]` of `model.toml`: what the user says about the pixels, over the metadata; None where nothing is said.

    `normalization` is `unsigned`, `signed`, `raw` or `imagenet`; `mean` and `std` stand in its place, one number per
    channel, in pixel units: the graph is fed (pixel - mean) / std. `color` is a camera adaptor, `preprocessing`
    `letterbox` or `stretch`, `shape` (height, width) the size at which a dynamic export is built.
    """

    normalization: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color: str | None = None
    preprocessing: str | None = None
    shape: tuple[int, int] | None = None
