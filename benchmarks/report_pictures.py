"""The screenshots of the manual: `doit && doit report`, then `python -m benchmarks.report_pictures`. Needs Chromium."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tests.report_page.chromium import browser

REPORT, IMAGES = Path("build/report"), Path("docs/images")
PICTURES = {
    "report-index.png": (REPORT / "index.html", 1100, 640, False),
    "report-model.png": (REPORT / "models/shapes-det.html", 1100, 1150, False),
    "report-dark.png": (REPORT / "models/shapes-attn.html", 420, 900, True),
}


def main() -> None:
    """Take the pictures, in 128 colours so that they are small."""
    IMAGES.mkdir(exist_ok=True)
    with browser() as chromium:
        for name, (page, width, height, dark) in PICTURES.items():
            chromium.open(page, width, dark=dark, height=height)
            picture = Image.open(io.BytesIO(chromium.picture((0, 0, width, height))))
            picture.convert("RGB").quantize(128).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
