"""Observations as a file, so that several presets of one model share them.

An `.npz` of fixed dates and order: `about`, JSON as bytes, says what was observed and lists the tensors, of which the
other arrays hold the numbers one tensor after the other::

    about    {"format": 2, "har": SHA-256 of parsed.har, "samples": 256, "mean": [..], "std": [..],
              "equalized": [first layers of the pairs that were],
              "tensors": [{"name": "..", "samples": 256, "values": 32768, "means": 64, "masked": false}, ..]}
    lows, highs      float32, one of each sample
    values           float32, some of all samples
    channel_means    float32
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from build_rules.compilers.emulator.equalize import equalize
from build_rules.compilers.emulator.network import load_network
from build_rules.compilers.emulator.observe import Observation, observe_all
from build_rules.compilers.emulator.quantization_plan import Plan
from build_rules.compilers.emulator.script_settings import Settings
from build_rules.compilers.har_file import dump_npz, read_har
from build_rules.compilers.protocol import OptimizeJob, StatisticsJob
from build_rules.compilers.samples import Samples

__all__ = ["collect", "read_collected"]

FORMAT = 2
PARTS = {"lows": "samples", "highs": "samples", "values": "values", "channel_means": "means"}


def collect(job: StatisticsJob) -> bytes:
    """Observe every sample of a snapshot. Raises `InputError` as `optimize` does."""
    network = load_network(read_har(job.har))
    samples = Samples(job.calibration, network.image, network.input_shape)
    indices = range(samples.count)
    equalized = equalize(network, Settings(mean=job.mean, std=job.std), samples, indices)
    plan = Plan({}, {}, {}, {}, {}, job.mean, job.std)
    seen = observe_all(equalized.network, plan, samples, indices, job.around.progress)
    return _dump(_made_from(job.har, samples.count, job.mean, job.std, equalized.pairs), seen)


def read_collected(
    job: OptimizeJob, settings: Settings, count: int, pairs: Sequence[str]
) -> dict[str, Observation] | None:
    """Return what was collected for a job; None when nothing was, or not of what the script asks for.

    A script may take fewer samples or equalize other `pairs`, and a folder may hold the file of another network: all
    of these are observed anew.
    """
    if job.statistics is None or settings.mean is None or settings.std is None:
        return None
    try:
        with np.load(job.statistics, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            wanted = _made_from(job.har, count, settings.mean, settings.std, pairs)
            if {key: about[key] for key in wanted} != wanted:
                return None
            return _observations(about["tensors"], {part: file[part] for part in PARTS})
    except (OSError, EOFError, ValueError, AttributeError, LookupError, TypeError, zipfile.BadZipFile):
        return None


def _made_from(
    har: Path, count: int, mean: tuple[float, ...], std: tuple[float, ...], pairs: Sequence[str]
) -> dict[str, Any]:
    digest = hashlib.sha256(har.read_bytes()).hexdigest()
    about: dict[str, Any] = {"format": FORMAT, "har": digest, "samples": count, "mean": list(mean), "std": list(std)}
    return {**about, "equalized": list(pairs)}


def _dump(made_from: Mapping[str, Any], seen: Mapping[str, Observation]) -> bytes:
    tensors = [
        {
            "name": name,
            "samples": each.samples,
            "values": len(each.values),
            "means": len(each.channel_means),
            "masked": each.masked,
        }
        for name, each in seen.items()
    ]
    about = json.dumps({**made_from, "tensors": tensors}).encode()
    arrays = {part: np.concatenate([getattr(each, part) for each in seen.values()]) for part in PARTS}
    return dump_npz({"about": np.frombuffer(about, np.uint8), **arrays})


def _observations(tensors: list[dict[str, Any]], arrays: Mapping[str, Any]) -> dict[str, Observation]:
    begins = dict.fromkeys(PARTS, 0)
    seen = {}
    for tensor in tensors:
        parts = {}
        for part, length in PARTS.items():
            parts[part] = arrays[part][begins[part] : begins[part] + tensor[length]]
            begins[part] += tensor[length]
        seen[tensor["name"]] = Observation(**parts, masked=tensor["masked"])
    return seen
