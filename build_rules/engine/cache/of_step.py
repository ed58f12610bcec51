"""What the shared cache has of a step, under its cache key (`freshness/key.py`): made before, here or elsewhere.

What a step turned out to read besides its inputs is part of the entry, each file with the place where a checkout has it
(`Step.place_of`) and its digest, and compared before anything is restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build_rules.engine.cache.action import CachedAction, CachedOutput
from build_rules.engine.cache.shared import SharedCache
from build_rules.engine.freshness.fingerprint import Fingerprint, fingerprint
from build_rules.engine.freshness.key import Step, variant_key

__all__ = ["Recall", "foresee"]


@dataclass
class Recall:
    """The shared cache, as one step uses it; `restored` is called when what follows comes from there."""

    cache: SharedCache
    step: Step
    restored: Callable[[], None]
    _hit: bool = False
    _key: str = ""

    def restore(self, read: Mapping[Path, Fingerprint], folder: Path) -> Sequence[Path] | None:
        """Put the outputs into `folder` and return the further inputs; None when the step has to run."""
        self._key = self.step.cache_key({str(path): mark.sha256 for path, mark in read.items()})
        hit = _find(self.cache, self.step, self._key)
        if hit is None or not self.cache.restore(hit.action, folder):
            return None
        self._hit = True
        self.restored()
        return hit.discovered

    def offer(
        self, read: Mapping[Path, Fingerprint], declared: int, written: Mapping[Path, Fingerprint], seconds: float
    ) -> None:
        """Share what a step has made; the first `declared` of `read` were known before it ran."""
        places = [(self.step.place_of(path), mark.sha256) for path, mark in list(read.items())[declared:]]
        discovered = tuple((place, sha256) for place, sha256 in places if place is not None)
        if self._hit or len(discovered) < len(places):
            return
        outputs = tuple(CachedOutput(path.name, mark.sha256, mark.size) for path, mark in written.items())
        action = CachedAction(outputs, discovered, seconds)
        for key in {self._key, variant_key(self._key, discovered)}:
            self.cache.offer(key, action, {path.name: path for path in written})


@dataclass(frozen=True)
class _Hit:
    """An entry that counts here, and the further inputs as they lie here."""

    action: CachedAction
    discovered: tuple[Path, ...]


def _find(cache: SharedCache, step: Step, key: str) -> _Hit | None:
    """Return what the cache knows of a step whose further inputs are those that lie here.

    The entry under the step's own key is the one that was made last. It tells which files are read besides; with other
    content in them, the result is under a key of its own.
    """
    outputs = [path.name for path in step.outputs.values()]
    action = cache.find(key, outputs)
    if action is None:
        return None
    paths = [step.find_place(place) for place, _ in action.discovered]
    there = tuple(path for path in paths if path is not None and path.is_file())
    if len(there) < len(paths):
        return None
    digests = (fingerprint(path).sha256 for path in there)
    here = tuple((place, digest) for (place, _), digest in zip(action.discovered, digests, strict=True))
    if here != action.discovered:
        action = cache.find(variant_key(key, here), outputs)
    return None if action is None or action.discovered != here else _Hit(action, there)


def foresee(cache: SharedCache, steps: Iterable[tuple[Step, bool]]) -> set[str]:
    """Return the names of the steps that the cache would restore, without restoring any.

    `steps` come in an order in which they could run, each with whether it would run. What one would restore is known
    by its digests, so that the key of the next can be told, too; after a step that really has to run nothing can.
    """
    made: dict[str, str | None] = {}
    hits: set[str] = set()
    for step, runs in steps:
        outputs = {str(path): path for path in step.outputs.values()}
        if not runs:
            continue
        digests = {str(path): _digest_of(path, made) for path in step.input_files()}
        made |= dict.fromkeys(outputs)
        certain = {path: digest for path, digest in digests.items() if digest is not None}
        if step.fault is not None or len(certain) < len(digests):
            continue
        hit = _find(cache, step, step.cache_key(certain))
        if hit is not None and cache.holds_all(hit.action):
            hits.add(step.name)
            by_name = {output.name: output.sha256 for output in hit.action.outputs}
            made |= {text: by_name.get(path.name) for text, path in outputs.items()}
    return hits


def _digest_of(path: Path, made: Mapping[str, str | None]) -> str | None:
    """Return the digest that a file has, or will have; None when only running a step can tell."""
    if str(path) in made:
        return made[str(path)]
    try:
        return fingerprint(path).sha256
    except OSError:
        return None
