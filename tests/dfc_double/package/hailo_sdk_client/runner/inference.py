"""Running a network: as it was parsed, in full precision, quantized."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import renaming
from ..data import Rows
from ..exceptions import make
from ..exposed_definitions import InferenceContext, InferenceDataType
from ..helper_process import Hands
from .held import Held
from .states import PARSED, QUANTIZED

__all__ = ["Inferring"]

NEEDED = {
    InferenceContext.SDK_NATIVE: PARSED,
    InferenceContext.SDK_FP_OPTIMIZED: PARSED[1:],
    InferenceContext.SDK_QUANTIZED: QUANTIZED,
}
"""In which states a network can be run as what."""


class Inferring(Held):
    """The part of `ClientRunner` that runs networks."""

    @contextlib.contextmanager
    def infer_context(
        self, inference_context: InferenceContext, device_info: Any = None, **options: Any
    ) -> Iterator[Any]:
        """Open a context for `infer`; it is closed when the `with` ends."""
        if not isinstance(inference_context, InferenceContext):
            raise make("InvalidArgumentsException", f"{inference_context!r} is no InferenceContext")
        needed = NEEDED.get(inference_context)
        if needed is None:
            raise make("BackendRuntimeException", f"{inference_context.name}: no Hailo device was found")
        if self._state not in needed:
            raise make(
                "InvalidStateException",
                f"{inference_context.name} is not available under the state: {self._state.value}",
            )
        context = SimpleNamespace(kind=inference_context, is_open=True)
        try:
            yield context
        finally:
            context.is_open = False

    def infer(
        self,
        context: Any,
        dataset: Any,
        data_type: InferenceDataType = InferenceDataType.auto,
        data_count: int | None = None,
        batch_size: int = 1,
    ) -> Any:
        """Run the network on a dataset; a list of float32 arrays in the order of the outputs, or the only one."""
        if not getattr(context, "is_open", False):
            raise make("InvalidArgumentsException", "infer needs the context that infer_context gave, while it is open")
        rows = self._rows(dataset, limit=data_count)
        count = len(rows) if data_count is None else min(int(data_count), len(rows))
        self._behaviour.reach("infer", self._statements)
        memory = self._archive.document(".double.json")
        native = context.kind is InferenceContext.SDK_NATIVE
        script = memory.get("emulated_script") or self._float_script()
        with Hands(self._behaviour) as hands:
            har, data = hands.folder / "model.har", hands.folder / "dataset.npy"
            self._emulated().write(har)
            _write_rows(data, rows, count, 1.0 if native else float(memory.get("scale", 1.0)))
            hands.work(
                "infer",
                har=str(har),
                context=context.kind.value,
                script="" if native else script,
                dataset=str(data),
                out=str(hands.folder),
            )
            count_of_outputs = len(self.get_hn()["net_params"]["output_layers_order"])
            outputs = [np.load(str(hands.folder / f"{number}.npy")) for number in range(count_of_outputs)]
        return outputs if len(outputs) > 1 else outputs[0]

    def _float_script(self) -> str:
        memory = self._archive.document(".double.json")
        lines = "\n".join(memory.get("full_precision", [])) + "\n"
        return self._unit(float(memory.get("scale", 1.0))) + renaming.old_words(lines, self._names())


def _write_rows(path: Path, rows: Rows, count: int, scale: float) -> None:
    shape = (count, *rows[0].shape)
    stored = np.lib.format.open_memmap(str(path), mode="w+", dtype=np.float32, shape=shape)
    for index in range(count):
        stored[index] = np.asarray(rows[index], dtype=np.float32) * scale
    stored.flush()
