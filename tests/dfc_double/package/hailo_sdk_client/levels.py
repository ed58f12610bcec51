"""What an optimization does: the level that is really used, the algorithms that run, and on how many entries.

Pure: it is asked with a script, the count of calibration entries and whether there is a GPU, and says it in a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .exceptions import make
from .script_parser import Statement

__all__ = ["Plan", "make_plan"]

RECOMMENDED = 1024
DEFAULT_CALIBRATION = 64


class Plan(NamedTuple):
    """`asked` is None when the script says no level. `reasons` say why a level was lowered, empty when it was not."""

    level: int
    compression: int
    asked: int | None
    reasons: tuple[str, ...]
    calibration: int
    batch_size: int
    bias_correction: bool
    finetune: int | None
    """Entries the fine-tune uses; None when it is skipped."""
    epochs: int
    adaround: int | None
    """Entries adaround uses; None when it is skipped."""
    noise_analysis: bool
    compression_lowered: bool


def make_plan(statements: Sequence[Statement], count: int, gpu: bool, keeps_written: bool) -> Plan:
    """Decide what is run on `count` entries.

    `keeps_written`: a level that the script says is kept without a GPU or enough entries. Raises `ValueError` when the
    script asks for more entries than there are.
    """
    options = _options(statements)
    flavor = options.get("model_optimization_flavor", {})
    asked = flavor.get("optimization_level")
    wanted = 2 if asked is None else int(asked)
    level, reasons = _allowed(wanted, count, gpu)
    if keeps_written and asked is not None:
        level, reasons = wanted, ()
    compression = max(int(flavor.get("compression_level", 1 if level > 1 else 0)), 0)
    lowered = level <= 1 and compression > 0
    calibration = options.get("calibration", {})
    entries = int(calibration.get("calibset_size", min(DEFAULT_CALIBRATION, count)))
    _enough("calibset_size", entries, count)
    finetune, adaround = options.get("finetune", {}), options.get("adaround", {})
    # A line of its own overrides the level, also one that was lowered.
    tunes = _policy(finetune, level == 2)
    rounds = _policy(adaround, level >= 3)
    tuned = int(finetune.get("dataset_size", min(RECOMMENDED, count))) if tunes else None
    rounded = int(adaround.get("dataset_size", min(RECOMMENDED if level >= 4 else 256, count))) if rounds else None
    _enough("dataset_size", tuned or 0, count)
    _enough("dataset_size", rounded or 0, count)
    return Plan(
        level=level,
        compression=0 if lowered else compression,
        asked=asked,
        reasons=reasons,
        calibration=entries,
        batch_size=int(calibration.get("batch_size", flavor.get("batch_size", 8))),
        bias_correction=_policy(options.get("bias_correction", {}), level >= 1),
        finetune=tuned,
        epochs=int(finetune.get("epochs", 4)),
        adaround=rounded,
        noise_analysis=level > 0,
        compression_lowered=lowered,
    )


def _options(statements: Sequence[Statement]) -> dict[str, dict[str, Any]]:
    """Return the arguments by command, or by feature where a command has some; later lines win."""
    options: dict[str, dict[str, Any]] = {}
    for statement in statements:
        name = statement.command
        if name in ("model_optimization_config", "post_quantization_optimization"):
            name = str(statement.arguments[0])
        options.setdefault(name, {}).update(statement.keywords)
    return options


def _allowed(wanted: int, count: int, gpu: bool) -> tuple[int, tuple[str, ...]]:
    few, blind = "there's less data than the recommended amount (1024)", "there's no available GPU"
    if not gpu and wanted > 0:
        return 0, ((few, blind) if count < RECOMMENDED else (blind,))
    if count < RECOMMENDED and wanted > 1:
        return 1, (few,)
    return max(wanted, 0), ()


def _policy(options: dict[str, Any], default: bool) -> bool:
    policy = options.get("policy", "enabled" if options else "allowed")
    return default if policy == "allowed" else bool(policy == "enabled")


def _enough(name: str, wanted: int, count: int) -> None:
    if wanted > count:
        raise make("AccelerasValueError", f"{name}={wanted} is larger than the dataset: it has only {count} entries")
