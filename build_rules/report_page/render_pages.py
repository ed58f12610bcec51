"""Views to HTML, by the templates beside this file.

Autoescape is on for all of them, and nothing in a template switches it off: names, labels and messages come from files
of any origin. A page may load nothing and run no script but its own, whose digest its policy names, so that markup that
came through all the same would do nothing either.
"""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.errors import InputError
from build_rules.report_page.plots import HEIGHT, WIDTH
from build_rules.report_page.views import IndexView, ModelView

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TEMPLATES", "check_renderer", "is_made_from", "render_index", "render_model"]

TEMPLATES = Path(__file__).parent / "templates"
HEAD = 1024
"""Bytes in which a page has said what it is made from."""
SHOWN_AT_ONCE = 4
"""Images with objects that are seen without a click: those in which most differs."""
MISSING = "doit report makes its pages with Jinja2, which is not installed; pip install 'hailo-build-rules[report]'."


def check_renderer() -> None:
    """Raise `InputError` where Jinja2 is missing."""
    _environment()


def render_index(view: IndexView) -> str:
    """Return the first page. Raises `InputError` where Jinja2 is missing."""
    return _page("index.html.j2", view, TEMPLATES / "sort.js")


def render_model(view: ModelView, key: str = "") -> str:
    """Return the page of a model, which says by `key` what it was made from. Raises as `render_index` does."""
    return _page("model.html.j2", view, None, key)


def is_made_from(page: Path, key: str) -> bool:
    """Say whether a page is there that says so by its `key`."""
    try:
        with page.open("rb") as stream:
            return f'content="{key}"'.encode() in stream.read(HEAD)
    except OSError:
        return False


def _page(template: str, view: IndexView | ModelView, script: Path | None, key: str = "") -> str:
    environment = _environment()
    code = "" if script is None else script.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    policy += f"; script-src 'sha256-{digest}'" if code else ""
    return environment.get_template(template).render(page=view, script=_trusted(code), policy=policy, key=key)


def _trusted(code: str) -> str:
    """Return the script of ours, which is no text to escape."""
    from markupsafe import Markup

    return Markup(code)


@cache
def _environment() -> Environment:
    try:
        import jinja2
    except ImportError as error:
        raise InputError(MISSING) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "size": _size,
        "share": _share,
        "number": _number,
        "time": _time,
        "fixed": _fixed,
        "short": _short,
    }
    environment.globals |= {"PLOT_WIDTH": WIDTH, "PLOT_HEIGHT": HEIGHT, "SHOWN_AT_ONCE": SHOWN_AT_ONCE}
    return environment


def _shown(value: Any) -> Any:
    """Return text that UTF-8 can hold: names of files may hold bytes that are none."""
    if type(value) is str and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value


def _size(count: int | None) -> str:
    """Return bytes for people."""
    if count is None:
        return "–"
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f} %"


def _short(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.6g}"


def _number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many decimals; a dash for what is not known."""
    return "–" if value is None or math.isnan(value) else "∞" if math.isinf(value) else f"{value:.{digits}f}"


def _fixed(value: float) -> str:
    """Return a coordinate as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _time(seconds: int | None) -> str:
    """Return what a time is below, for people."""
    if seconds is None:
        return "–"
    return (
        f"< {seconds} s" if seconds < 60 else f"< {seconds // 60} min" if seconds < 3600 else f"< {seconds // 3600} h"
    )
