"""Results of steps that were made before, here or elsewhere: the action key, and what the shared cache has under it.

The key of a step is the SHA-256 of everything its outputs depend on: rule, version and code, the settings it reads, the
tools it uses, and the name and content of every input. What a step turned out to read besides is part of the entry and
compared when it is found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.engine.freshness.fingerprint import Fingerprint, fingerprint
from build_rules.errors import InputError

if TYPE_CHECKING:
    from build_rules.engine.cache import CachedAction, SharedCache
    from build_rules.engine.freshness.key import Step

__all__ = ["CLOSE_SECONDS", "Recall", "action_key", "close_cache", "configure_cache", "foresee", "shared_cache"]

CLOSE_SECONDS = 20.0
"""How long the end of a run waits for what is still being uploaded."""

# What the settings say of the cache of this run, and the cache, which is opened by the first step that runs.
_settings: tuple[str, str, str | None] | None = None
_cache: SharedCache | None = None


def configure_cache(location: str | None, mode: str, limit: str | None) -> None:
    """Say where results are shared. Raises `InputError` for a place that cannot be one."""
    global _settings
    if location is not None:
        from build_rules.engine.cache import parse_limit, parse_location

        parse_location(location)
        try:
            if limit is not None:
                parse_limit(limit)
        except InputError as error:
            raise error.within("cache_limit") from error
        _settings = (location, mode, limit)


def shared_cache() -> SharedCache | None:
    """Return the cache that was configured, None when there is none; opened when it is first asked for."""
    global _cache
    if _cache is None and _settings is not None:
        from build_rules.engine import messages
        from build_rules.engine.cache import SharedCache, parse_limit, parse_location

        location, mode, limit = _settings
        _cache = SharedCache(
            parse_location(location),
            "read-only" if mode == "read-only" else "read-write",
            None if limit is None else parse_limit(limit),
            lambda text: messages.warn("", text),
        )
    return _cache


def close_cache() -> str:
    """Wait a while for uploads, and return what the cache did in words; nothing when it was not used."""
    if _cache is None:
        return ""
    _cache.close(CLOSE_SECONDS)
    told = _cache.stats
    if not told.hits and not told.uploaded:
        return ""
    return f"cache: {told.hits} restored ({told.bytes >> 20} MiB), {told.uploaded} uploaded"


def action_key(key: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Return the key of an action; `inputs` maps the names of inputs to the digests of their content."""
    whole = json.dumps({"key": key, "inputs": dict(inputs)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()


@dataclass
class Recall:
    """The shared cache, as one step uses it. `key` is the step's key without its inputs, `outputs` its files' names."""

    cache: SharedCache
    key: Mapping[str, Any]
    outputs: Sequence[str]
    told: Callable[[], None]
    found: bool = False
    _action: str = ""

    def restore(self, read: Mapping[Path, Fingerprint], folder: Path) -> Sequence[Path] | None:
        """Put the outputs into `folder` and return the further inputs; None when the step has to run."""
        self._action = action_key(self.key, {str(path): mark.sha256 for path, mark in read.items()})
        action = _find(self.cache, self._action, self.outputs)
        if action is None or not self.cache.restore(action, folder):
            return None
        self.found = True
        self.told()
        return [Path(path) for path, _ in action.discovered]

    def offer(
        self, read: Mapping[Path, Fingerprint], declared: int, written: Mapping[Path, Fingerprint], seconds: float
    ) -> None:
        """Share what a step has made; the first `declared` of `read` were known before it ran."""
        discovered = tuple((str(path), mark.sha256) for path, mark in list(read.items())[declared:])
        if self.found or not all(_is_within(Path(path)) for path, _ in discovered):
            return
        from build_rules.engine.cache import CachedAction, CachedOutput

        outputs = tuple(CachedOutput(path.name, mark.sha256, mark.size) for path, mark in written.items())
        action = CachedAction(outputs, discovered, seconds)
        for key in {self._action, _variant(self._action, discovered)}:
            self.cache.offer(key, action, {path.name: path for path in written})


def _is_within(path: Path) -> bool:
    """Whether a name leads to a file of the repository: others mean something else on every machine."""
    return not path.is_absolute() and ".." not in path.parts


def _find(cache: SharedCache, key: str, outputs: Sequence[str]) -> CachedAction | None:
    """Return what the cache knows of an action whose further inputs are those that lie here.

    The entry under the action's own key is the one that was made last. It tells which files are read besides; with
    other content in them, the result is under a key of its own.
    """
    action = cache.find(key, outputs)
    here = None if action is None else _as_they_are(name for name, _ in action.discovered)
    if action is None or here is None or here == action.discovered:
        return None if here is None else action
    action = cache.find(_variant(key, here), outputs)
    return None if action is None or action.discovered != here else action


def _variant(key: str, discovered: Iterable[tuple[str, str]]) -> str:
    """Return the key of an action with these further inputs, each with its digest; without any, the action's own."""
    further = dict(discovered)
    return action_key({"action": key}, further) if further else key


def _as_they_are(names: Iterable[str]) -> tuple[tuple[str, str], ...] | None:
    """Return files that another machine read, as they are here; None when one is not."""
    paths = [Path(name) for name in names]
    if not all(_is_within(path) and path.is_file() for path in paths):
        return None
    return tuple((str(path), fingerprint(path).sha256) for path in paths)


def foresee(steps: Iterable[tuple[Step, bool]]) -> set[str]:
    """Return the names of the steps that the cache would restore, without restoring any.

    `steps` come in an order in which they could run, each with whether it would run. What one would restore is known
    by its digests, so that the key of the next can be told, too; after a step that really has to run nothing can.
    """
    cache = shared_cache()
    known: dict[str, str | None] = {}
    cached: set[str] = set()
    for step, runs in steps if cache is not None else ():
        outputs = {str(path): path for path in step.outputs.values()}
        if not runs:
            continue
        digests = {str(path): _digest_of(path, known) for path in step.input_files()}
        known |= dict.fromkeys(outputs)
        certain = {path: digest for path, digest in digests.items() if digest is not None}
        if cache is None or step.fault is not None or len(certain) < len(digests):
            continue
        found = _find(cache, action_key(step.key(), certain), [path.name for path in outputs.values()])
        if found is not None and cache.holds_all(found):
            cached.add(step.name)
            made = {output.name: output.sha256 for output in found.outputs}
            known |= {text: made.get(path.name) for text, path in outputs.items()}
    return cached


def _digest_of(path: Path, known: Mapping[str, str | None]) -> str | None:
    """Return the digest that a file has, or will have; None when only running a step can tell."""
    if str(path) in known:
        return known[str(path)]
    try:
        return fingerprint(path).sha256
    except OSError:
        return None
