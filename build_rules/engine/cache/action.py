"""What the cache knows of a step that ran: its outputs by digest, and the inputs it turned out to read.

Stored as an `ActionResult` of Bazel's Remote Execution API, so that servers that check entries (bazel-remote does)
take and keep it: `output_files` 2 {`path` 1, `digest` 2 {`hash` 1, `size_bytes` 2}, `is_executable` 4}, `exit_code` 4,
`stdout_raw` 5. What has no field there is a JSON object in `stdout_raw`. Servers add fields (who uploaded it); those
are passed over. Source: build/bazel/remote/execution/v2/remote_execution.proto in github.com/bazelbuild/remote-apis.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from build_rules.errors import InputError

__all__ = [
    "MAX_BLOB_BYTES",
    "MAX_ENTRY_BYTES",
    "CachedAction",
    "CachedOutput",
    "DamagedError",
    "check_names",
    "decode_action",
    "encode_action",
    "is_digest",
]

FORMAT = 1
MAX_ENTRY_BYTES = 4 << 20
"""An entry of a step with ten thousand calibration images takes a quarter of it."""
MAX_BLOB_BYTES = 64 << 30
"""No compiler writes such a file; an entry that announces one was not made here."""
MAX_OUTPUTS = 1000
MAX_NAME_BYTES = 200

OUTPUT_FILES, EXIT_CODE, STDOUT_RAW = 2, 4, 5
# Folders and links: no step of ours has any, so an entry with one was made for something else.
FOREIGN_FIELDS = {3: "folders", 10: "links", 11: "links", 12: "links"}
PATH, DIGEST = 1, 2
HASH, SIZE_BYTES = 1, 2


class DamagedError(Exception):
    """What the cache answered is not what was stored there, or was never ours. The text says in what way."""


@dataclass(frozen=True)
class CachedOutput:
    """One output: file name (never a path), SHA-256 in lower-case hex, size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class CachedAction:
    """A step that succeeded.

    `discovered` are (path, SHA-256) of the files that it read without having declared them: an entry is only right
    where they have the same content, and it is the caller who looks; the cache opens none of them. `seconds` is how
    long the step took where it ran.
    """

    outputs: tuple[CachedOutput, ...]
    discovered: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of all outputs."""
        return sum(output.size for output in self.outputs)


def is_digest(text: object) -> bool:
    """Say whether this is a SHA-256 as the cache spells it: 64 lower-case hex digits."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _is_plain_name(name: str) -> bool:
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        return False
    return len(name.encode(errors="surrogatepass")) <= MAX_NAME_BYTES


def _is_path(path: object) -> bool:
    try:
        return isinstance(path, str) and b"\0" not in os.fsencode(path) and path != ""
    except UnicodeEncodeError:
        return False


def _check(action: CachedAction) -> CachedAction:
    """Return the action. Raises `DamagedError` for what no step of ours produces."""
    if not 1 <= len(action.outputs) <= MAX_OUTPUTS:
        raise DamagedError(f"it has {len(action.outputs)} outputs")
    for output in action.outputs:
        if not _is_plain_name(output.name):
            raise DamagedError(f"{output.name!r} is not a plain file name")
        if not is_digest(output.sha256):
            raise DamagedError(f"the digest of {output.name} is not 64 hex digits")
        if not 0 <= output.size <= MAX_BLOB_BYTES:
            raise DamagedError(f"{output.name} is announced with {output.size} bytes")
    if len({output.name for output in action.outputs}) < len(action.outputs):
        raise DamagedError("two outputs have one name")
    if action.size > MAX_BLOB_BYTES:
        raise DamagedError(f"its outputs are announced with {action.size} bytes")
    if not all(_is_path(path) and is_digest(sha256) for path, sha256 in action.discovered):
        raise DamagedError("a discovered input has no path or no digest")
    if not (math.isfinite(action.seconds) and action.seconds >= 0):
        raise DamagedError("its duration is no number of seconds")
    return action


def check_names(action: CachedAction, outputs: Collection[str]) -> None:
    """Raise `DamagedError` unless the action has all of `outputs`, and besides only files that extend one of them.

    `split.onnx.data` extends `split.onnx`; steps may write such files without having declared them.
    """
    names = {output.name for output in action.outputs}
    if missing := sorted(set(outputs) - names):
        raise DamagedError(f"it lacks {', '.join(missing)}")
    further = names - set(outputs)
    if unknown := sorted(name for name in further if not any(name.startswith(f"{output}.") for output in outputs)):
        raise DamagedError(f"it has {', '.join(unknown)}, which the step does not write")


def encode_action(action: CachedAction) -> bytes:
    """Return the serialized `ActionResult`. Raises `ValueError` for an action that no reader would take."""
    try:
        _check(action)
    except DamagedError as error:
        raise ValueError(f"this action cannot be stored: {error}") from error
    # Not at the top, here and below: a build with nothing to do asks for no entry.
    from build_rules.protobuf import write_bytes, write_string, write_uint

    files = []
    for output in action.outputs:
        digest = write_string(HASH, output.sha256) + write_uint(SIZE_BYTES, output.size)
        files.append(write_bytes(OUTPUT_FILES, write_string(PATH, output.name) + write_bytes(DIGEST, digest)))
    # Sorted and without blanks: the same step gives the same bytes everywhere.
    extra = {"format": FORMAT, "discovered": action.discovered, "seconds": action.seconds}
    text = json.dumps(extra, sort_keys=True, separators=(",", ":"))
    encoded = b"".join(files) + write_bytes(STDOUT_RAW, text.encode())
    if len(encoded) > MAX_ENTRY_BYTES:
        raise ValueError(f"this action cannot be stored: its entry would take {len(encoded)} bytes")
    return encoded


def decode_action(data: bytes) -> CachedAction:
    """Read a serialized `ActionResult` from anywhere. Raises `DamagedError`, and nothing else."""
    from build_rules.protobuf import Message

    try:
        message = Message(data, "entry")
        if message.uint64(EXIT_CODE):
            raise DamagedError("it is of a step that failed")
        if foreign := [what for number, what in FOREIGN_FIELDS.items() if message.has(number)]:
            raise DamagedError(f"it has {foreign[0]} among its outputs")
        outputs = []
        for file in message.messages(OUTPUT_FILES):
            digest = file.message(DIGEST)
            outputs.append(CachedOutput(file.string(PATH), digest.string(HASH), digest.uint64(SIZE_BYTES)))
        raw = message.raw(STDOUT_RAW)
    except InputError as error:
        raise DamagedError("it is not an ActionResult") from error
    return _check(_with_extra(tuple(outputs), raw))


def _with_extra(outputs: tuple[CachedOutput, ...], raw: bytes) -> CachedAction:
    try:
        extra: Any = json.loads(raw)
        if extra["format"] != FORMAT:
            raise DamagedError(f"it has format {extra['format']!r}, this version reads {FORMAT}")
        discovered = tuple((path, sha256) for path, sha256 in extra["discovered"])
        seconds = float(extra["seconds"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedError("what is said of its inputs cannot be read") from error
    return CachedAction(outputs, discovered, seconds)
