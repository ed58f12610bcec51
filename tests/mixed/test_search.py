"""The search finds the smallest set that does, whatever the order of the loudest, and says when none helps."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from build_rules.mixed.candidates import Candidate
from build_rules.mixed.search import MAX_LAYERS, MAX_TRIALS, Found, Trial, find_smallest
from build_rules.objects.agreement import Agreement

Set = tuple[Candidate, ...]


def layers(count: int) -> list[Candidate]:
    return [Candidate(f"net/conv{n}", f"/n{n}", "conv", "a8_w8_a16", 1 / (n + 2), "") for n in range(count)]


@dataclass
class World:
    """What 16 bits in each layer bring, beside `base`."""

    gains: dict[str, float]
    base: float | None = 0.8
    tried: list[Set] = field(default_factory=list)

    def try_set(self, chosen: Set) -> Trial:
        assert chosen not in self.tried
        self.tried.append(chosen)
        value = None if self.base is None else self.base + sum(self.gains.get(each.layer, 0) for each in chosen)
        return Trial(chosen, Agreement(8, 100, value, value, 0.9, 0.0, 0, 0), 20.0, 100, ())

    def find(self, count: int) -> Found:
        return find_smallest(layers(count), self.try_set, lambda before, after: after.value > before.value + 0.02)


@pytest.mark.parametrize("where", [(0,), (5,), (0, 3), (2, 9), (0, 1, 2), (11,)])
def test_the_layers_that_help_are_found_and_no_others(where: tuple[int, ...]) -> None:
    world = World({f"net/conv{n}": 0.2 / len(where) for n in where})
    found = world.find(60)
    assert found.outcome == "found"
    assert found.taken is not None
    assert [each.layer for each in found.taken.candidates] == [f"net/conv{n}" for n in where]
    assert found.trials == len(world.tried) <= MAX_TRIALS


def test_noise_that_is_spread_is_told() -> None:
    found = World({f"net/conv{n}": 0.001 for n in range(60)}).find(60)
    assert (found.outcome, found.taken) == ("spread", None)
    assert found.all is not None
    assert found.all.value == pytest.approx(0.86)


def test_a_part_of_what_could_be_won_is_taken_where_it_is_not_luck() -> None:
    gains = {"net/conv0": 0.1, **{f"net/conv{n}": 0.002 for n in range(1, 60)}}
    found = World(gains).find(60)
    assert found.taken is not None
    assert found.all is not None
    assert 1 <= len(found.taken.candidates) <= MAX_LAYERS
    assert found.taken.candidates[0].layer == "net/conv0"
    assert found.taken.value < found.all.value


@pytest.mark.parametrize(
    ("base", "gain", "outcome"), [(0.99, 0.0, "not needed"), (0.7, 0.0, "spread"), (None, 0.0, "no objects")]
)
def test_what_cannot_be_won_is_not_looked_for(base: float | None, gain: float, outcome: str) -> None:
    world = World({"net/conv0": gain}, base)
    assert world.find(9).outcome == outcome
    assert len(world.tried) <= 2


def test_without_any_candidate_nothing_is_found() -> None:
    assert World({}).find(0).outcome == "spread"
