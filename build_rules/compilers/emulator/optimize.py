"""Parsed HAR + model script + calibration samples -> quantized HAR."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from build_rules.compilers.emulator.biases import clipped_biases, with_integer_biases
from build_rules.compilers.emulator.collect import read_collected
from build_rules.compilers.emulator.equalize import equalize
from build_rules.compilers.emulator.finetune import Tuned, finetune
from build_rules.compilers.emulator.fuse import Layer
from build_rules.compilers.emulator.har_members import QUANTIZED_MEMBER
from build_rules.compilers.emulator.judging import read_objects_by
from build_rules.compilers.emulator.kernels import corrected_bias, quantize_kernel
from build_rules.compilers.emulator.modify import modified_hn
from build_rules.compilers.emulator.network import Floats, Network, kernel_axis, load_network
from build_rules.compilers.emulator.observe import Observation, observe
from build_rules.compilers.emulator.qdq import float_model, quantized_model
from build_rules.compilers.emulator.quantization_plan import (
    Grid,
    Kernel,
    Plan,
    grid,
    group_bits,
    rounding_layers,
    share_grids,
)
from build_rules.compilers.emulator.ranges import inner_range, outer_range
from build_rules.compilers.emulator.runnable import open_network, run_network
from build_rules.compilers.emulator.script_settings import Finetune, Settings, read_settings
from build_rules.compilers.emulator.sessions import open_session, run
from build_rules.compilers.har_file import Har, dump_npz, read_har
from build_rules.compilers.protocol import OptimizeJob
from build_rules.compilers.samples import Samples
from build_rules.errors import InputError

__all__ = ["make_plan", "optimize", "run_float"]

DEFAULT_SAMPLES = 64
EPOCHS = 4
"""Passes of a fine-tune that names none, as the vendor's."""

UNIT_RANGE = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0)}


def optimize(job: OptimizeJob) -> Har:
    """Quantize a parsed network as its model script says; returns a HAR of state `quantized_model`.

    Raises `InputError` for an unreadable or foreign HAR, errors in the script, and a snapshot that does not fit.
    """
    har = read_har(job.har)
    if har.state != "hailo_model":
        raise InputError(f"{job.har}: is a {har.state} already; optimize takes the HAR that parse wrote.")
    network = load_network(har)
    script = _read_text(job)
    settings = read_settings(script, str(job.script), har.hn)
    _refuse_adaround(settings, job)
    samples = Samples(job.calibration, network.image, network.input_shape)
    indices = _selected(settings, samples, job)
    equalized = equalize(network, settings, samples, indices)
    network = equalized.network
    if equalized.pairs or "equalization" in settings.policies:
        print(f"   equalization: {len(equalized.pairs)} pairs of layers")
    kept = read_collected(job, settings, len(indices), equalized.pairs)
    plan = make_plan(network, settings, samples, indices, kept, job.around.progress)
    report = {**_report(network, settings, plan, len(indices)), "equalized_pairs": len(equalized.pairs)}
    if settings.finetune is not None:
        tuned = _finetuned(network, settings, settings.finetune, plan, samples, len(indices), job)
        print(f"   {tuned.line}")
        plan, report = tuned.plan, {**report, **tuned.facts}
    quantized = quantized_model(network, plan).SerializeToString(deterministic=True)
    _check_runs(quantized, samples, job)
    return _quantized_har(har, network, settings, plan, script, report, quantized)


def _finetuned(
    network: Network, settings: Settings, asked: Finetune, plan: Plan, samples: Samples, count: int, job: OptimizeJob
) -> Tuned:
    return finetune(
        network,
        plan,
        share_grids(network, settings),
        _asked_for(network, settings),
        samples,
        range(asked.dataset_size or count),
        asked.epochs or EPOCHS,
        read_objects_by(network, job.endpoints),
        job.around.progress,
    )


def _refuse_adaround(settings: Settings, job: OptimizeJob) -> None:
    if settings.adaround is not None:
        raise InputError(
            f"{job.script}, line {settings.adaround}: adaround (a line of its own, or optimization levels 3 and 4) is "
            "nothing that the emulator does: it searches the better way to round weights, while what 8 bits cost is "
            "made by activations. Ask for optimization_level=2, or switch it off: "
            "post_quantization_optimization(adaround, policy=disabled)."
        )


def _check_runs(quantized: bytes, samples: Samples, job: OptimizeJob) -> None:
    """Open what is to become the executable and run one sample: what fails here would have failed with its users."""
    try:
        run_network(open_network(quantized, bounded=False), samples.sample(0))
    except InputError as error:
        raise InputError(
            f"{job.har}: the network was quantized, but {error}: the emulator does not handle one of its layers; "
            "export the model with plain float layers, or end it before that layer ([split] in model.toml)."
        ) from error


def run_float(job: OptimizeJob, image: npt.NDArray[np.uint8]) -> tuple[Floats, ...]:
    """Return what the float network makes of one sample (C, H, W) through the script's normalization.

    The tensors of the end nodes, in their order and as the ONNX graph has them.
    """
    har = read_har(job.har)
    network = load_network(har)
    settings = read_settings(_read_text(job), str(job.script), har.hn)
    plan = Plan({}, {}, {}, {}, {}, settings.mean, settings.std)
    outputs = list(network.graph.outputs)
    values = run(open_session(float_model(network, plan, outputs)), image.transpose(1, 2, 0)[None])
    return tuple(values[name] for name in outputs)


def _read_text(job: OptimizeJob) -> str:
    try:
        return job.script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{job.script}: not a readable model script ({error}).") from error


def _selected(settings: Settings, samples: Samples, job: OptimizeJob) -> range:
    wanted = settings.calibset_size or min(DEFAULT_SAMPLES, samples.count)
    finetune = settings.finetune
    for name, size in (("calibset_size", wanted), ("dataset_size", (finetune and finetune.dataset_size) or 0)):
        if size > samples.count:
            raise InputError(f"{job.script}: {name}={size} asks for more than the {samples.count} samples of "
                             f"{job.calibration}; lower it or add images.")  # fmt: skip
    return range(wanted)


def make_plan(
    network: Network,
    settings: Settings,
    samples: Samples,
    indices: Sequence[int],
    kept: Mapping[str, Observation] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Choose every grid, kernel and bias from what the float network does on the samples, or was `kept` of that."""
    folded = {output: name for output, name in settings.folded.items() if name != "linear"}
    plan = Plan({}, {}, {}, {}, folded, settings.mean, settings.std)
    shared = share_grids(network, settings)
    made = [tensor for layer in rounding_layers(network, shared) for tensor in layer.outputs]
    observed = observe(network, plan, made, samples, indices, kept, progress)
    kernels = {
        layer.name: quantize_kernel(network.kernel(layer), kernel_axis(network.graph, layer), bits)
        for layer, bits in _weight_bits(network, settings).items()
    }
    chosen = replace(
        plan,
        tensors=_grids(network, settings, shared, observed),
        kernels=kernels,
        biases=_biases(network, settings, kernels, observed),
        outputs={output.name: _output_grid(network, settings, output.name, observed) for output in network.outputs},
    )
    return with_integer_biases(network, chosen)


def _weight_bits(network: Network, settings: Settings) -> dict[Any, int]:
    bits = {
        layer: settings.precision[layer.name].weight_bits if layer.name in settings.precision else 8
        for layer in network.weighted
    }
    # Compression level k stores a fifth of the weights per level in 4 bits, the largest kernels first.
    sizes = {layer: network.kernel(layer).size for layer in network.weighted}
    budget = settings.compression_level * sum(sizes.values()) / 5
    for layer in sorted(sizes, key=lambda layer: (-sizes[layer], layer.name)):
        if layer.name not in settings.precision and sizes[layer] <= budget:
            bits[layer] = 4
            budget -= sizes[layer]
    return bits


def _grids(
    network: Network, settings: Settings, shared: Mapping[str, str], observed: Mapping[str, Observation]
) -> dict[str, Grid]:
    bits = group_bits(network, settings, shared)
    ranges: dict[str, tuple[float, float]] = {}
    rounded: list[str] = []
    for layer in rounding_layers(network, shared):
        for tensor in layer.outputs:
            group = shared[tensor]
            low, high = _range(settings, layer, observed[tensor], bits[group])
            group_range = ranges.get(group, (low, high))
            ranges[group] = (min(group_range[0], low), max(group_range[1], high))
            # No grid holds -infinity: what is masked stays as it is until the softmax makes zero of it.
            if not observed[tensor].masked:
                rounded.append(tensor)
    return {tensor: grid(*ranges[shared[tensor]], bits[shared[tensor]]) for tensor in rounded}


def _range(settings: Settings, layer: Layer, observation: Observation, bits: int) -> tuple[float, float]:
    if asked := _asked_range(settings, layer.name, observation):
        return asked
    if layer.kind == "softmax":
        return 0.0, 1.0
    return UNIT_RANGE.get(layer.activation) or inner_range(observation, bits)


def _asked_range(settings: Settings, layer: str, observation: Observation) -> tuple[float, float] | None:
    """Return the range that a line of the script gives a layer, itself or by percentiles of what was observed."""
    if layer in settings.ranges:
        return settings.ranges[layer]
    if layer not in settings.clipping or not len(observation.values):
        return None
    low, high = np.percentile(observation.values.astype(np.float64), settings.clipping[layer])
    # The ends are not clipped where all is wanted: of the values only some are kept, the extremes are exact.
    below, above = settings.clipping[layer]
    return observation.low if below <= 0 else float(low), observation.high if above >= 100 else float(high)


def _biases(
    network: Network, settings: Settings, kernels: Mapping[str, Kernel], observed: Mapping[str, Observation]
) -> dict[str, Floats]:
    biases = {}
    for layer in network.weighted:
        bias = network.bias(layer)
        if bias is None:
            continue
        if settings.bias_correction:
            bias = corrected_bias(network, layer, bias, kernels[layer.name], observed[layer.inputs[0]])
        biases[layer.name] = bias
    return biases


def _output_grid(network: Network, settings: Settings, name: str, observed: Mapping[str, Observation]) -> Grid:
    output = next(each for each in network.outputs if each.name == name)
    precision = settings.precision.get(name)
    bits = settings.output_bits.get(output.output_layer, precision.output_bits if precision else 8)
    layer = next(each for each in network.layers if each.name == name)
    activation = settings.folded.get(name, layer.activation)
    if asked := _asked_range(settings, name, observed[name]):
        return grid(*asked, bits)
    if activation in UNIT_RANGE or layer.kind == "softmax":
        return grid(0.0, 1.0, bits)
    return grid(*outer_range(observed[name], bits), bits)


def _report(network: Network, settings: Settings, plan: Plan, count: int) -> dict[str, object]:
    report: dict[str, object] = {
        "emulated": True,
        "calibration_samples": count,
        "bias_correction": settings.bias_correction,
        "finetune": settings.finetune is not None,
        "not_emulated": list(settings.skipped),
    }
    clipped = clipped_biases(network, plan)
    return {**report, "biases_beyond_32_bits": list(clipped)} if clipped else report


def _asked_for(network: Network, settings: Settings) -> frozenset[str]:
    """Return the tensors whose range a line of the script gives; nothing else may change it."""
    asked = {*settings.ranges, *settings.clipping}
    return frozenset(tensor for layer in network.layers if layer.name in asked for tensor in layer.outputs)


def _quantized_har(
    har: Har,
    network: Network,
    settings: Settings,
    plan: Plan,
    script: str,
    report: Mapping[str, object],
    quantized: bytes,
) -> Har:
    members = {
        **har.members,
        har.name + ".alls": script.encode(),
        har.name + ".q.npz": dump_npz(_parameters(network, plan)),
        har.name + ".modifications_meta_data.json": (json.dumps(report, indent=1) + "\n").encode(),
        har.name + QUANTIZED_MEMBER: quantized,
    }
    return replace(har, hn=modified_hn(har.hn, settings), state="quantized_model", members=members)


def _parameters(network: Network, plan: Plan) -> dict[str, npt.NDArray[Any]]:
    """Return what `q.npz` tells per layer; names as in archives of the DFC, as far as they are known."""
    parameters: dict[str, npt.NDArray[Any]] = {}

    def put_grid(layer: str, grid: Grid) -> None:
        parameters[f"{layer}/output_activation_bits:0"] = np.asarray(grid.bits, dtype=np.int32)
        parameters[f"{layer}/output_scale:0"] = np.asarray(grid.scale, dtype=np.float32)
        parameters[f"{layer}/output_zero_point:0"] = np.asarray(grid.zero_point, dtype=np.float32)
        parameters[f"{layer}/limvals_out:0"] = np.asarray(grid.limits, dtype=np.float32)

    for layer in network.layers:
        if layer.outputs[0] in plan.tensors:
            put_grid(layer.name, plan.tensors[layer.outputs[0]])
        if layer.name in plan.kernels:
            parameters[f"{layer.name}/weight_bits:0"] = np.asarray(plan.kernels[layer.name].bits, dtype=np.int32)
            parameters[f"{layer.name}/kernel_scale:0"] = plan.kernels[layer.name].scales
    for output in network.outputs:
        put_grid(output.output_layer, plan.outputs[output.name])
    return parameters
