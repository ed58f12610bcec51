"""Where models lie: the folders below `models/` that are one, and what they are called."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from build_rules.errors import InputError
from build_rules.regular_file import unwatched

__all__ = ["DECLARATION", "ModelFolder", "find_models", "network_name"]

DECLARATION = "model.toml"
EXPORT = ".onnx"
MAX_NETWORK_NAME = 114
"""Characters: HailoRT takes 127 bytes for the name of a stream, and that is the network's name and `/input_layer1`."""
MAX_LINKED = 1000
"""How many folders are searched behind a link: one that leads to the root of a disk is a mistake, or worse."""
ADVICE = "link the folders of the models themselves"


@dataclass(frozen=True)
class ModelFolder:
    """A folder that is a model, or that nobody can tell; `fault` says what is wrong with it, None when nothing is.

    `exports` are the names of its ONNX files. `name` is its path below the root, each character that no task can carry
    written as `%` and the hexadecimal digits of its bytes: no other model is called that.
    """

    folder: Path
    name: str
    exports: tuple[str, ...] = ()
    fault: str | None = None


@dataclass
class _Link:
    """A link to a folder, and how many folders have been searched behind it."""

    path: Path
    searched: int = 0


@dataclass(frozen=True)
class _Place:
    """A folder that is to be searched, and the way to it, links resolved: where it began, and where a link was taken.

    `behind` is the last of these links, None when there was none.
    """

    folder: Path
    begun: frozenset[str]
    left: frozenset[str] = frozenset()
    behind: _Link | None = None


class _Search:
    """The search of one root. Folders behind a link are searched once each, and no link leads round in a circle."""

    def __init__(self, root: Path, watch: Callable[[Path], None]) -> None:
        self._root = root
        self._watch = watch
        self._reached: dict[str, Path] = {}

    def search(self, place: _Place) -> tuple[list[ModelFolder], list[_Place]]:
        """Return the models that are found in a folder, and the folders to be searched next, in order of name."""
        folder = place.folder
        self._watch(folder)
        try:
            with os.scandir(folder) as entries:
                listing = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == self._root:
                raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions.") from error
            return [self._faulty(folder, f"cannot be read ({error.strerror}); check its permissions.")], []
        exports = tuple(e.name for e in listing if _is_export(e.name) and not e.is_dir(follow_symlinks=False))
        if folder != self._root and (exports or any(e.name == DECLARATION for e in listing)):
            return [self._model(folder, exports)], []
        if meant := next((e.name for e in listing if e.name.lower() == DECLARATION), None):
            return [self._faulty(folder, f"holds {meant}, which only {DECLARATION} is read as; rename that file.")], []
        if place.behind is not None and (refused := self._refused(place, place.behind)) is not None:
            return refused, []
        faulty, inner = [], []
        for entry in listing:
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                inner.append(replace(place, folder=path))
            elif entry.is_symlink():
                further = self._behind_link(path, place)
                if isinstance(further, ModelFolder):
                    faulty.append(further)
                elif further is not None:
                    inner.append(further)
        return faulty, inner

    def _refused(self, place: _Place, link: _Link) -> list[ModelFolder] | None:
        """Return what to tell when a folder behind a link is not searched, None when it is."""
        link.searched += 1
        if link.searched > MAX_LINKED:
            reason = f"a link that leads to more than {MAX_LINKED} folders; {ADVICE}."
            if link.path == self._root:
                raise InputError(f"{link.path}: {reason}")
            return [self._faulty(link.path, reason)] if link.searched == MAX_LINKED + 1 else []
        other = self._reached.setdefault(os.path.realpath(place.folder), place.folder)
        if other != place.folder:
            return [
                self._faulty(place.folder, f"leads to the same folder as {other}, whose models are there; {ADVICE}.")
            ]
        return None

    def _behind_link(self, path: Path, place: _Place) -> _Place | ModelFolder | None:
        """Return the folder that a link leads to; None when that is a file, or is being searched already."""
        try:
            if not stat.S_ISDIR(path.stat().st_mode):
                return None
        except OSError as error:
            with suppress(OSError):  # of a place like /proc not even that may be asked
                return self._faulty(
                    path, f"a link to {path.readlink()}, which cannot be reached ({error.strerror}); mend or remove it."
                )
            return self._faulty(path, f"a link that cannot be read ({error.strerror}); mend or remove it.")
        real = os.path.realpath(path)
        left = place.left | {os.path.realpath(place.folder)}
        if any(_is_within(one, real) for one in left):
            if any(_is_within(real, one) for one in place.begun):
                return None
            return self._faulty(path, f"a link to {real}, in which it lies itself; {ADVICE}.")
        return _Place(path, place.begun | {real}, left, _Link(path))

    def _faulty(self, folder: Path, fault: str) -> ModelFolder:
        return ModelFolder(folder, _encoded(folder.relative_to(self._root).as_posix()), (), f"{folder}: {fault}")

    def _model(self, folder: Path, exports: tuple[str, ...]) -> ModelFolder:
        name = folder.relative_to(self._root).as_posix()
        fault = _name_fault(name)
        return ModelFolder(folder, name, exports) if fault is None else self._faulty(folder, fault)


def find_models(root: Path, watch: Callable[[Path], None] = unwatched) -> Iterator[ModelFolder]:
    """Yield every model folder below `root`, in order of name, and those of which nobody can tell.

    `watch` is told of every folder just before it is searched. Folders inside a model belong to it and are not
    searched; hidden folders are skipped. A link to a folder stands for that folder; one that leads back to where it
    lies is passed over. Raises `InputError` when `root` itself cannot be read, or is a link to far too much.
    """
    search = _Search(root, watch)
    behind = _Link(root) if root.is_symlink() else None
    pending = [_Place(root, frozenset({os.path.realpath(root)}), behind=behind)]
    while pending:
        models, inner = search.search(pending.pop())
        yield from models
        pending += reversed(inner)


def _is_within(path: str, folder: str) -> bool:
    return f"{path}{os.sep}".startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def network_name(name: str) -> str:
    """Return the last part of a model's name with only letters, digits, `_` and `-`, as compilers take it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name.rsplit("/", 1)[-1])


def _is_export(name: str) -> bool:
    return name.lower().endswith(EXPORT)


def _is_usual(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "_./+@ -"
    import unicodedata

    # Marks are what many scripts write vowels with.
    return character.isalnum() or unicodedata.category(character).startswith("M")


def _name_fault(name: str) -> str | None:
    """Return why a model cannot be called that, None when it can."""
    if not name.isascii():
        import unicodedata

        composed = unicodedata.normalize("NFC", name)
        if composed != name:
            return (
                "its name is spelled with letters and accents apart (Unicode NFD, as some archives and file systems "
                f"write names), so that nobody can type it; rename the folder to {composed} (NFC)."
            )
    parts = name.split("/")
    if not all(map(_is_usual, name)) or any(part.startswith("-") for part in parts):
        return (
            "a model's folder name becomes part of task names, so it may hold letters, digits, blanks and ._-+@ "
            "only, and not begin with -; rename the folder."
        )
    if len(parts[-1]) > MAX_NETWORK_NAME:
        return (
            f"its name has {len(parts[-1])} characters, and a compiled file has room for {MAX_NETWORK_NAME}; "
            "rename the folder."
        )
    return None


def _encoded(name: str) -> str:
    """Return a name that tasks can carry and that no sound one is equal to."""
    safe = "".join(c if _is_usual(c) else "".join(f"%{byte:02X}" for byte in os.fsencode(c)) for c in name)
    parts = [f"%2D{part[1:]}" if part.startswith("-") else part for part in safe.split("/")]
    return "/".join(parts)
