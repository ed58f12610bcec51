"""One run of the worker, from its settings to what it made."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.compilers.dfc.dfc_worker import GREETING
from build_rules.compilers.dfc.launch.child import Child, Ended, NotStartedError
from build_rules.compilers.dfc.launch.image import find_image
from build_rules.compilers.dfc.launch.lines import BoundedText
from build_rules.compilers.dfc.launch.outcome import failure_of, start_failure
from build_rules.compilers.dfc.launch.run_folder import (
    LOG_HEAD,
    LOG_TAIL,
    SOURCE,
    OutputError,
    joined_logs,
    keep,
    making_run_folder,
    publish,
    read_result,
)
from build_rules.compilers.dfc.launch.start import REQUEST, Start, environment_here, plan_start
from build_rules.compilers.dfc.launch.tar_stream import TarError, send, unpack
from build_rules.compilers.dfc.launch.work import Done, Work, WorkerFailure

__all__ = ["run_worker"]

FULL = (errno.ENOSPC, errno.EDQUOT)


def run_worker(dfc: DfcSettings, work: Work, progress: Callable[[str], None]) -> Done:
    """Run one action where the settings say, and put its outputs into place.

    `progress` gets every line that it prints, from this thread. Raises `WorkerFailure`, and writes nothing then but
    `work.kept`; also whatever `progress` raises, after which nothing of the run is left.
    """
    if dfc.python is None and dfc.image is None and not dfc.command:
        raise WorkerFailure("start", "nothing says where the compiler is: give one of python, image and command")
    image = "" if dfc.image is None else find_image(dfc.runner, dfc.image, environment_here())
    try:
        with making_run_folder(work) as run:
            return _Run(dfc, work, run, image, progress).done()
    except OSError as error:
        if error.errno in FULL:
            raise WorkerFailure("disk", f"{error.filename or 'the folder of the run'}: {error.strerror}") from error
        raise


class _Run:
    """One run and what it has told so far."""

    def __init__(self, dfc: DfcSettings, work: Work, run: Path, image: str, progress: Callable[[str], None]) -> None:
        self._work, self._run, self._image, self._progress = work, run, image, progress
        self._limit = dfc.step_seconds if work.limit is None else work.limit
        self._nonce = secrets.token_hex(16)
        self._start = plan_start(dfc, work, run, self._nonce, image)
        self._printed = BoundedText(LOG_HEAD, LOG_TAIL)
        self._complaints = BoundedText(0, LOG_HEAD)
        self._has_begun = False

    def done(self) -> Done:
        """Run it; raises `WorkerFailure`."""
        (self._run / REQUEST).write_text(self._request_text(), encoding="utf-8")
        try:
            try:
                ended = self._child().run()
            except NotStartedError as error:
                raise start_failure(self._start, error.error) from error
            return self._finish(ended)
        except WorkerFailure as failure:
            failure.log = joined_logs(self._run, self._printed.text)
            if self._work.kept is not None:
                failure.kept = keep(self._run, self._work.kept, self._printed.text)
            raise

    def _request_text(self) -> str:
        start = self._start
        request = {
            **{"nonce": self._nonce, "action": self._work.action, "settings": dict(self._work.settings)},
            **{"inputs": dict(start.inputs), "outputs": dict(start.outputs)},
            **{"environment": {**start.environment, "PYTHONUNBUFFERED": "1"}, "gpus": start.gpus},
        }
        return json.dumps(request)

    def _child(self) -> Child:
        is_streamed = self._start.is_streamed
        return Child(
            self._start.command,
            environment_here(),
            *(self._hear, self._hear_error),
            lambda: self._has_begun,
            self._limit,
            patience=self._start.patience,
            kill=self._start.kill,
            feed=self._feed if is_streamed else None,
            mark=f"\n{GREETING}{self._nonce}\n".encode() if is_streamed else b"",
            returned=self._run / "returned.tar" if is_streamed else None,
        )

    def _hear(self, line: str, stays: bool) -> None:
        if line.endswith(f"{GREETING}{self._nonce}"):
            self._has_begun = True
            return
        if stays:
            self._printed.add(line)
        self._progress(line)

    def _hear_error(self, line: str, stays: bool) -> None:
        self._complaints.add(line)
        self._hear(line, stays)

    def _feed(self, stream: IO[bytes]) -> None:
        send(stream, SOURCE, self._run / REQUEST, self._work.inputs)

    def _finish(self, ended: Ended) -> Done:
        if self._start.is_streamed and not ended.cut and (self._run / "returned.tar").stat().st_size:
            try:
                unpack(self._run / "returned.tar", self._run)
            except TarError as error:
                raise WorkerFailure("garbage", f"what it sent back cannot be used: {error}") from error
        result = read_result(self._run, self._nonce)
        failure = failure_of(
            *(self._start, ended, result),
            has_begun=self._has_begun,
            printed=self._complaints.text or self._printed.text[-LOG_TAIL:],
            limit=self._limit,
        )
        if failure is not None:
            raise failure
        assert result is not None
        log = joined_logs(self._run, self._printed.text)
        try:
            publish(self._run, self._work.outputs, log, self._work.log)
        except OutputError as error:
            raise WorkerFailure("garbage", str(error)) from error
        environment = _with_image(result["environment"], self._image)
        return Done(environment, _facts(result["facts"], self._start, self._image), log)


def _with_image(environment: Mapping[str, str], image: str) -> dict[str, str]:
    if not image:
        return dict(environment)
    text = f"{environment['digest']}\n{image.removeprefix('sha256:')}"
    return {**environment, "digest": hashlib.sha256(text.encode()).hexdigest(), "image": image}


def _facts(facts: Mapping[str, Any], start: Start, image: str) -> dict[str, Any]:
    """Return facts, with what is known on this side: files of another machine have no marks here."""
    own: dict[str, Any] = {}
    if "files" in facts:
        told = facts["files"] if start.place == "python" and isinstance(facts["files"], list) else []
        own = {"place": start.place, "image": image, "files": [path for path in told if isinstance(path, str)]}
    return {**facts, **own}
