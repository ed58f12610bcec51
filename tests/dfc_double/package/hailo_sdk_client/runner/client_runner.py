"""`ClientRunner`: the one class that callers of the DFC use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import allocation, logs
from ..exceptions import make
from ..exposed_definitions import States
from ..har import Archive
from ..helper_process import Hands
from .inference import Inferring
from .optimization import Optimizing
from .states import PARSED, QUANTIZED, allowed_states

__all__ = ["ClientRunner"]


class ClientRunner(Optimizing, Inferring):
    """One network on its way from ONNX to HEF. What it holds is always what `save_har` would write."""

    def translate_onnx_model(
        self,
        model: str | Path | None = None,
        net_name: str = "model",
        start_node_names: Sequence[str] | None = None,
        end_node_names: Sequence[str] | None = None,
        net_input_shapes: Mapping[str, Sequence[int]] | Sequence[int] | None = None,
        augmented_path: str | None = None,
        disable_shape_inference: bool = False,
        disable_rt_metadata_extraction: bool = False,
        net_input_format: Any = None,
        **ignored: Any,
    ) -> tuple[Any, Any]:
        """Translate an ONNX file; returns the HN and the native weights."""
        if ignored:
            raise TypeError(f"translate_onnx_model() got an unexpected keyword argument {next(iter(ignored))!r}")
        if not isinstance(model, (str, Path)) or not isinstance(net_name, str) or not net_name:
            raise make("InvalidArgumentsException", "translate_onnx_model takes the path of an ONNX file and a name")
        names = [_names("start_node_names", start_node_names), _names("end_node_names", end_node_names)]
        if not Path(model).is_file():
            raise FileNotFoundError(f"[Errno 2] No such file or directory: {str(model)!r}")
        shapes = {} if net_input_shapes is None else net_input_shapes
        if not isinstance(shapes, Mapping):
            raise make("InvalidArgumentsException", "the double takes net_input_shapes as {input name: shape}")
        logs.info(f"Translation started on ONNX model {net_name}")
        self._behaviour.reach("parse")
        with Hands(self._behaviour) as hands:
            out = hands.folder / "parsed.har"
            hands.work(
                "parse",
                onnx=str(Path(model).resolve()),
                net_name=net_name,
                hw_arch=self.hw_arch,
                start_nodes=names[0],
                end_nodes=names[1],
                input_shapes={name: list(map(int, shape)) for name, shape in shapes.items()},
                sdk_version=f"{self._behaviour.get('version')}-double-emulated",
                out=str(out),
            )
            self._adopt(Archive.read(out), States.HAILO_MODEL)
        self._statements = []
        self._archive.members[".modifications_meta_data.json"] = b"{}\n"
        self._tell_translated()
        return self.get_hn(), self.get_params()

    def _tell_translated(self) -> None:
        name, hn = self.model_name, self.get_hn_dict()
        logs.info(f"Restored ONNX model {name} (completion time: 00:00:00.01)")
        logs.info("Extracted ONNXRuntime meta-data for Hailo model (completion time: 00:00:00.05)")
        source = next(layer for layer in hn["layers"].items() if layer[1]["type"] == "input_layer")
        logs.info(f"Start nodes mapped from original model: '{source[1]['original_names'][0]}': '{source[0]}'.")
        ends = self._original_model_meta["end_node_names"]
        logs.info("End nodes mapped from original model: " + ", ".join(f"'{end}'" for end in ends) + ".")
        logs.info(f"Translation completed on ONNX model {name} (completion time: 00:00:00.42)")

    def compile(self) -> bytes:
        """Return the HEF."""
        if self._state not in QUANTIZED:
            text = (
                "Model requires quantized weights in order to run on HW, but none were given. Did you forget to "
                "quantize?"
            )
            logs.log("error", f"Failed to compile the model: {text}")
            raise make("BackendRuntimeException", text)
        hn = self._archive.document(".double.json")["native_hn"]
        found = allocation.allocate(hn, self.hw_arch, self._behaviour.get("contexts"))
        placed = allocation.is_placed(hn, self._statements)
        maximal = any(line.keywords.get("compiler_optimization_level") == "max" for line in self._statements)
        self._behaviour.reach("compile", self._statements, waits=not placed)
        allocation.refuse_wide(hn, self._archive.document(".double.json")["wide"])
        allocation.tell(hn, self.hw_arch, found, placed, maximal)
        with Hands(self._behaviour) as hands:
            har, out = hands.folder / "model.har", hands.folder / "model.hef"
            self._emulated().write(har)
            hands.work(
                "compile",
                har=str(har),
                hw_arch=self._behaviour.get("hef_arch") or self.hw_arch,
                missing_streams=int(self._behaviour.get("missing_streams", 0)),
                names=self._names(),
                out=str(out),
            )
            hef = out.read_bytes()
        self._archive.members[".hef"] = hef
        self._archive.members[".auto.alls"] = allocation.automatic_script(found).encode("utf-8")
        self._set_state(States.COMPILED_MODEL)
        logs.info("Compilation complete", logs.CORE)
        return hef

    @allowed_states(*PARSED)
    def profile(
        self,
        profiling_mode: Any = None,
        should_use_logical_layers: bool = True,
        hef_filename: str | Path | None = None,
        runtime_data: Any = None,
        stream_fps: Any = None,
        **ignored: Any,
    ) -> dict[str, Any]:
        """Return statistics of the network; the numbers follow from its operations by a rule of the double's own."""
        if hef_filename is not None and not Path(hef_filename).is_file():
            raise FileNotFoundError(f"[Errno 2] No such file or directory: {str(hef_filename)!r}")
        self._behaviour.reach("profile", self._statements)
        hn = self._archive.document(".double.json").get("native_hn") or self.get_hn()
        return allocation.profile(
            hn, self.hw_arch, allocation.allocate(hn, self.hw_arch, self._behaviour.get("contexts"))
        )


def _names(option: str, names: Any) -> list[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise make("InvalidArgumentsException", f"{option} must be a list of names, not {names!r}")
    return list(names)
