"""Every image of a pool, looked at once: its content and its statistics, or why it is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from build_rules.calibration.pixels.image_file import BrokenImageError, ImageFile, broken, open_image
from build_rules.calibration.pixels.images import decoded, measure
from build_rules.calibration.pool.image_db import ImageDb, Looks
from build_rules.calibration.pool.left_out import MAX_NAMED, Outcome
from build_rules.calibration.pool.ordered import Progress, Workers
from build_rules.calibration.pool.select import ImageStatistics, describe
from build_rules.errors import InputError

__all__ = ["Member", "Pool", "look_at_pool"]


@dataclass(frozen=True)
class Member:
    """An image that can be selected: its name in the pool, the SHA-256 of its file, its size, its statistics."""

    name: str
    path: Path
    sha256: str
    height: int
    width: int
    statistics: ImageStatistics


@dataclass(frozen=True)
class Pool:
    """The images that can be selected, in order of name, and what became of the others."""

    members: tuple[Member, ...]
    left_out: tuple[Outcome, ...]


def look_at_pool(
    folder: Path,
    images: Sequence[tuple[str, Path]],
    image_db: ImageDb,
    workers: Workers,
    *,
    skip_broken: bool,
    tell: Callable[[str], None],
    show: Callable[[str, Image.Image], None],
) -> Pool:
    """Look at images, each with its name in the pool, in its order; `folder` is what messages call the pool.

    `show` is given every picture that is decoded, with the SHA-256 of its file. Of several files with the same content
    the first counts. Raises `InputError` naming the images that cannot be decoded, unless `skip_broken`; one that may
    not be read; and when none is left.
    """
    members: list[Member] = []
    left_out: list[Outcome] = []
    first_names: dict[str, str] = {}

    def look(image: tuple[str, Path]) -> Member | Outcome:
        try:
            return _member(*image, image_db, show)
        except BrokenImageError as error:
            return Outcome(image[0], "broken", error.reason)

    progress = Progress(len(images), "images", tell)
    for image in workers.in_order(look, images):
        progress.step()
        if isinstance(image, Outcome):
            left_out.append(image)
        elif image.sha256 in first_names:
            left_out.append(Outcome(image.name, "duplicate", f"the same file as {first_names[image.sha256]}"))
        else:
            first_names[image.sha256] = image.name
            members.append(image)
    if not skip_broken:
        _refuse_broken(folder, [outcome for outcome in left_out if outcome.kind == "broken"])
    if not members:
        first = f"{left_out[0].name}: {left_out[0].reason}" if left_out else "there are none"
        raise InputError(f"{folder}: none of its {len(images)} images can be decoded; the first: {first}.")
    return Pool(tuple(members), tuple(left_out))


def _refuse_broken(folder: Path, broken_ones: Sequence[Outcome]) -> None:
    """Raise `InputError` for images that cannot be decoded; all are told of at once, to be mended at once."""
    if not broken_ones:
        return
    listed = ", ".join(f"{outcome.name} ({outcome.reason})" for outcome in broken_ones[:MAX_NAMED])
    more = f" and {len(broken_ones) - MAX_NAMED:,} more" if len(broken_ones) > MAX_NAMED else ""
    images = "1 image" if len(broken_ones) == 1 else f"{len(broken_ones):,} images"
    raise InputError(
        f"{folder}: {images} cannot be decoded: {listed}{more}; replace or remove them, or leave them out with "
        "skip_broken_images = true."
    )


def _member(name: str, path: Path, image_db: ImageDb, show: Callable[[str, Image.Image], None]) -> Member:
    with open_image(path) as file:
        looks = image_db.looks(file.sha256) or _look(file, image_db, show)
        return Member(name, path, file.sha256, looks.height, looks.width, looks.statistics)


def _look(file: ImageFile, image_db: ImageDb, show: Callable[[str, Image.Image], None]) -> Looks:
    if (reason := image_db.broken(file.sha256)) is not None:
        raise broken(file.path, reason)
    try:
        with decoded(file) as picture:
            looks = Looks(picture.height, picture.width, describe(measure(picture)))
            show(file.sha256, picture)
    except BrokenImageError as error:
        image_db.keep_broken(file.sha256, error.reason)
        raise
    image_db.keep_looks(file.sha256, looks)
    return looks
