"""`doit cache`: look after the shared cache in a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.commands.command import BuildCommand, show
from build_rules.errors import InputError, printable

if TYPE_CHECKING:
    from build_rules.engine.cache.location import Location
    from build_rules.engine.cache.upkeep import Contents

__all__ = ["Cache"]

DAMAGED = 1
SETTINGS = Path("pyproject.toml")


class Cache(BuildCommand):
    """doit's command `cache`."""

    doc_purpose = "count, shrink or check the shared cache in a folder"
    doc_usage = "[--stats | --prune SIZE | --verify] [DIR]"
    doc_description = (
        "DIR is the cache, by default the one that pyproject.toml names. --stats (what it does without options) counts "
        "results and bytes. --prune 20G removes the least recently used until 20 GiB are left. --verify reads every "
        "file and removes the damaged; exit code 1 when there were any. All of it may run while others build."
    )
    cmd_options = (
        {"name": "stats", "short": "", "long": "stats", "type": bool, "default": False, "help": "count what is in it"},
        {"name": "prune", "short": "", "long": "prune", "type": str, "default": "", "help": "the size to shrink it to"},
        {"name": "verify", "short": "", "long": "verify", "type": bool, "default": False, "help": "read every file"},
    )

    def execute(self, opt_values: Mapping[str, Any], pos_args: Sequence[str]) -> int:
        """As written: a path has no two slashes in a row, an address has."""
        self._places = tuple(pos_args)
        return super().execute(opt_values, pos_args)

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Do one thing to one folder."""
        if sum(map(bool, (options["stats"], options["prune"], options["verify"]))) > 1:
            raise self.usage_error("does one thing at a time: --stats, --prune or --verify.")
        if len(self._places) > 1:
            raise self.usage_error("looks after one cache.")
        folder = self._folder()
        try:
            if options["verify"]:
                return self._verify(folder)
            return self._prune(folder, options["prune"]) if options["prune"] else self._count(folder)
        except OSError as error:
            raise InputError(f"{error.filename or folder}: {error.strerror}; check its permissions.") from error

    def _folder(self) -> Path:
        location = self._location()
        if location.kind == "http":
            raise InputError(
                f"{location} is a server: it counts, shrinks and checks what it keeps by its own settings."
            )
        if location.kind == "bucket":
            raise InputError(f"{location} is a bucket: use the tools of its vendor, and a lifecycle rule to shrink it.")
        folder = Path(location.text)
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder; the first build with cache set to it makes it.")
        return folder

    def _location(self) -> Location:
        from build_rules.engine.cache.location import parse_location

        return parse_location(self._places[0] if self._places else self._configured())

    def _configured(self) -> str:
        from build_rules.toml_table import read_toml

        tool = read_toml(SETTINGS).get("tool") if SETTINGS.is_file() else None
        rules = tool.get("build_rules") if isinstance(tool, dict) else None
        text = rules.get("cache") if isinstance(rules, dict) else None
        if not isinstance(text, str):
            raise self.usage_error(f"no DIR is given, and {SETTINGS} sets no cache under [tool.build_rules].")
        return text

    def _count(self, folder: Path) -> int:
        from build_rules.engine.cache.upkeep import measure

        _show_contents(folder, measure(folder))
        return 0

    def _prune(self, folder: Path, size: str) -> int:
        from build_rules.engine.cache.location import parse_limit
        from build_rules.engine.cache.upkeep import measure, prune

        limit = parse_limit(size)
        before = measure(folder)
        after = prune(folder, limit)
        show(f"removed       {before.bytes - after.bytes} bytes\n")
        _show_contents(folder, after)
        return 0

    def _verify(self, folder: Path) -> int:
        from build_rules.engine.cache.upkeep import verify

        found = verify(folder, lambda line: show(f"{printable(line)}\n"))
        show(
            printable(
                f"{folder}: {found.read} files of {found.bytes} bytes read, {found.damaged} damaged and removed, "
                f"{found.incomplete} results without all of their files removed"
            )
            + "\n"
        )
        return DAMAGED if found.damaged else 0


def _show_contents(folder: Path, found: Contents) -> None:
    lines = [
        ("cache", printable(str(folder))),
        ("results", str(found.actions)),
        ("files", str(found.blobs)),
        ("bytes", str(found.bytes)),
        ("oldest use", _moment(found.oldest)),
        ("newest use", _moment(found.newest)),
    ]
    show("".join(f"{name:12}  {value}\n" for name, value in lines))


def _moment(seconds: float | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
