"""Full precision and quantized: what a runner makes of a parsed network and calibration data."""

from __future__ import annotations

from typing import Any

from .. import logs, optimization_log, renaming
from ..data import write_snapshot
from ..exceptions import make
from ..exposed_definitions import CalibrationDataType, States
from ..har import Archive
from ..helper_process import Hands
from ..levels import emulated_script, make_plan
from .held import Held, source_layer
from .states import FLOAT, allowed_states

__all__ = ["Optimizing"]


class Optimizing(Held):
    """The part of `ClientRunner` that optimizes."""

    @allowed_states(*FLOAT)
    def optimize_full_precision(
        self, calib_data: Any = None, data_type: CalibrationDataType = CalibrationDataType.auto
    ) -> None:
        """Apply what the script changes in full precision: normalization and activations."""
        logs.info("Starting Full Precision Optimization", logs.ACCELERAS)
        scale = 1.0
        if calib_data is not None:
            rows = self._rows(calib_data, limit=1)
            scale = self._scale(rows.extent(1))
        self._remember("scale", scale)
        self._archive.members[".fpo.npz"] = self._archive.members[".npz"]
        self._set_state(States.FP_OPTIMIZED_MODEL)
        logs.info("Full Precision Optimization is done", logs.ACCELERAS)

    @allowed_states(*FLOAT)
    def optimize(
        self, calib_data: Any, data_type: CalibrationDataType = CalibrationDataType.auto, work_dir: Any = None
    ) -> None:
        """Quantize the network on the data: [N, H, W, C], 0 to 255 when the script normalizes."""
        if calib_data is None:
            raise make("InvalidArgumentsException", "optimize needs calibration data")
        hn, started = self.get_hn(), self._statements
        rows = self._rows(calib_data)
        keeps = self._behaviour.get("written_level") == "kept"
        plan = make_plan(self._statements, len(rows), self._behaviour.gpus > 0, keeps)
        used = max(plan.calibration, plan.finetune or 0)
        extent = rows.extent(plan.calibration)
        scale = self._scale(extent)
        normalized = any(line.command == "normalization" for line in self._statements)
        optimization_log.begin(plan, hn, extent, normalized)
        left_out = [name for name in ("activations", "wide_outputs") if self._behaviour.get("drop_" + name)]
        names = self._names()
        with Hands(self._behaviour) as hands:
            har, snapshot, out = (hands.folder / name for name in ("parsed.har", "rows.safetensors", "model.har"))
            self._emulated().write(har)
            write_snapshot(snapshot, str(hn["layers"][source_layer(hn)]["original_names"][0]), rows, used, scale)
            script = renaming.old_words(emulated_script(self._statements, plan, left_out), names)
            if scale != 1.0:
                channels = hn["layers"][source_layer(hn)]["output_shapes"][0][-1]
                script = f"unit = normalization({[0.0] * channels}, {[255.0] * channels})\n" + script
            folded = {
                str(line.arguments[0]): str(line.arguments[1])
                for line in self._statements
                if line.command == "change_output_activation" and len(line.arguments) == 2
            }

            def work() -> None:
                self._behaviour.reach("optimize", started)
                hands.work("optimize", har=str(har), script=script, calibration=str(snapshot), out=str(out))

            if plan.finetune is None:
                work()
                optimization_log.end(plan, hn, folded, lambda: None)
            else:
                optimization_log.end(plan, hn, folded, work)
            self._take_quantized(Archive.read(out), script, scale)

    def _take_quantized(self, made: Archive, script: str, scale: float) -> None:
        kept = self._archive
        names, native = self._names(), kept.document(".hn")
        made.members[".alls"] = kept.members.get(".alls", b"")
        made.members[".double.json"] = kept.members.get(".double.json", b"{}")
        for suffix in (".npz", ".fpo.npz", ".original_model_meta.json"):
            if suffix in kept.members:
                made.members[suffix] = kept.members[suffix]
        renaming.rename_archive(made, names)
        self._archive = made
        self._remember("native_hn", native)
        self._remember("emulated_script", script)
        self._remember("scale", scale)
        self._set_state(States.QUANTIZED_MODEL)

    def _scale(self, extent: tuple[float, float]) -> float:
        """Return by what data must be multiplied to be pixels: a network without normalization may be fed 0 to 1."""
        low, high = extent
        if low < -0.5 or high > 255.5:
            raise make("AccelerasValueError", f"the double takes data from 0 to 255, these go from {low:g} to {high:g}")
        normalized = any(line.command == "normalization" for line in self._statements)
        return 1.0 if normalized or high > 1.5 else 255.0
