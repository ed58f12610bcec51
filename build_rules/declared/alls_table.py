"""The table `[alls]` of `model.toml`: lines that are appended to the model script.

[alls]
append = ["resources_param(max_utilization=0.8)",
          "quantization_param(onnx:/model.22/cv3.0/cv3.0.2/Conv, precision_mode=a16_w16)"]
file = "extra.alls"           # the same in a file, beside the model; its lines come before those of `append`

What a line may say is in docs/model-script.md; the step `alls` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build_rules.errors import InputError
from build_rules.regular_file import find_fault
from build_rules.toml_table import Table

__all__ = ["OwnScript", "find_own_file", "read_alls"]


@dataclass(frozen=True)
class OwnScript:
    """`append` are lines as they stand in the table, `file` a script relative to the model's folder, None without one.

    Of a model as others see it, `file` is relative to the repository.
    """

    append: tuple[str, ...] = ()
    file: Path | None = None


def read_alls(table: Table) -> OwnScript:
    """Read the sub-table `alls` of a model. Raises `InputError` for what is not possible in it."""
    inner = table.table("alls")
    if inner is None:
        return OwnScript()
    append, named = inner.texts("append"), inner.text("file")
    inner.close()
    return OwnScript(append, None if named is None else Path(named))


def find_own_file(own: OwnScript, folder: Path, where: Path) -> OwnScript:
    """Return the lines of the model in `folder` with the file's place in the repository.

    Raises `InputError`, naming the `model.toml`, when there is no such file.
    """
    if own.file is None:
        return own
    path = folder / own.file
    if (fault := find_fault(path)) is not None:
        raise InputError(
            f'{where}, [alls]: file = "{own.file}" is not possible; expected lines of a model script; {path} {fault}.'
        )
    return OwnScript(own.append, path)
