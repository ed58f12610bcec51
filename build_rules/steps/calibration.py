"""Images, or a snapshot -> calibration.safetensors and .json, calibration-images.json, calibration.png."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from build_rules.calibrated import dump_calibrated
from build_rules.calibration.chosen import Chosen, dump_chosen
from build_rules.calibration.outcomes import summarize
from build_rules.calibration.parameters import file_name, parameters_for
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.sheet import Thumbnail, pictures_of, write_sheet
from build_rules.calibration.snapshot import open_snapshot
from build_rules.calibration.sources import sources_of
from build_rules.endpoints import Split, load_split
from build_rules.engine.report import hooks
from build_rules.errors import InputError
from build_rules.steps.given import check_snapshot, choose_snapshot, find_snapshot, use_snapshot

__all__ = ["run"]


def run(
    split_json: Path,
    images: Sequence[Path],
    snapshot: Path,
    calibrated: Path,
    chosen: Path,
    sheet: Path,
    source: str | None,
    named_in: str | None,
    count: int,
    skip_broken: bool,
    known: str,
    final: str,
) -> tuple[Path, ...]:
    """Make the snapshot from images, or check and use a given one; `images` are the files of `source`.

    Without a `source` it is the one that the metadata names, in the folder `named_in`; that file is returned: which of
    the many it is, is known only now. `known` is the file that keeps what is known of images, `final` where `snapshot`
    will lie.
    """
    split = load_split(split_json)
    found = None if source is None else sources_of(Path(source), images)
    further: tuple[Path, ...] = ()
    if found is not None and found.kind == "images":
        try:
            parameters = parameters_for(split.preprocessing, split.input, count=count)
        except InputError as error:
            raise error.within(source) from error
        made = produce_snapshot(
            found.folder,
            parameters,
            snapshot,
            split.input.name,
            names=found.names,
            skip_broken=skip_broken,
            known=Path(known),
            final=Path(final),
            tell=hooks.progress,
        )
        _tell(made.chosen)
        facts, told, pictures = check_snapshot(snapshot, split, file_name(parameters)), made.chosen, made.pictures
    else:
        if source is None:
            given = find_snapshot(Path(named_in or ""), split)
            further = (given,)
        else:
            given = choose_snapshot(Path(source), images, split)
        facts = use_snapshot(given, split, snapshot)
        told, pictures = _given(given, snapshot, split)
    write_sheet(sheet, pictures)
    chosen.write_text(dump_chosen(told), encoding="ascii")
    calibrated.write_text(dump_calibrated(facts), encoding="utf-8")
    return further


def _tell(chosen: Chosen) -> None:
    """Say what became of the pool, and what fewer images than wanted mean for what follows."""
    for line in summarize(chosen.pool or 0, chosen.left_out) if chosen.left_out else ():
        print(f"   {line}")
    print(f"   {len(chosen.images)} of {chosen.pool} images selected")
    if chosen.requested is not None and len(chosen.images) < chosen.requested:
        print(
            f"   warning: {len(chosen.images)} calibration images, {chosen.requested} wanted: the compiler takes the "
            "ranges of all tensors from these alone, and the fine-tune of `accurate` has little to learn from"
        )


def _given(given: Path, snapshot: Path, split: Split) -> tuple[Chosen, Sequence[Thumbnail]]:
    """Return what a snapshot tells of its images, and a small picture of each."""
    opened = open_snapshot(snapshot)
    ids = opened.metadata.get("image_ids")
    return Chosen(given.name, image_ids=_image_ids(ids)), pictures_of(opened, split.input.name)


def _image_ids(text: str | None) -> tuple[str, ...]:
    """Return the names of Studio's samples; whatever else stands there is nothing that could be looked up."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()
