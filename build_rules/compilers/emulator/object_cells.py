"""How much each cell of an output counts: as much as the float network finds an object there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.network import Floats, Network
from build_rules.errors import InputError
from build_rules.objects.read_objects import ObjectReader
from build_rules.records.split_json import load_split

__all__ = ["ObjectCells"]

Tensors = dict[str, Floats]


class ObjectCells:
    """Weights of the cells of every stream, [1, H, W, 1] in 0..1; all are 1 where nobody decodes the outputs.

    `roles` says what each stream is: those of several scales share one. Where nobody tells, each has its own.
    """

    def __init__(self, network: Network, endpoints: Path | None) -> None:
        """Read the `split.json` of the network; None counts all cells alike."""
        self.roles = {output.name: output.name for output in network.outputs}
        self._streams: dict[str, str] = {}
        self._reader: ObjectReader | None = None
        if endpoints is None:
            return
        split = load_split(endpoints)
        for endpoint in split.endpoints:
            matching = [output.name for output in network.outputs if endpoint.node in output.original_names]
            if len(matching) != 1:
                raise InputError(
                    f"{endpoints}: endpoint {endpoint.name} is no output of the parsed network; build it again."
                )
            self._streams[endpoint.name] = matching[0]
            self.roles[matching[0]] = endpoint.role
        with suppress(InputError):
            self._reader = ObjectReader(split)

    def of(self, delivered: Tensors) -> dict[str, npt.NDArray[np.float64]]:
        """Return the weights by stream; `delivered` are the float network's outputs, [1, H, W, C] as delivered."""
        if self._reader is None:
            return {name: np.ones((*value.shape[:3], 1)) for name, value in delivered.items()}
        cells = self._reader.cells({name: delivered[stream][0] for name, stream in self._streams.items()})
        return {
            stream: np.asarray(cells[name], dtype=np.float64)[None, :, :, None]
            for name, stream in self._streams.items()
        }
