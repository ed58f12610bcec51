"""Where the shared cache is, as `[tool.build_rules]` says it: a folder, an HTTP server or a bucket."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote, unquote, urlsplit

from build_rules.errors import InputError

__all__ = ["MODES", "CacheSettings", "Location", "Mode", "parse_limit", "parse_location", "parse_settings"]

Mode = Literal["read-only", "read-write"]
MODES: tuple[Mode, ...] = get_args(Mode)

EXPECTED = 'a folder, "http://HOST:PORT[/PREFIX]", "https://...", "s3://BUCKET[/PREFIX]", "gs://..." or "az://..."'
USER, PASSWORD = "BUILD_RULES_CACHE_USER", "BUILD_RULES_CACHE_PASSWORD"
_BUCKETS = ("s3", "gs", "az")
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class Location:
    """A place that `text` says, as a path or an URL without credentials: it may be printed.

    `authorization` is the value of HTTP's header of that name, empty where there is none; it is never printed.
    """

    kind: Literal["folder", "http", "bucket"]
    text: str
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.text


class CacheSettings(NamedTuple):
    """Where results are shared; `limit` is in bytes."""

    location: Location
    mode: Mode
    limit: int | None


def parse_settings(location: str, mode: str, limit: str | None) -> CacheSettings:
    """Read the keys `cache`, `cache_mode` and `cache_limit`. Raises `InputError`."""
    parsed = parse_location(location)
    try:
        size = None if limit is None else parse_limit(limit)
    except InputError as error:
        raise error.within("cache_limit") from error
    return CacheSettings(parsed, "read-only" if mode == "read-only" else "read-write", size)


def parse_location(text: str) -> Location:
    """Read the `cache` key. Nothing is opened. Raises `InputError`, in which no password is repeated.

    The user and password for an HTTP server are those in the URL, or else in the environment. A folder is relative to
    the repository; `~` is the home folder.
    """
    scheme, marked, rest = text.partition("://")
    if not marked or "/" in scheme:
        return _folder(text)
    # Whatever stands before the last @ may be a password, however it is spelled; so may what follows a ? or #.
    shown = f"{scheme}://{re.split('[?#]', rest.rsplit('@', 1)[-1], maxsplit=1)[0]}"
    if not shown.isprintable() or " " in shown:
        raise _refusal(shown, "has blanks or characters that do not print")
    if scheme in ("http", "https"):
        return _server(text, shown)
    if scheme in _BUCKETS:
        return _bucket(text, shown)
    raise _refusal(shown, f"begins with {scheme}://")


def _folder(text: str) -> Location:
    if not text.strip() or "\0" in text:
        raise _refusal(text, "is empty or no path")
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", text):
        raise InputError(f'cache = "{text}" is not possible: it looks like a server; write "http://{text}".')
    folder = os.path.expanduser(text)
    # Without HOME, or of a user who is not there, it stays as it is; with an empty HOME it would lie in the root.
    if text.startswith("~") and (folder.startswith("~") or not os.environ.get("HOME", "unset")):
        raise InputError(
            f'cache = "{text}" is not possible: nobody knows the home folder of {text.partition("/")[0]} here; '
            "set HOME, or write the whole path."
        )
    return Location("folder", folder)


def _server(text: str, shown: str) -> Location:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Its text may quote a part of the password.
        raise _refusal(shown, "is no URL (a password with / ? # @ or : has them written as %2F and so on)") from None
    if not host or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise _refusal(shown, "names no host, or has a query")
    place = f"[{host}]" if ":" in host else host
    url = f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{quote(parts.path.rstrip('/'), safe='/%')}"
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
    else:
        user, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    return Location("http", url, _basic(user, password))


def _basic(user: str, password: str) -> str:
    """Return HTTP's Basic credentials (RFC 7617); empty when there are none."""
    if not user and not password:
        return ""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _bucket(text: str, shown: str) -> Location:
    if "@" in text or "?" in text or "#" in text:
        raise _refusal(shown, "carries credentials or a query; those of a bucket come from the environment")
    if not shown.partition("://")[2].partition("/")[0]:
        raise _refusal(shown, "names no bucket")
    return Location("bucket", shown.rstrip("/"))


def _refusal(shown: str, why: str) -> InputError:
    return InputError(f'cache = "{shown}" is not possible: it {why}; expected {EXPECTED}.')


def parse_limit(text: str) -> int:
    """Read a size such as `20G` (also K, M, T, of 1024 each; a plain number is bytes); return bytes."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    size = round(float(match[1]) * (1 << _UNITS[match[2].upper()])) if match else 0
    if size < 1:
        raise InputError(f'the size "{text}" is not possible; expected a number with K, M, G or T, such as "20G".')
    return size
