"""The HN as an object: what callers ask `get_hn_model()` for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["HailoNN", "Layer"]


class Layer:
    """One layer of an HN; `name` carries its scope."""

    def __init__(self, name: str, layer: Mapping[str, Any]) -> None:
        self.name, self._layer = name, layer

    @property
    def scope(self) -> str:
        return self.name.partition("/")[0]

    @property
    def name_without_scope(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def op(self) -> str:
        return str(self._layer["type"])

    @property
    def inputs(self) -> list[str]:
        return list(self._layer["input"])

    @property
    def outputs(self) -> list[str]:
        return list(self._layer["output"])

    @property
    def input_shape(self) -> list[int]:
        return list(self._layer["input_shapes"][0])

    @property
    def output_shape(self) -> list[int]:
        return list(self._layer["output_shapes"][0])

    @property
    def input_shapes(self) -> list[list[int]]:
        return [list(shape) for shape in self._layer["input_shapes"]]

    @property
    def output_shapes(self) -> list[list[int]]:
        return [list(shape) for shape in self._layer["output_shapes"]]

    @property
    def original_names(self) -> list[str]:
        return list(self._layer.get("original_names", []))


class HailoNN:
    """The layers of a network, in topological order."""

    def __init__(self, hn: Mapping[str, Any]) -> None:
        self.name = str(hn["name"])
        self.net_params = hn["net_params"]
        self._layers = {name: Layer(name, layer) for name, layer in hn["layers"].items()}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())

    def __len__(self) -> int:
        return len(self._layers)

    def stable_toposort(self) -> list[Layer]:
        return list(self)

    def get_layer_by_name(self, name: str) -> Layer:
        return self._layers[name if "/" in name else f"{self.name}/{name}"]

    def get_input_layers(self) -> list[Layer]:
        return [layer for layer in self if layer.op == "input_layer"]

    def get_real_output_layers(self) -> list[Layer]:
        return [self._layers[name] for name in self.net_params["output_layers_order"]]

    def get_output_layers(self, remove_non_neural_core_layers: bool = True) -> list[Layer]:
        """Return the output layers in the order of the end nodes."""
        outputs = {layer.inputs[0]: layer for layer in self if layer.op == "output_layer"}
        return [outputs[name] for name in self.net_params["output_layers_order"]]

    def get_input_shapes(self, ignore_conversion: bool = False) -> list[list[int]]:
        return [layer.output_shape for layer in self.get_input_layers()]

    def get_output_shapes(self) -> list[list[int]]:
        return [layer.output_shape for layer in self.get_output_layers()]

    def is_transposed(self) -> bool:
        return bool(self.net_params.get("transposed_net", False))
