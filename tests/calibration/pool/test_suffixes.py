"""Which images are taken by what their names end in, and which of the others are counted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np
import pytest
from PIL import Image, features

from build_rules.calibration.pixels import images
from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pool import suffixes
from build_rules.calibration.pool.sources import list_images, list_sources
from build_rules.calibration.pool.suffixes import PassedOver, image_suffixes
from build_rules.errors import InputError
from build_rules.versions import UNKNOWN


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    found = {"pillow": "10.3.0"}
    monkeypatch.setattr(suffixes, "library_version", lambda name: found.get(name, UNKNOWN))
    for remembered in (image_suffixes, images._formats):
        remembered.cache_clear()
    yield found
    for remembered in (image_suffixes, images._formats):
        remembered.cache_clear()


def counted(*names: str) -> str:
    passed_over = PassedOver()
    for name in names:
        passed_over.add(name)
    return str(passed_over)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.DNG", "b.dng", "c.CR3"), "1 .cr3, 2 .dng"),
        (("IMG_1.HEIC",) * 1200, "1,200 .heic (where pillow-heif is installed, these are decoded)"),
        (("frame", "frame2", "a.jxl"), "1 .jxl, 2 without a suffix"),
        (("a.txt", "classes.json", "README", "Makefile", ".DS_Store", "Thumbs.db", "a.jpg.txt", "a.xml"), ""),
    ],
)
def test_what_somebody_may_miss_is_counted(names: tuple[str, ...], told: str) -> None:
    assert counted(*names) == told


@pytest.mark.parametrize("name", ["a.jfif", "a.JFIF", "a.jpe", "a.mpo", "a.JPG", "a.Jpeg"])
def test_jpegs_under_all_their_names(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8), (10, 20, 30)).save(tmp_path / name, "JPEG")
    assert list_images(tmp_path) == (name,)
    assert decode(tmp_path / name).shape == (8, 8, 3)


def test_avif_where_pillow_can(tmp_path: Path, versions: dict[str, str]) -> None:
    (tmp_path / "a.avif").touch()
    with pytest.raises(InputError, match=r"no image in this folder; .*; passed over: 1 \.avif"):
        list_images(tmp_path)
    with pytest.raises(InputError, match=r"no image matches; .*; passed over: 1 \.avif"):
        list_sources(tmp_path / "*.avif")
    versions["pillow"] = "11.3.0"
    image_suffixes.cache_clear()
    assert list_images(tmp_path) == ("a.avif",)
    if features.check("avif"):
        Image.new("RGB", (16, 16), (200, 20, 30)).save(tmp_path / "a.avif", quality=100)
        assert np.abs(decode(tmp_path / "a.avif").astype(int) - (200, 20, 30)).max() < 8


def test_heif_where_its_library_is(tmp_path: Path, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not among those of the tests; one that stands for it says in the same way that it is there."""
    assert not {".heic", ".heif"}.intersection(image_suffixes())
    versions["pillow-heif"] = "1.0.0"
    image_suffixes.cache_clear()
    Image.new("RGB", (8, 6), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + (tmp_path / "a.png").read_bytes())
    (tmp_path / "a.png").unlink()
    assert list_images(tmp_path) == ("IMG.HEIC",)

    def register() -> None:
        def opened(file: IO[bytes], name: str) -> Image.Image:
            return Image.open(BytesIO(file.read()[12:]), formats=["PNG"])

        Image.register_open("HEIF", opened, lambda head: head[4:8] == b"ftyp")  # type: ignore[arg-type]

    library = ModuleType("pillow_heif")
    vars(library)["register_heif_opener"] = register
    monkeypatch.setitem(sys.modules, "pillow_heif", library)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    assert decode(tmp_path / "IMG.HEIC").shape == (6, 8, 3)


def test_snapshots_and_lists_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    snapshot = tmp_path / "given/calibration-1.SAFETENSORS"
    snapshot.touch()
    assert list_sources(tmp_path / "given") == (snapshot,)
    image = tmp_path / "a.png"
    image.touch()
    (tmp_path / "photos.TXT").write_text("a.png\n")
    assert list_sources(tmp_path / "photos.TXT") == (tmp_path / "photos.TXT", image)
