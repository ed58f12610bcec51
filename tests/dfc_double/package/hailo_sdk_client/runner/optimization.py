"""Full precision and quantized: what a runner makes of a parsed network and calibration data."""

from __future__ import annotations

from typing import Any

from .. import logs, optimization_log, renaming
from ..data import write_snapshot
from ..exceptions import make
from ..exposed_definitions import CalibrationDataType, States
from ..har import Archive
from ..helper_process import Hands
from ..levels import Plan, make_plan
from ..network_lines import LEFT_OUT, emulated_script, folded_activations, network_lines, pixel_scale
from ..script_commands import wide_layers
from ..script_parser import Statement, parse
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
        lines, scale = self._network_lines(), 1.0
        if calib_data is not None:
            scale = pixel_scale(self._rows(calib_data, limit=1).extent(1), lines)
        self._remember("scale", scale)
        self._remember("full_precision", [line.text for line in lines])
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
        hn, lines = self.get_hn(), self._network_lines()
        rows = self._rows(calib_data)
        keeps = self._behaviour.get("written_level") == "kept"
        plan = make_plan(self._statements, len(rows), self._behaviour.gpus > 0, keeps)
        extent = rows.extent(plan.calibration)
        scale = pixel_scale(extent, lines)
        script = self._emulated_script(plan, lines, scale)
        self._warn_of_left_out()
        optimization_log.begin(plan, hn, extent, any(line.command == "normalization" for line in lines))
        with Hands(self._behaviour) as hands:
            har, snapshot, out = (hands.folder / name for name in ("parsed.har", "rows.safetensors", "model.har"))
            self._emulated().write(har)
            image = str(hn["layers"][source_layer(hn)]["original_names"][0])
            write_snapshot(snapshot, image, rows, max(plan.calibration, plan.finetune or 0), scale)

            def work() -> None:
                self._behaviour.reach("optimize", self._statements)
                hands.work("optimize", har=str(har), script=script, calibration=str(snapshot), out=str(out))

            optimization_log.end(plan, hn, folded_activations(lines), work)
            self._take_quantized(Archive.read(out), script, scale)

    def _network_lines(self) -> list[Statement]:
        """Return the lines that change the network; once it is optimized in full precision, they are settled."""
        if self._state is States.FP_OPTIMIZED_MODEL:
            return parse("\n".join(self._archive.document(".double.json")["full_precision"]))
        return network_lines(self._statements, self.get_hn())

    def _emulated_script(self, plan: Plan, lines: list[Statement], scale: float) -> str:
        spoiled = [name for name in ("activations", "wide_outputs") if self._behaviour.get("drop_" + name)]
        text = emulated_script(lines, self._statements, plan, spoiled)
        return self._unit(scale) + renaming.old_words(text, self._names())

    def _warn_of_left_out(self) -> None:
        for line in self._statements:
            if line.command in LEFT_OUT:
                logs.warning(f"{line.command} is left out by the double")

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
        self._remember("wide", wide_layers(self._statements, native))
        self._remember("emulated_script", script)
        self._remember("scale", scale)
        self._set_state(States.QUANTIZED_MODEL)
