"""Outputs that say nothing new: what others are made of already, moved, activated or computed again.

Exports have raw grids beside the joined output, logits beside probabilities, an output twice. Such an output needs no
role: it is made of the same endpoints, and the proof covers it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from build_rules.graph.find.find_roles import Segment

__all__ = ["spare_outputs"]


def spare_outputs(segments: Sequence[Segment], endpoints: Collection[str]) -> frozenset[str]:
    """Return the outputs whose every map is in another one that tells as much of it, or more.

    `endpoints` are maps that are endpoints already, whatever outputs say. Of equal outputs the first one stays.
    """
    telling: dict[str, dict[str, int]] = {}
    for segment in segments:
        maps = telling.setdefault(segment.output, {})
        for tensor in segment.tensors:
            maps[tensor] = max(maps.get(tensor, 0), _telling(segment, tensor))
    kept: dict[str, int] = dict.fromkeys(endpoints, _MOST)
    spare = set()
    for output in sorted(telling, key=lambda output: (-len(telling[output]), -sum(telling[output].values()))):
        maps, own = telling[output], _not_only_ranked(segments, output)
        if own and all(kept.get(tensor, -1) >= much for tensor, much in maps.items()):
            spare.add(output)
            continue
        _add(kept, {tensor: much for tensor, much in maps.items() if tensor in own})
    return frozenset(spare)


_MOST = 3


def _telling(segment: Segment, tensor: str) -> int:
    """Return how much of a map an output tells: nothing when it moves it, more when it computes with it."""
    (beginning,) = (beginning for beginning in segment.maps if beginning.tensor == tensor)
    if beginning.ranked:
        return 0
    if beginning.dfl or beginning.located or beginning.computed:
        return _MOST
    return 1 if beginning.activations <= {None} else 2


def _not_only_ranked(segments: Sequence[Segment], output: str) -> frozenset[str]:
    """Return the maps whose values an output holds; of others it only ranks them."""
    own = (beginning for segment in segments if segment.output == output for beginning in segment.maps)
    return frozenset(beginning.tensor for beginning in own if not beginning.ranked)


def _add(kept: dict[str, int], maps: Mapping[str, int]) -> None:
    for tensor, much in maps.items():
        kept[tensor] = max(kept.get(tensor, 0), much)
