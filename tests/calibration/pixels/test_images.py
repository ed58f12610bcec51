"""Decoding: every usual format becomes upright 8-bit RGB, every broken file is named."""

from __future__ import annotations

import errno
import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from build_rules.calibration.pixels import image_file, images
from build_rules.calibration.pixels.image_file import BrokenImageError, open_image
from build_rules.calibration.pixels.images import decode, decoded, measure
from build_rules.errors import InputError
from tests.opens import opens
from tests.shared import SHARED, needs_shared

# A test resets what `images` asks of warnings; that nothing reaches the terminal is tested in a process of its own.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

GRADIENT = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def picture() -> Image.Image:
    return Image.fromarray(GRADIENT)


def measured(path: Path) -> NDArray[np.int64]:
    with open_image(path) as file, decoded(file) as picture:
        return measure(picture)


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


@pytest.mark.parametrize(("level", "grey"), [(0, 0), (0xFFFF, 0xFF), (-1, None), (0x10000, None)])
def test_grey_of_32_bits_may_hold_16(tmp_path: Path, level: int, grey: int | None) -> None:
    path = save(tmp_path / "x.tif", Image.fromarray(np.array([[0x1234, level]], np.int32)))
    if grey is None:
        with pytest.raises(InputError, match="32-bit grey levels"):
            decode(path)
        return
    assert decode(path)[0, :, 0].tolist() == [0x12, grey]


def test_transparency_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([GRADIENT, np.zeros((4, 4), np.uint8)])
    np.testing.assert_array_equal(decode(save(tmp_path / "x.png", Image.fromarray(rgba))), GRADIENT)


@pytest.mark.filterwarnings("error")
def test_a_transparent_palette_keeps_its_colours(tmp_path: Path) -> None:
    image = picture().quantize(16)
    expected = np.asarray(image.convert("RGB"))
    path = save(tmp_path / "x.png", image, transparency=bytes(range(16)))
    np.testing.assert_array_equal(decode(path), expected)


TURNED = {
    1: GRADIENT,
    2: GRADIENT[:, ::-1],
    3: GRADIENT[::-1, ::-1],
    4: GRADIENT[::-1],
    5: GRADIENT.transpose(1, 0, 2),
    6: np.rot90(GRADIENT, -1),
    7: GRADIENT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(GRADIENT),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    ("name", "options"),
    [("x.png", {}), ("x.webp", {"lossless": True}), ("x.tif", {}), ("x.tif", {"compression": "tiff_deflate"})],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, name: str, options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / name, picture(), exif=exif, **options)
    np.testing.assert_array_equal(decode(path), TURNED[orientation])


def with_exif(path: Path, exif: bytes) -> Path:
    """A JPEG with this EXIF segment."""
    content = content_of("JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
    path.write_bytes(content[:2] + segment + content[2:])
    return path


def content_of(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or picture()).save(stream, kind, **options)
    return stream.getvalue()


def tiff_header(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A little-endian TIFF directory of (tag, type, count, value)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


BROKEN_EXIF = {
    "cut": tiff_header((0x0112, 3, 1, 6))[:18],
    "empty": b"",
    "text": b"hello, this is no directory",
    "too many entries": b"II*\0\x08\0\0\0\xff\xff",
    "nowhere": b"II*\0\xff\xff\xff\x7f",
    "of another type": tiff_header((0x0112, 2, 4, 0x36363636)),
    "out of range": tiff_header((0x0112, 3, 1, 9)),
    "a float": tiff_header((0x0112, 11, 1, 0x40C00000)),
    "a loop": tiff_header((0x0112, 3, 1, 1), (0x8769, 4, 1, 8), (0x014A, 4, 1, 8), following=8),
}


@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_a_picture_whose_exif_cannot_be_read_is_taken_as_it_lies(tmp_path: Path, exif: bytes) -> None:
    (tmp_path / "plain.jpg").write_bytes(content_of("JPEG", quality=95))
    np.testing.assert_array_equal(decode(with_exif(tmp_path / "x.jpg", exif)), decode(tmp_path / "plain.jpg"))


def test_a_photograph_with_a_second_one_inside_gives_the_first(tmp_path: Path) -> None:
    other = Image.fromarray(255 - GRADIENT)
    (tmp_path / "plain.jpg").write_bytes(content_of("JPEG"))
    path = save(tmp_path / "x.jpg", picture(), format="MPO", save_all=True, append_images=[other])
    np.testing.assert_array_equal(decode(path), decode(tmp_path / "plain.jpg"))


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_of_several_frames_the_first_is_taken(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (40, 200, 90)]
    options = {"lossless": True} if name.endswith("webp") else {}
    path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert np.unique(decode(path)).tolist() == [40]


# Against OpenCV, with which published snapshots are made.


def as_opencv(path: Path) -> NDArray[np.uint8]:
    cv2 = pytest.importorskip("cv2")
    pixels: NDArray[np.uint8] = cv2.imread(str(path))[..., ::-1]
    return pixels


def scene(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


# What is transparent in a GIF has no colour, and of a TIFF OpenCV multiplies by alpha.
READ_ALIKE = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB"),
    "JPEG": ("L", "RGB"),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in READ_ALIKE.items() for mode in modes])
def test_kinds_and_modes_as_opencv_reads_them(tmp_path: Path, kind: str, mode: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content_of(kind, Image.fromarray(scene()).convert("RGB").convert(mode), lossless=True))
    np.testing.assert_array_equal(decode(path), as_opencv(path))


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_as_opencv_reads_them(tmp_path: Path, name: str, channels: int) -> None:
    cv2 = pytest.importorskip("cv2")
    deep = np.dstack([scene().astype(np.uint16) * 250 + 77, np.full((40, 56), 999, np.uint16)])
    cv2.imwrite(str(tmp_path / name), deep[..., :channels] if channels > 1 else deep[..., 0])
    np.testing.assert_allclose(decode(tmp_path / name), as_opencv(tmp_path / name), atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_as_opencv_reads_them(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.jpg", Image.fromarray(scene()), exif=exif, quality=95)
    np.testing.assert_array_equal(decode(path), as_opencv(path))


@pytest.mark.parametrize("transform", ["CMYK", "YCCK", "unmarked"])
def test_four_colours_as_opencv_reads_them(tmp_path: Path, transform: str) -> None:
    """Adobe writes them inverted, with a marker; without one both readers take them as inverted, too."""
    content = content_of("JPEG", Image.fromarray(scene()).convert("CMYK"), quality=100)
    marker = content.index(b"\xff\xee")
    assert content[marker + 4 : marker + 9] == b"Adobe"
    if transform == "YCCK":
        content = content[: marker + 15] + b"\x02" + content[marker + 16 :]
    elif transform == "unmarked":
        content = content[:marker] + content[marker + 16 :]
    (tmp_path / "x.jpg").write_bytes(content)
    pixels = decode(tmp_path / "x.jpg")
    np.testing.assert_allclose(pixels.astype(int), as_opencv(tmp_path / "x.jpg").astype(int), atol=1)
    if transform == "CMYK":
        np.testing.assert_allclose(pixels.astype(int), scene().astype(int), atol=4)


@needs_shared
def test_photographs_as_opencv_reads_them() -> None:
    for path in sorted((SHARED / "images").glob("*.jpg")):
        difference = np.abs(decode(path).astype(int) - as_opencv(path).astype(int))
        assert difference.max() <= 3, path
        assert difference.mean() < 0.1, path


def test_levels_are_counted_per_channel(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", picture())
    expected = np.stack([np.bincount(GRADIENT[..., channel].ravel(), minlength=256) for channel in range(3)])
    np.testing.assert_array_equal(measured(path), expected)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))


WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    "JPEG, restarts": ("JPEG", {"restart_marker_rows": 1}),
    "PNG": ("PNG", {}),
    "WebP": ("WEBP", {}),
    "WebP, lossless": ("WEBP", {"lossless": True}),
    "GIF": ("GIF", {}),
    "TIFF": ("TIFF", {}),
    "TIFF, deflated": ("TIFF", {"compression": "tiff_deflate"}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "BMP": ("BMP", {}),
    "PPM": ("PPM", {}),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_broken_or_whole_but_never_half(tmp_path: Path, kind: str) -> None:
    """What is missing behind the last pixel does not matter; for one before it nobody may get grey or black."""
    name, options = WHOLE[kind]
    content = content_of(name, noise(), **options)
    path = tmp_path / "x"
    path.write_bytes(content)
    whole, last = decode(path), 0
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(decode(path), whole)
        except BrokenImageError:
            last = length
    assert last > len(content) * 0.98 - 30


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    for name, content in (("empty.png", b""), ("text.jpg", b"hello"), ("zeros.png", bytes(1000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            measured(tmp_path / name)
    with pytest.raises(BrokenImageError, match="empty") as empty:
        decode(tmp_path / "empty.png")
    assert empty.value.reason == "the file is empty"
    again = pickle.loads(pickle.dumps(empty.value))
    assert (str(again), again.reason) == (str(empty.value), empty.value.reason)
    with pytest.raises(
        InputError, match=r"absent\.png: cannot be found \(No such file or directory\); run doit again\.$"
    ):
        decode(tmp_path / "absent.png")
    with pytest.raises(InputError, match="not an image that can be decoded") as caught:
        decode(tmp_path / "text.jpg")
    assert "_io." not in str(caught.value)
    with pytest.raises(InputError, match="not a regular file"):
        decode(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="not a regular file"):
        decode(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    with pytest.raises(InputError, match=r"circle\.png"):
        decode(tmp_path / "circle.png")


def test_a_file_that_may_not_be_read_is_not_called_broken(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", picture())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check its permissions\.$") as caught:
        decode(path)
    assert not isinstance(caught.value, BrokenImageError)


def test_postscript_is_not_even_tried(tmp_path: Path) -> None:
    # Pillow would hand it to an interpreter.
    picture().save(tmp_path / "x.png", format="EPS")
    with pytest.raises(InputError, match="not an image"):
        decode(tmp_path / "x.png")


# Bombs: a few bytes that claim, or cost, far more.


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def bombs() -> dict[str, tuple[bytes, str]]:
    """Files, and what is said of them."""
    zeros = zlib.compress(bytes(100_000_000), 9)
    row = chunk(b"IDAT", zlib.compress(bytes(4 * (4 * 3 + 1))))
    plain = content_of("JPEG")
    slow = content_of("JPEG", progressive=True)
    scan = slow[slow.rindex(b"\xff\xda") : -2]
    segment = b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0," + struct.pack("<HHHH", 0, 0, 65535, 65535)
    bmp = b"BM" + struct.pack("<IHHI", 100, 0, 0, 54)
    strips = ((256, 4, 1, 32), (257, 4, 1, 32), (273, 4, 0x3FFFFFFF, 8))
    return {
        "claim.png": (png(50000, 50000, chunk(b"IDAT", zeros)), "more than 89478485 pixels"),
        "a little too large.png": (png(10000, 10000, chunk(b"IDAT", zeros)), "10000x10000 pixels are more than"),
        "short.png": (png(9000, 9000, row), "truncated"),
        "claim.gif": (gif + b"\0\x02\x01\x00\0;", "more than 89478485 pixels"),
        "claim.bmp": (bmp + struct.pack("<IiiHHIIiiII", 40, 50000, 50000, 1, 24, 0, 0, 0, 0, 0, 0), "more than"),
        "claim.ppm": (b"P6 50000 50000 255\n", "more than"),
        "text.png": (png(4, 4, chunk(b"zTXt", b"key\0\0" + zeros), row), "too large"),
        "profile.png": (png(4, 4, chunk(b"iCCP", b"key\0\0" + zeros), row), "too large"),
        "metadata.jpg": (plain[:2] + segment * 520 + plain[2:], "more than 32 mib of metadata"),
        "padding.jpg": (plain[:2] + b"\xff" * 1_000_000 + plain[2:], "padded without end"),
        "scans.jpg": (slow[:-2] + scan * 250 + slow[-2:], "more than 200 scans"),
        "strips.tif": (tiff_header(*strips), "not an image"),
        "bigtiff.tif": (b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(1000), "not an image"),
    }


def test_bombs_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    program = (
        "import resource, sys, time; from pathlib import Path\n"
        "from build_rules.calibration.pixels.images import decode\n"
        "from build_rules.errors import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    start = time.process_time()\n"
        "    try: decode(path)\n"
        "    except InputError as error: print(error)\n"
        "    assert time.process_time() - start < 2, path\n"
        "    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "    assert grown < 300_000, (path, grown)\n"
    )
    told = bombs()
    for name, (content, _) in told.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in told]
    run = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False)
    assert run.stderr == "", "no warning of Pillow's reaches the terminal"
    for line, (name, (_, words)) in zip(run.stdout.splitlines(), told.items(), strict=True):
        assert line.startswith(str(tmp_path / name))
        assert words in line.lower()


def test_what_pillow_warns_of_does_not_reach_the_terminal(tmp_path: Path) -> None:
    paths = [with_exif(tmp_path / f"{number}.jpg", exif) for number, exif in enumerate(BROKEN_EXIF.values())]
    paths.append(save(tmp_path / "p.png", picture().quantize(16), transparency=bytes(range(16))))
    paths.append(tmp_path / "cut.tif")
    paths[-1].write_bytes(content_of("TIFF")[:150])
    program = (
        "import sys; from pathlib import Path; from build_rules.calibration.pixels.images import decode\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    try: decode(path)\n"
        "    except Exception as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout.count("\n") == 1, run.stdout


@pytest.mark.parametrize("in_memory", [True, False])
def test_digest_and_pixels_are_of_one_file_that_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    path = save(tmp_path / "x.png", picture())
    if not in_memory:
        monkeypatch.setattr(image_file, "IN_MEMORY", path.stat().st_size - 1)
    with opens() as counts, open_image(path) as file:
        save(tmp_path / "new.png", noise()).replace(path)
        with decoded(file) as image:
            np.testing.assert_array_equal(np.asarray(image), GRADIENT)
    assert counts[path] == 1
    assert file.stream.closed
    other = decode(path)
    assert other.shape != GRADIENT.shape


@pytest.mark.parametrize("broken", [False, True])
def test_a_large_file_that_is_written_to_while_it_is_read_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """It is not called broken either: that would be remembered under the digest of the bytes that were there before."""
    path = save(tmp_path / "x.bmp", picture())
    content = path.read_bytes()
    other = b"no image at all" if broken else content[:-1] + b"!"
    monkeypatch.setattr(image_file, "IN_MEMORY", 10)
    with open_image(path) as file:
        path.write_bytes(other)  # in place
        with pytest.raises(InputError, match=r"x\.bmp: changed while it was read") as caught, decoded(file):
            pass
    assert not isinstance(caught.value, BrokenImageError)
    monkeypatch.undo()
    path.write_bytes(content)
    with open_image(path) as file:
        path.write_bytes(other)
        with decoded(file) as image:  # read when it was opened
            np.testing.assert_array_equal(np.asarray(image), GRADIENT)


def test_a_file_without_end_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.png", picture())
    size = path.stat().st_size
    monkeypatch.setattr(image_file, "MAX_FILE_BYTES", size)
    decode(path)
    monkeypatch.setattr(image_file, "MAX_FILE_BYTES", size - 1)
    with pytest.raises(BrokenImageError, match=f"a file of {size} bytes, more than {size - 1}"):
        decode(path)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 15)
    with pytest.raises(InputError, match="4x4 pixels"):
        decode(save(tmp_path / "x.png", picture()))


SMALL = [content_of(kind, noise(), **options) for kind, options in WHOLE.values()]
SMALL += [content_of("TIFF", noise(), compression="packbits"), content_of("PNG", noise().quantize(8), transparency=3)]
SMALL += [
    content_of(kind, noise(), save_all=True, append_images=[noise().rotate(90)])
    for kind in ("GIF", "PNG", "WEBP", "TIFF")
]
POSITION = st.integers(0, 1 << 16)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file in which some bytes are others, or moved, repeated, gone."""
    content = bytearray(draw(st.sampled_from(SMALL)))
    # Most of what a file says of itself is at its beginning.
    reach = draw(st.sampled_from([64, 400, len(content)]))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(POSITION) % min(reach, len(content) or 1)
        end = start + draw(st.integers(0, 8))
        content[start:end] = draw(st.binary(max_size=8) | st.just(bytes(content[start:end]) * 3))
    return bytes(content)


@settings(max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged())
@example(b"\xff\xd8")
@example(b"\xff\xd8\xff")
@example(b"\xff\xd8\xff\xda")
def test_damage_gives_pixels_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with suppress(InputError):
        pixels = decode(path)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)
        assert measured(path).sum() == pixels.size


def test_large_pictures_wait_for_each_other() -> None:
    """However many threads decode, no more than the largest picture allowed is in memory at once."""
    budget, lock = images._Budget(10), threading.Lock()
    held = most = 0

    def decode_one(pixels: int) -> None:
        nonlocal held, most
        with budget.take(pixels):
            with lock:
                held += pixels
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= pixels

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(decode_one, [1, 4, 9, 3, 10, 2, 6] * 8))
    assert 6 < most <= 10
    with budget.take(11):  # never refused: it waits to be alone
        pass


@pytest.mark.parametrize(
    "error",
    [MemoryError(), *(OSError(number, os.strerror(number)) for number in (errno.EIO, errno.EMFILE, errno.ENOMEM))],
)
def test_what_is_not_the_fault_of_the_file_is_not_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Such an image must not be left out for good by a run that skips what is broken."""
    path = save(tmp_path / "x.png", picture())

    def fail(*arguments: object, **options: object) -> Image.Image:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(InputError, match=r"x\.png: cannot be read now") as caught:
        decode(path)
    assert not isinstance(caught.value, BrokenImageError)
