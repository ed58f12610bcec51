"""Call sequences of public programs, rewritten: what works with the real DFC works with the double.

Seen in Hailo's model zoo, Luxonis' modelconverter, Ultralytics and scripts people publish.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from build_rules.compilers.har_file import output_layers
from build_rules.hef import read_hef
from tests.compilers.dfc.doubles import Caller
from tests.compilers.nets import Net


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    return Caller.settle(tmp_path_factory.mktemp("callers"))


def test_as_the_model_zoo_does(caller: Caller) -> None:
    told = caller.told("""
        from pathlib import Path
        results = Path("zoo")
        results.mkdir()
        (results / "model.alls").write_text(SCRIPT)

        class Dataset:
            def as_numpy_iterator(self):
                for number, image in enumerate(DATA):
                    yield image.astype(np.float32), {"image_name": number}

        runner = ClientRunner(hw_arch="hailo8")
        runner.translate_onnx_model(str(Path("model.onnx")), "net", start_node_names=None, end_node_names=ENDS)
        runner.save_har(results / "net.har")

        runner = ClientRunner(hw_arch="hailo8")
        runner.load_har(results / "net.har")
        height, width, channels = runner.get_native_hn_model().get_input_shapes(ignore_conversion=True)[0][1:4]
        shapes = [layer.output_shape for layer in
                  runner.get_hn_model().get_output_layers(remove_non_neural_core_layers=False)]
        feed = lambda: Dataset()
        runner.load_model_script(str(results / "model.alls"))
        assert runner.state == States.HAILO_MODEL and not runner.get_hn_model().is_transposed()
        scope = runner.get_hn_model().get_input_layers()[0].scope
        commands = runner.model_script.split("\\n")
        runner.load_model_script("\\n".join(commands))
        runner.load_model_script("allocator_param(timeout=100)", append=True)
        runner.optimize_full_precision(calib_data=feed)
        first = runner.state
        runner.optimize(feed)
        runner.save_har(results / "net.har")

        runner = ClientRunner(hw_arch="hailo8", har=results / "net.har")
        hef = runner.compile()
        with open(results / "net.hef", "wb") as stream:
            stream.write(hef)
        runner.save_har(results / "net.har")
        tell(image=[height, width, channels], shapes=shapes, scope=scope, states=[first.value, runner.state.value])
    """)
    assert told["image"] == [32, 32, 3]
    assert told["shapes"] == [[-1, 16, 16, 16], [-1, 16, 16, 5], [-1, 16, 16, 8]]
    assert told["scope"] == "net"
    assert told["states"] == ["fp_optimized_model", "compiled_model"]
    assert read_hef(caller.folder / "zoo" / "net.hef").hw_arch == "hailo8"


def test_as_the_modelconverter_does(caller: Caller) -> None:
    told = caller.told("""
        import contextlib, io
        def layer_of(runner, name):
            for layer, params in runner.get_hn_dict()["layers"].items():
                if name in params.get("original_names", []):
                    return layer, [1, *params["input_shapes"][0][1:]]
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", net_name="net", start_node_names=["images"],
                                    net_input_shapes={"images": [1, 3, SIZE, SIZE]}, end_node_names=[ENDS[1]])
        runner.save_har("luxonis.har")

        runner = ClientRunner(hw_arch="hailo8l", har="luxonis.har")
        hn, weights = runner.get_hn(), dict(runner.get_params())
        names = {}
        for layer in hn["layers"].values():
            if layer["type"] == "output_layer":
                names[layer["input"][0]] = layer["input"][0].split("/")[0] + "/" + "scores"
        for layer in hn["layers"].values():
            layer["input"] = [names.get(name, name) for name in layer["input"]]
            layer["output"] = [names.get(name, name) for name in layer["output"]]
        hn["layers"] = {names.get(name, name): layer for name, layer in hn["layers"].items()}
        hn["net_params"]["output_layers_order"] = [names.get(n, n) for n in hn["net_params"]["output_layers_order"]]
        renamed = {}
        for key, value in weights.items():
            for old, new in names.items():
                if old + "/" in key:
                    key = key.replace(old, new)
            renamed[key] = value
        runner.set_hn(hn)
        runner.load_params(renamed)
        runner.save_har("luxonis.har")

        runner = ClientRunner(hw_arch="hailo8l", har="luxonis.har")
        layer, shape = layer_of(runner, "images")
        runner.load_model_script("\\n".join([
            "model_optimization_flavor(optimization_level=0, compression_level=0, batch_size=8)",
            f"normalization_images = normalization([0.0, 0.0, 0.0],[255.0, 255.0, 255.0],{layer})",
            "quantization_param([scores], precision_mode=a8_w8_a16)",
            "change_output_activation(net/scores, sigmoid)",
        ]))
        data = np.zeros((24, *shape[1:]), dtype=np.float32)
        data[:] = DATA
        runner.optimize({layer: data})
        runner.save_har("luxonis_quantized.har")

        runner = ClientRunner(hw_arch="hailo8l", har="luxonis_quantized.har")
        order = runner.get_hn_dict()["net_params"]["output_layers_order"]
        meta = runner._original_model_meta
        outputs = list(meta["inverse_postprocess_io_map"])
        for name, params in runner.get_hn_dict()["layers"].items():
            if name in order:
                outputs.extend(params["original_names"])
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), \\
                runner.infer_context(InferenceContext.SDK_QUANTIZED) as context:
            values = runner.infer(context=context, dataset={layer: data[:1]}, batch_size=1)
        tell(layer=layer, shape=shape, order=order, outputs=outputs, found=list(values.shape),
             high=float(values.max()), low=float(values.min()), keys=sorted(renamed))
        with open("luxonis.hef", "wb") as stream:
            stream.write(runner.compile())
        tell(version=hailo_sdk_client.__version__)
    """)
    assert (told["layer"], told["shape"]) == ("net/input_layer1", [1, 32, 32, 3])
    assert told["order"] == ["net/scores"]
    assert told["outputs"] == ["/n29/Conv"]
    assert told["found"] == [1, 16, 16, 5]
    assert 0 <= told["low"] < told["high"] <= 1
    assert "net/scores/kernel:0" in told["keys"]
    (stream,) = read_hef(caller.folder / "luxonis.hef").network_groups[0].outputs
    assert (stream.name, stream.data_bytes) == ("net/scores", 2)
    har = caller.har("luxonis_quantized.har")
    assert [output.producer for output in output_layers(har.hn)] == ["net/scores"]


def test_as_ultralytics_does(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", "net", start_node_names=["images"], end_node_names=ENDS,
                                    net_input_shapes={"images": [1, 3, SIZE, SIZE]})
        layers = runner.get_hn_dict()["layers"]
        ends = [next(name for name, layer in layers.items()
                     if end in layer.get("original_names", []) and layer["type"] != "output_layer") for end in ENDS]
        script = "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])\\n"
        script += f"change_output_activation({ends[1]}, sigmoid)\\n"
        script += "model_optimization_flavor(optimization_level=2, compression_level=0)\\n"
        script += f"model_optimization_config(calibration, batch_size=2, calibset_size={len(DATA)})\\n"
        script += f"post_quantization_optimization(finetune, policy=enabled, dataset_size={len(DATA)}, epochs=1)\\n"
        script += "quantization_param([output_layer1, output_layer2, output_layer3], precision_mode=a16_w16)\\n"
        runner.load_model_script(script)
        runner.optimize({"net/input_layer1": DATA.astype(np.float32)})
        hef = runner.compile()
        assert hef == runner.hef and isinstance(hef, bytes)
        with open("ultralytics.hef", "wb") as stream:
            stream.write(hef)
        tell(ends=ends)
    """)
    assert len(set(told["ends"])) == 3
    streams = read_hef(caller.folder / "ultralytics.hef").network_groups[0].outputs
    assert [stream.name for stream in streams] == told["ends"]
    assert [stream.data_bytes for stream in streams] == [2, 2, 2]
    assert "Using dataset with 24 entries for finetune" in caller.log("acceleras.log")


def test_as_notebooks_do_in_all_three_contexts(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner()
        hn, npz = runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        assert hn["layers"] and npz
        def run(context, data, **options):
            with runner.infer_context(context) as ctx:
                return runner.infer(ctx, data, **options)
        native = run(InferenceContext.SDK_NATIVE, DATA.astype(np.float32) / 255, data_count=4)
        name = runner._hn.get_input_layers()[0].name
        runner.load_model_script(SCRIPT.replace("change_output_activation(conv9, sigmoid)", ""))
        runner.optimize_full_precision({name: DATA})
        full = run(InferenceContext.SDK_FP_OPTIMIZED, {name: DATA[:4]}, batch_size=2)
        runner.load_model_script("pre_quantization_optimization(dead_layers_removal, policy=disabled)\\n")
        runner.optimize({name: DATA})
        quantized = run(InferenceContext.SDK_QUANTIZED, DATA[:4])
        again = run(InferenceContext.SDK_FP_OPTIMIZED, DATA[:4])
        tell(kinds=[type(each).__name__ for each in (native, full, quantized)],
             types=[str(array.dtype) for array in quantized], shapes=[list(array.shape) for array in quantized],
             native=[float(np.abs(a - b).max()) for a, b in zip(native, full)],
             again=[float(np.abs(a - b).max()) for a, b in zip(again, full)],
             error=[float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(full, quantized)])
    """)
    assert told["kinds"] == ["list"] * 3
    assert told["types"] == ["float32"] * 3
    assert told["shapes"] == [[4, 16, 16, 16], [4, 16, 16, 5], [4, 16, 16, 8]]
    assert max(told["native"]) < 1e-5  # what normalization() does is what a caller does to native inputs
    assert max(told["again"]) == 0
    assert 0 < max(told["error"]) < 0.2


def test_one_output_is_an_array_and_not_a_list(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS[:1])
        with runner.infer_context(InferenceContext.SDK_NATIVE) as ctx:
            out = runner.infer(ctx, DATA[:2].astype(np.float32) / 255)
            runner.optimize(DATA)
        tell(shape=list(out.shape), state=runner.state.value)
    """)
    assert told == {"shape": [2, 16, 16, 16], "state": "quantized_model"}


def test_an_onnx_without_names_of_ends_is_parsed_to_its_outputs(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8")
        runner.translate_onnx_model("model.onnx", "simple", start_node_names=None, end_node_names=None,
                                    net_input_shapes=None)
        tell(order=runner.get_hn()["net_params"]["output_layers_order"], name=runner.model_name,
             names=[layer["original_names"] for layer in runner.get_hn()["layers"].values()
                    if layer["type"] == "input_layer"])
    """)
    assert (told["name"], told["names"]) == ("simple", [["images"]])
    assert len(told["order"]) == 3
    assert all(name.startswith("simple/conv") for name in told["order"])


def test_end_nodes_may_be_tensors_in_any_order(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8")
        runner.translate_onnx_model("model.onnx", "net", end_node_names=[ENDS[2], "n22_0"])
        layers = runner.get_hn()["layers"]
        tell(names=[layers[name]["original_names"][0] for name in runner.get_hn()["net_params"]["output_layers_order"]],
             outs=[layer["original_names"] for layer in layers.values() if layer["type"] == "output_layer"])
    """)
    assert told == {"names": ["/n30/Conv", "/n22/Conv"], "outs": [["/n32/Mul"], ["n22_0"]]}


def test_a_network_may_begin_inside(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8")
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        layers = runner.get_hn()["layers"]
        runner.translate_onnx_model("model.onnx", "net", ["/n3/Split"], ENDS)
        inner = runner.get_hn_model().get_input_layers()[0]
        tell(shape=inner.output_shape, count=len(layers), inner=len(runner.get_hn()["layers"]))
    """)
    assert told["shape"] == [-1, 16, 16, 16]
    assert told["inner"] == told["count"] - 1


def test_the_recommended_end_nodes_can_be_parsed(tmp_path: Path) -> None:
    caller = Caller.settle(tmp_path)
    net = Net()
    scores = net.conv(net.silu(net.conv("images", (3, 8))), (8, 4), k=1)
    best, _ = net.op("TopK", scores, net.constant([2], np.int64), outputs=2, axis=1)
    onnx.save(net.model([best]), str(caller.folder / "topk.onnx"))
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8l")
        marker = "Please try to parse the model again, using these end node names:"
        try:
            runner.translate_onnx_model("topk.onnx", "net")
        except Exception as error:
            text = str(error)
            ends = [name.strip() for name in text.split(marker)[1].splitlines()[0].split(",")]
            tell(kind=type(error).__name__, second=text.splitlines()[1], ends=ends)
            runner.translate_onnx_model("topk.onnx", "net", end_node_names=ends)
        tell(state=runner.state.value)
    """)
    (node,) = [node.name for node in net.nodes if node.op_type == "TopK"]
    assert told["kind"] == "ParsingWithRecommendationException"
    assert told["second"] == f" UnsupportedOperationError in op {node}: TopK operation is unsupported"
    assert told["ends"] == [net.node(scores)]
    assert told["state"] == "hailo_model"


def test_a_quantized_archive_is_compiled_by_another_program(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        runner.load_model_script(SCRIPT)
        runner.optimize(DATA)
        runner.save_har(har_path="quantized.har")
        runner = ClientRunner(har="quantized.har")
        runner.load_model_script(SCRIPT + "performance_param(compiler_optimization_level=max)\\n")
        hef = runner.compile()
        open("again.hef", "wb").write(hef)
        other = ClientRunner(hw_arch="hailo8", har="quantized.har")
        open("other.hef", "wb").write(other.compile())
        report = runner.profile(should_use_logical_layers=True, hef_filename="again.hef")
        tell(arch=[runner.hw_arch, other.hw_arch], keys=sorted(report), fps=report["stats"]["fps"])
    """)
    assert told["arch"] == ["hailo8l", "hailo8"]
    assert {"stats", "latency_data"} <= set(told["keys"])
    assert told["fps"] > 0
    archs = [read_hef(caller.folder / f"{name}.hef").hw_arch for name in ("again", "other")]
    assert archs == ["hailo8l", "hailo8"]


def test_a_compressed_archive_and_a_folder_of_arrays(caller: Caller) -> None:
    told = caller.told("""
        import os
        os.makedirs("arrays", exist_ok=True)
        for number, image in enumerate(DATA[:4]):
            np.save(f"arrays/{number}.npy", image)
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        runner.save_har("small.har", compressed=True)
        runner = ClientRunner(har="small.har")
        runner.optimize("arrays")
        runner = ClientRunner(har="small.har")
        runner.optimize("calibration.npy")
        runner = ClientRunner(har="small.har")
        runner.optimize(lambda: iter([({"net/input_layer1": image}, 0) for image in DATA[:4]]))
        tell(state=runner.state.value)
    """)
    assert told["state"] == "quantized_model"


def test_data_of_0_to_1_without_normalization(caller: Caller) -> None:
    told = caller.told("""
        runner = ClientRunner(hw_arch="hailo8l")
        runner.translate_onnx_model("model.onnx", "net", end_node_names=ENDS)
        data = DATA.astype(np.float32) / 255.0
        with runner.infer_context(InferenceContext.SDK_NATIVE) as ctx:
            native = runner.infer(ctx, data[:2])
        runner.optimize(data)
        with runner.infer_context(InferenceContext.SDK_QUANTIZED) as ctx:
            quantized = runner.infer(ctx, data[:2])
        tell(error=[float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(native, quantized)])
        runner.compile()
    """)
    assert max(told["error"]) < 0.2
    assert "The calibration set seems to not be normalized" in caller.log("acceleras.log")
