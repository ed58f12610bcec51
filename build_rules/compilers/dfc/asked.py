"""What a model script asks of the compiler's optimization, in the words that its log uses."""

from __future__ import annotations

from dataclasses import dataclass

from build_rules.alls.script import Name, Statement, Value, parse_script
from build_rules.errors import InputError

__all__ = ["ADAROUND", "BIAS_CORRECTION", "FINETUNE", "Asked", "read_asked"]

BIAS_CORRECTION = "Bias Correction"
FINETUNE = "Quantization-Aware Fine-Tuning"
ADAROUND = "Adaround"

_OF_LEVEL = {1: BIAS_CORRECTION, 2: FINETUNE, 3: ADAROUND, 4: ADAROUND}
"""What a level runs beside the equalization. A level runs one of these and not those of the levels below it."""
_BY_FEATURE = {"bias_correction": BIAS_CORRECTION, "finetune": FINETUNE, "adaround": ADAROUND}


@dataclass(frozen=True)
class Asked:
    """What is asked for; None where the script leaves it to the compiler.

    `algorithms` are those that the level or an own line asks for. Numbers of images are those of the calibration and
    of the fine-tune; `most_images` is the largest that any line asks for, which stands in `most_images_line`.
    """

    level: int | None = None
    compression: int | None = None
    calibration_images: int | None = None
    finetune_images: int | None = None
    algorithms: tuple[str, ...] = ()
    most_images: int | None = None
    most_images_line: int = 0


def read_asked(script: str) -> Asked:
    """Return what a script asks for; of two lines that contradict each other the later one counts.

    What is no script asks for nothing: whether it is one, others have checked.
    """
    try:
        statements = parse_script(script).statements
    except InputError:
        return Asked()
    found: dict[str, int] = {}
    policies: dict[str, bool] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for statement in statements:
        _read(statement, found, policies, sizes)
    asked = [_OF_LEVEL[found["level"]]] if found.get("level") in _OF_LEVEL else []
    asked = [name for name in asked if policies.get(name, True)] + [name for name, on in policies.items() if on]
    wanted = [size for name, size in sizes.items() if policies.get(name, True)]
    most, line = max(wanted) if wanted else (None, 0)
    return Asked(
        level=found.get("level"),
        compression=found.get("compression"),
        calibration_images=found.get("calibration"),
        finetune_images=found.get("finetune") if policies.get(FINETUNE, FINETUNE in asked) else None,
        algorithms=tuple(dict.fromkeys(asked)),
        most_images=most,
        most_images_line=line,
    )


def _read(
    statement: Statement, found: dict[str, int], policies: dict[str, bool], sizes: dict[str, tuple[int, int]]
) -> None:
    options = dict(statement.keywords)
    feature = statement.arguments[0] if statement.arguments else None
    if statement.command == "model_optimization_flavor":
        _note(found, "level", options.get("optimization_level"))
        _note(found, "compression", options.get("compression_level"))
    elif statement.command == "model_optimization_config" and feature == Name("calibration"):
        _note(found, "calibration", size := options.get("calibset_size"))
        sizes.update({"calibration": (size, statement.line)} if isinstance(size, int) else {})
    elif statement.command == "post_quantization_optimization" and isinstance(feature, Name):
        name = _BY_FEATURE.get(feature.text)
        if name is not None:
            policies[name] = options.get("policy", Name("enabled")) == Name("enabled")
        size = options.get("dataset_size")
        sizes.update({name: (size, statement.line)} if name is not None and isinstance(size, int) else {})
        if name == FINETUNE:
            _note(found, "finetune", size)


def _note(found: dict[str, int], name: str, value: Value | None) -> None:
    if isinstance(value, int):
        found[name] = value
