"""Decoding: every usual format becomes upright 8-bit RGB, every broken file is named."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from build_rules.calibration import images
from build_rules.calibration.images import count_levels, decode
from build_rules.errors import InputError

GRADIENT = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def picture() -> Image.Image:
    return Image.fromarray(GRADIENT)


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tiff", "x.ppm", "x.webp"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    np.testing.assert_array_equal(decode(save(tmp_path / name, picture(), **options)), GRADIENT)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.full((4, 6), 255, np.uint8)
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 6), 0xFFFF, np.uint16))
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    pixels = decode(save(tmp_path / "x.tif", image))
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() >= 254


def test_sixteen_bit_grey_keeps_the_upper_byte(tmp_path: Path) -> None:
    levels = np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)
    pixels = decode(save(tmp_path / "x.png", Image.fromarray(levels)))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 0x12, 0xFF]


def test_transparency_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([GRADIENT, np.zeros((4, 4), np.uint8)])
    np.testing.assert_array_equal(decode(save(tmp_path / "x.png", Image.fromarray(rgba))), GRADIENT)


@pytest.mark.filterwarnings("error")
def test_a_transparent_palette_keeps_its_colours(tmp_path: Path) -> None:
    image = picture().quantize(16)
    expected = np.asarray(image.convert("RGB"))
    path = save(tmp_path / "x.png", image, transparency=bytes(range(16)))
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize(
    ("orientation", "turned"), [(1, GRADIENT), (3, GRADIENT[::-1, ::-1]), (6, np.rot90(GRADIENT, -1))]
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turned: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(save(tmp_path / "x.png", picture(), exif=exif)), turned)


def test_levels_are_counted_per_channel(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", picture())
    expected = np.stack([np.bincount(GRADIENT[..., channel].ravel(), minlength=256) for channel in range(3)])
    np.testing.assert_array_equal(count_levels(path), expected)


def noise(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return save(path, Image.fromarray(pixels))


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.bmp", "x.gif", "x.tif", "x.webp"])
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    path = noise(tmp_path / name)
    content = path.read_bytes()
    for kept in (len(content) // 2, 20):
        path.write_bytes(content[:kept])
        with pytest.raises(InputError, match=name):
            decode(path)


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    for name, content in (("empty.png", b""), ("text.jpg", b"hello"), ("zeros.png", bytes(1000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            count_levels(tmp_path / name)
    with pytest.raises(InputError, match="empty"):
        decode(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"absent\.png: there is no such file\.$"):
        decode(tmp_path / "absent.png")
    with pytest.raises(InputError, match="not an image that can be decoded") as caught:
        decode(tmp_path / "text.jpg")
    assert "_io." not in str(caught.value)
    with pytest.raises(InputError, match="not a regular file"):
        decode(tmp_path)


def test_postscript_is_not_even_tried(tmp_path: Path) -> None:
    # Pillow would hand it to an interpreter.
    picture().save(tmp_path / "x.png", format="EPS")
    with pytest.raises(InputError, match="not an image"):
        decode(tmp_path / "x.png")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 15)
    with pytest.raises(InputError, match="4x4 pixels"):
        decode(save(tmp_path / "x.png", picture()))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_gives_pixels_or_an_input_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in ("x.jpg", "x.png", "x.tif", "x.gif"):
        content = noise(tmp_path / name).read_bytes()
        for _ in range(40):
            damaged = bytearray(content)
            for position in rng.integers(0, min(len(content), 400), 4):
                damaged[position] = int(rng.integers(0, 256))
            (tmp_path / name).write_bytes(bytes(damaged))
            with suppress(InputError):
                assert decode(tmp_path / name).shape[2] == 3
