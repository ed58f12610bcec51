"""What a runner holds: a network as the HAR that it would be saved as, its state and its model script."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import logs, renaming
from ..behaviour import read_behaviour
from ..data import Rows, read_rows
from ..exceptions import make
from ..exposed_definitions import HW_ARCHS, States
from ..hailo_nn import HailoNN
from ..har import Archive
from ..script_commands import COMPILE_STAGE, check
from ..script_parser import Statement, parse
from .states import FLOAT, PARSED, allowed_states

__all__ = ["Held", "source_layer"]


class Held:
    """The part of `ClientRunner` that keeps, reads and writes a network."""

    def __init__(self, hw_arch: str | None = None, hw_type: str | None = None, har: str | Path | None = None) -> None:
        self._behaviour = read_behaviour()
        if hw_arch is not None and hw_arch not in HW_ARCHS:
            raise make(
                "InvalidArgumentsException", f"Unsupported hw_arch {hw_arch!r}; choose from {', '.join(HW_ARCHS)}"
            )
        self._hw_arch = hw_arch
        self._archive = Archive("", {})
        self._state = States.UNINITIALIZED
        self._statements: list[Statement] = []
        self._behaviour.reach("init")
        if har is not None:
            self.load_har(har)
        self._behaviour.check_licence(self.hw_arch)

    @property
    def hw_arch(self) -> str:
        """The chip that was asked for, else the HAR's, else a Hailo-8."""
        return self._hw_arch or str(self._archive.document(".metadata.json").get("hw_arch") or HW_ARCHS[0])

    @property
    def state(self) -> States:
        return self._state

    @property
    def model_name(self) -> str:
        return self._archive.name

    @property
    def model_script(self) -> str:
        return self._archive.members.get(".alls", b"").decode("utf-8")

    @property
    def hef(self) -> bytes | None:
        return self._archive.members.get(".hef")

    @property
    def _hn(self) -> HailoNN:
        return self.get_hn_model()

    @property
    def modifications_meta_data(self) -> Any:
        return SimpleNamespace(inputs={}, outputs={}, lib_params={})

    @property
    def _original_model_meta(self) -> dict[str, Any]:
        return self._archive.document(".original_model_meta.json")

    @allowed_states(*PARSED)
    def get_hn(self) -> Any:
        """Return the HN as a dictionary of the caller's own."""
        return json.loads(self._archive.members[".hn"].decode("utf-8"), object_pairs_hook=OrderedDict)

    def get_hn_dict(self) -> Any:
        return self.get_hn()

    def get_hn_model(self) -> HailoNN:
        return HailoNN(self.get_hn())

    def get_native_hn_model(self) -> HailoNN:
        return HailoNN(self._archive.document(".double.json").get("native_hn") or self.get_hn())

    @allowed_states(*PARSED)
    def get_params(self, keys: Any = None) -> dict[str, Any]:
        """Return the native weights, by names such as `net/conv1/kernel:0`."""
        with np.load(io.BytesIO(self._archive.members[".npz"])) as stored:
            return {name: stored[name] for name in (keys or stored.files)}

    @allowed_states(*PARSED)
    def set_hn(self, hn: Any) -> None:
        """Take another HN: the same layers in the same order, under other names."""
        document = json.loads(hn) if isinstance(hn, str) else hn
        names = renaming.new_names(self.get_hn(), document)
        self._remember("names", renaming.chain(self._archive.document(".double.json").get("names", {}), names))
        self._archive.put(".hn", document)

    @allowed_states(*PARSED)
    def load_params(self, params: Any, params_kind: Any = None) -> None:
        """Take native weights: a path of an `.npz` or a dictionary, under the names of the HN."""
        given = dict(np.load(str(params))) if isinstance(params, (str, Path)) else dict(params)
        renaming.check_values(self.get_params(), given)
        buffer = io.BytesIO()
        np.savez(buffer, **given)
        self._archive.members[".npz"] = buffer.getvalue()

    @allowed_states(*PARSED)
    def load_model_script(self, model_script: str | Path | None = None, append: bool = False) -> None:
        """Take a model script, a path or its text, in place of the one before or behind it."""
        if model_script is None:
            raise make("InvalidArgumentsException", "load_model_script takes the path of a model script or its text")
        text, source = _script_text(model_script)
        logs.info(f"Loading model script commands to {self.model_name} from {source}")
        before = self.model_script if append else ""
        whole = before + ("" if not before or before.endswith("\n") else "\n") + text
        statements = parse(whole)
        # Names are those of the parsed network: what the script itself adds is known to it by its targets.
        check(statements, self._archive.document(".double.json").get("native_hn") or self.get_hn())
        if append and self._state not in FLOAT:
            late = [line.command for line in parse(text) if line.command not in COMPILE_STAGE]
            if late:
                raise make("InvalidStateException", f"{late[0]} cannot be added to a {self._state.value}")
        self._statements = statements
        self._archive.members[".alls"] = whole.encode("utf-8")

    @allowed_states(*PARSED)
    def save_har(
        self, har_path: str | Path, compressed: bool = False, save_original_model: bool = False, **ignored: Any
    ) -> None:
        """Write everything into a HAR."""
        self._set_state(self._state)
        self._archive.write(har_path, compressed)
        logs.info(f"Saved HAR to: {Path(har_path).resolve()}")

    def load_har(self, har: str | Path | None = None) -> None:
        """Read a HAR in place of what is here."""
        if not isinstance(har, (str, Path)) or not Path(har).is_file():
            raise FileNotFoundError(f"[Errno 2] No such file or directory: {str(har)!r}")
        archive = Archive.read(har)
        metadata = archive.document(".metadata.json")
        if not str(metadata.get("sdk_version", "")).endswith("-double-emulated"):
            raise make(
                "InvalidArgumentsException", f"{har} was made by {metadata.get('sdk_version')}, not by this double"
            )
        self._adopt(archive, States(metadata["state"]))
        self._statements = parse(self.model_script)

    def _adopt(self, archive: Archive, state: States) -> None:
        self._archive = archive
        self._set_state(state)

    def _set_state(self, state: States) -> None:
        self._state = state
        metadata = {**self._archive.document(".metadata.json"), "state": state.value, "hw_arch": self.hw_arch}
        self._archive.put(".metadata.json", metadata)

    def _remember(self, key: str, value: Any) -> None:
        self._archive.put(".double.json", {**self._archive.document(".double.json"), key: value})

    def _unit(self, scale: float) -> str:
        """Return the line by which pixels become 0 to 1, where a network without normalization is fed so."""
        if scale == 1.0:
            return ""
        hn = self.get_hn()
        channels = hn["layers"][source_layer(hn)]["output_shapes"][0][-1]
        return f"unit = normalization({[0.0] * channels}, {[scale] * channels})\n"

    def _names(self) -> dict[str, str]:
        """Return what layers are called, where a caller has given them other names, by the emulator's names."""
        names: dict[str, str] = self._archive.document(".double.json").get("names", {})
        return names

    def _emulated(self) -> Archive:
        """Return the archive as the emulator knows it: with its own names of layers."""
        archive = Archive(self._archive.name, dict(self._archive.members))
        archive.put(".metadata.json", {**archive.document(".metadata.json"), "state": _emulated_state(self._state)})
        renaming.rename_archive(archive, {new: old for old, new in self._names().items()})
        return archive

    def _rows(self, data: Any, limit: int | None = None) -> Rows:
        hn = self._archive.document(".double.json").get("native_hn") or self.get_hn()
        source = source_layer(hn)
        shape = tuple(hn["layers"][source]["output_shapes"][0][1:])
        return read_rows(data, source, hn["layers"][source]["original_names"], shape, limit)


def _emulated_state(state: States) -> str:
    return {"fp_optimized_model": "hailo_model", "compiled_model": "quantized_model"}.get(state.value, state.value)


def source_layer(hn: Mapping[str, Any]) -> str:
    return str(next(name for name, layer in hn["layers"].items() if layer["type"] == "input_layer"))


def _script_text(script: str | Path) -> tuple[str, str]:
    """Return a script's text, and what it was read from: a path when there is such a file, else it is the text."""
    is_line = isinstance(script, str) and "\n" not in script and len(script) < 250
    if isinstance(script, Path) or (is_line and (Path(script).is_file() or script.endswith(".alls"))):
        if not Path(script).is_file():
            raise FileNotFoundError(f"[Errno 2] No such file or directory: {str(script)!r}")
        return Path(script).read_text(encoding="utf-8"), str(script)
    return str(script), "string"
