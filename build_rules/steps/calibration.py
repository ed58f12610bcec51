"""Images, or a snapshot -> calibration.safetensors and .json, calibration-images.json, calibration.png."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from build_rules.calibration.chosen import Chosen, dump_chosen
from build_rules.calibration.pool.left_out import summarize
from build_rules.calibration.pool.sources import Sources, sources_of
from build_rules.calibration.produce import produce_snapshot
from build_rules.calibration.sheet import Thumbnail, pictures_of, write_sheet
from build_rules.calibration.snapshot.given import check_produced, choose_snapshot, find_snapshot, use_snapshot
from build_rules.calibration.snapshot.parameters import file_name, parameters_for
from build_rules.engine.messages import progress
from build_rules.engine.running.note_reads import note_reads
from build_rules.errors import InputError
from build_rules.records.calibration_json import Calibrated, dump_calibrated
from build_rules.records.split_json import Split, load_split

__all__ = ["run"]

LARGE_BYTES = 4 << 30
"""EdgeFirst's producers warn of larger snapshots."""


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
    passed_over: str,
    database: str,
    final: str,
) -> tuple[Path, ...]:
    """Make the snapshot from images, or check and use a given one; `images` are the files of `source`.

    Without a `source` it is the one that the metadata names, in the folder `named_in`; that file is returned: which of
    the many it is, is known only now. `passed_over` says which images of the pool nothing here decodes; `database` is
    the file that keeps what is known of images, `final` where `snapshot` will lie.
    """
    split = load_split(split_json)
    further: tuple[Path, ...] = ()
    if source is None:
        given = find_snapshot(Path(named_in or ""), split)
        note_reads(snapshot, [given])
        further, made = (given,), _use(given, split, snapshot)
    else:
        sources = sources_of(Path(source), images)
        if sources.kind == "images":
            made = _make(sources, split, snapshot, count, skip_broken, passed_over, Path(database), Path(final))
        else:
            made = _use(choose_snapshot(Path(source), images, split), split, snapshot)
    write_sheet(sheet, made.pictures)
    chosen.write_text(dump_chosen(made.chosen), encoding="ascii")
    calibrated.write_text(dump_calibrated(made.facts), encoding="utf-8")
    return further


@dataclass(frozen=True)
class _Made:
    """A snapshot that is in its place: what later steps need to know of it, and what people are told and shown."""

    facts: Calibrated
    chosen: Chosen
    pictures: Sequence[Thumbnail]


def _make(
    sources: Sources,
    split: Split,
    output: Path,
    count: int,
    skip_broken: bool,
    passed_over: str,
    database: Path,
    final: Path,
) -> _Made:
    try:
        parameters = parameters_for(split.preprocessing, split.input, count=count)
    except InputError as error:
        raise error.within(sources.folder) from error
    made = produce_snapshot(
        sources.folder,
        parameters,
        output,
        split.input.name,
        pool=list(zip(sources.names, sources.files, strict=True)),
        skip_broken=skip_broken,
        database=database,
        final=final,
        tell=progress,
    )
    chosen = replace(made.chosen, passed_over=passed_over)
    _tell(chosen, output.stat().st_size)
    return _Made(check_produced(made.snapshot, split, file_name(parameters)), chosen, made.pictures)


def _use(given: Path, split: Split, output: Path) -> _Made:
    used = use_snapshot(given, split, output)
    chosen = Chosen(given.name, image_ids=_image_ids(used.snapshot.metadata.get("image_ids")))
    return _Made(used.facts, chosen, pictures_of(used.snapshot, split.input.name))


def _tell(chosen: Chosen, size: int) -> None:
    """Say what became of the pool, and what fewer images than wanted mean for what follows."""
    for line in summarize(chosen.pool or 0, chosen.left_out) if chosen.left_out else ():
        print(f"   {line}")
    passed_over = f"; passed over: {chosen.passed_over}" if chosen.passed_over else ""
    print(f"   {len(chosen.images)} of {chosen.pool} images selected{passed_over}")
    if chosen.requested is not None and len(chosen.images) < chosen.requested:
        print(
            f"   warning: {len(chosen.images)} calibration images, {chosen.requested} wanted: the compiler takes the "
            "ranges of all tensors from these alone, and the fine-tune of `accurate` has little to learn from"
        )
    if size > LARGE_BYTES:
        print(
            f"   warning: the snapshot has {size / 1e9:.1f} GB; a smaller calibration_count, or a model exported "
            "for tiles, makes it smaller"
        )


def _image_ids(text: str | None) -> tuple[str, ...]:
    """Return the names of Studio's samples; whatever else stands there is nothing that could be looked up."""
    try:
        names = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
