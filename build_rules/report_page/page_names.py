"""How the files of pages are called, and the links between them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

__all__ = ["HOME", "home_link", "page_file", "page_link"]

HOME = "index.html"
PAGES = "models"
SUFFIX = ".html"


def page_file(model: str) -> Path:
    """Return the file of a model's page, below the report's folder: folders as those of the model.

    A folder that would be called as the page of another model has a `_` behind its name.
    """
    *folders, last = model.split("/")
    named = [f"{folder}_" if folder.endswith(SUFFIX) else folder for folder in folders]
    return Path(PAGES, *named, f"{last}{SUFFIX}")


def page_link(model: str) -> str:
    """Return the link to a model's page from the first one, whatever characters the name has."""
    return quote(os.fsencode(page_file(model).as_posix()))


def home_link(model: str) -> str:
    """Return the link from a model's page to the first one."""
    return "../" * (len(page_file(model).parts) - 1) + HOME
