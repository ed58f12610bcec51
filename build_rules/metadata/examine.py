"""The metadata inside a HEF, of which nothing is certain: any file can carry any ZIP, and describe itself wrongly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from build_rules.errors import InputError
from build_rules.hef import Hef, holds_zip_signature
from build_rules.hef.container import open_hef, scan_container
from build_rules.hef.loaders import Loader, find_loaders, oldest_release
from build_rules.hef.members import members_of
from build_rules.hef.reader import hef_of
from build_rules.metadata.problems import Problem, error, mapping, warning
from build_rules.regular_file import LABELS_BYTES
from build_rules.trainer.labels import parse_labels

if TYPE_CHECKING:
    from build_rules.metadata.compare_with_hef import Pair
    from build_rules.metadata.physical import PhysicalTensor

__all__ = ["DOCUMENT", "LABELS", "Examined", "examine", "examine_opened", "load_document"]

DOCUMENT = "edgefirst.json"
LABELS = "labels.txt"
MAX_DOCUMENT = 1 << 20
MAX_DESCRIBED = 512
"""Tensors that a document may describe; a HEF has at most 256 streams."""


@dataclass(frozen=True)
class Examined:
    """A HEF and what its metadata say of it.

    `document` is None when there is none that can be read; `pairs` are the outputs as the file has them, each beside
    its description; `problems` is everything that keeps a reader from the right result.
    """

    hef: Hef
    members: Mapping[str, bytes]
    document: dict[str, Any] | None
    labels: tuple[str, ...] | None
    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]
    loaders: tuple[Loader, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong that would make a reader fail or decode wrongly."""
        return all(problem.severity != "error" for problem in self.problems)


def load_document(members: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return the document among a HEF's ZIP members, None when there is none.

    Raises `InputError`, without the file's name, when it is not a JSON object or larger than any document.
    """
    if DOCUMENT not in members:
        return None
    if len(members[DOCUMENT]) > MAX_DOCUMENT:
        raise InputError(f"its {DOCUMENT} has more than {MAX_DOCUMENT} bytes and is not read.")
    try:
        # As strict readers are: UTF-8 without a mark, no NaN, no name twice.
        text = members[DOCUMENT].decode("utf-8")
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_name_twice)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its {DOCUMENT} is not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise InputError(f"its {DOCUMENT} is not a JSON object.")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has one name twice")
    return members


def examine(path: Path) -> Examined:
    """Read a HEF and hold its metadata against it. Raises `InputError` when it is not a sound HEF file at all."""
    with open_hef(path) as stream:
        return examine_opened(stream, path)


def examine_opened(stream: BinaryIO, path: Path) -> Examined:
    """As `examine`, on an open file."""
    container = scan_container(stream, str(path))
    hef = hef_of(stream, container, str(path))
    problems: list[Problem] = []
    members: dict[str, bytes] = {}
    document, labels = None, None
    reading = ""
    try:
        members = members_of(stream, container, str(path))
        reading = DOCUMENT
        document = load_document(members)
        reading = LABELS
        labels = _labels(members)
    except InputError as fault:
        problems.append(error(0, reading, str(fault).removeprefix(f"{path}: ")))
    pairs, differences = _held_against(hef, document, labels)
    loaders = find_loaders(hef, holds_zip_signature(stream, container))
    problems += _refusals(hef, loaders)
    if hef.container.embedding == "append" and not loaders[-1].loads:
        problems.append(error(0, "", loaders[-1].why))
    if hef.is_emulated and document is not None:
        problems += _claims(document)
    return Examined(hef, members, document, labels, pairs, (*problems, *differences), loaders)


def _refusals(hef: Hef, loaders: tuple[Loader, ...]) -> list[Problem]:
    """What keeps the vendor's runtime from the file, whoever hands it over."""
    if hef.container.embedding in ("append", "unknown") or any(loader.loads for loader in loaders[:-1]):
        return []
    whys = "; ".join(f"{loader.reader}: {loader.why}" for loader in loaders[:-1])
    if oldest_release(hef) is not None:
        return [warning(0, "", f"only old releases of HailoRT load it ({whys})")]
    return [error(0, "", f"no release of HailoRT loads it ({whys})")]


def _labels(members: Mapping[str, bytes]) -> tuple[str, ...] | None:
    if len(members.get(LABELS, b"")) > LABELS_BYTES:
        raise InputError(f"it has more than {LABELS_BYTES} bytes and is not read.")
    return parse_labels(members[LABELS], LABELS) if LABELS in members else None


def _held_against(
    hef: Hef, document: dict[str, Any] | None, labels: tuple[str, ...] | None
) -> tuple[tuple[Pair, ...], list[Problem]]:
    if document is None:
        return (), []
    # Most HEFs of the world carry no metadata; what checks them takes longer to import than the file to read.
    from build_rules.metadata.checks import check_document
    from build_rules.metadata.compare_with_hef import compare_outputs, compare_whole
    from build_rules.metadata.hef_outputs import physical_tensors

    problems: list[Problem] = []
    described = _count_described(document)
    if described > MAX_DESCRIBED:
        return (), [error(5, "outputs", f"describe {described} tensors; at most {MAX_DESCRIBED} are looked at")]
    tensors: tuple[PhysicalTensor, ...] | None = None
    try:
        tensors = physical_tensors(hef)
    except InputError as fault:
        problems.append(error(9, "outputs", str(fault)))
    try:
        problems += check_document(document, tensors, labels)
        problems += compare_whole(document, hef)
        return compare_outputs(document, tensors or ()), problems
    except RecursionError:
        return (), [error(0, DOCUMENT, "has values that are nested too deep")]


def _count_described(document: dict[str, Any]) -> int:
    outputs = mapping(document.get("outputs"))
    return len(outputs) + sum(len(mapping(output.get("outputs"))) for output in outputs)


def _claims(document: dict[str, Any]) -> list[Problem]:
    section = document.get("hailo")
    if isinstance(section, dict) and section.get("emulated") is True:
        return []
    return [warning(0, "hailo.emulated", "does not say that the file is emulated, which its compiler does")]
