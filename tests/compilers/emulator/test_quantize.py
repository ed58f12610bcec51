"""From the model script to what runs: precision, folding, ranges, errors, determinism."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from build_rules.compilers import in_order
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.emulator.har_members import QUANTIZED_MEMBER
from build_rules.compilers.emulator.judging import Verdict
from build_rules.compilers.emulator.run_hef import HostSession
from build_rules.compilers.har_file import read_har, write_har
from build_rules.compilers.protocol import CompileJob, OptimizeJob
from build_rules.errors import InputError
from build_rules.hef import read_hef
from tests.compilers.nets import NORMAL, Build, Net, attention, detector, images

FAST = NORMAL + "model_optimization_flavor(optimization_level=1, compression_level=0)\n"
FOLDED = FAST + "change_output_activation(conv8, sigmoid)\n"
POST = "post_quantization_optimization"
CLIPPING = "pre_quantization_optimization(activation_clipping"
SIGMOID = (None, "sigmoid", None)


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("fast"), *detector()).all(FOLDED)


def test_fast_is_close_to_float(fast: Build) -> None:
    assert max(fast.errors(SIGMOID)) < 0.06


def test_attention_is_close_to_float(tmp_path: Path) -> None:
    assert max(Build(tmp_path, *attention()).all(FAST).errors()) < 0.06


def test_all_sixteen_bits_is_nearly_exact(tmp_path: Path) -> None:
    wide = FAST + "quantization_param({*}, precision_mode=a16_w16)\n"
    assert max(Build(tmp_path, *detector()).all(wide).errors()) < 2e-3


def test_streams_tell_what_runs(fast: Build) -> None:
    hef = read_hef(fast.hef)
    source = hef.network_groups[0].inputs[0]
    assert (hef.hw_arch, hef.timestamp_ms, source.shape, source.dtype) == ("hailo8l", 0, (32, 32, 3), "uint8")
    assert "emulated" in hef.sdk_version
    streams = fast.streams()
    assert [stream.name for stream in streams] == ["net/conv6", "net/conv8", "net/conv9"]
    assert [stream.original_names[0] for stream in streams[:2]] == list(fast.ends[:2])
    delivered = HostSession(fast.hef).run(images(1)[0].transpose(1, 2, 0))
    for stream in streams:
        assert delivered[stream.name].shape == (1, *stream.shape)
        assert delivered[stream.name].dtype == np.dtype(stream.dtype)


def test_folded_sigmoid_has_the_range_of_probabilities(fast: Build, tmp_path: Path) -> None:
    folded = fast.streams()[1].quantization
    assert folded.scale == pytest.approx(1 / 255)
    assert (folded.zero_point, folded.limits_min) == (0, 0)
    wide = Build(tmp_path, *detector()).all(FOLDED + "quantization_param(output_layer2, precision_mode=a16_w16)\n")
    assert wide.streams()[1].data_bytes == 2
    assert wide.streams()[1].quantization.scale == pytest.approx(1 / 65535)
    assert wide.errors(SIGMOID)[1] <= fast.errors(SIGMOID)[1] * 1.001


def test_wide_output_changes_that_output_only(fast: Build, tmp_path: Path) -> None:
    wide = Build(tmp_path, *detector()).all(FOLDED + "quantization_param([output_layer1], precision_mode=a16_w16)\n")
    assert [stream.data_bytes for stream in wide.streams()] == [2, 1, 1]
    before, after = fast.errors(SIGMOID), wide.errors(SIGMOID)
    assert after[0] < before[0]
    assert after[1:] == before[1:]
    bits = np.load(io.BytesIO(read_har(wide.har).member(".q.npz")))
    assert bits["net/output_layer1/output_activation_bits:0"] == 16
    assert bits["net/output_layer2/output_activation_bits:0"] == 8


def test_quantized_hn_tells_what_the_script_changed(fast: Build) -> None:
    layers = read_har(fast.har).hn["layers"]
    assert layers["net/conv8"]["params"]["activation"] == "sigmoid"
    assert list(layers)[:2] == ["net/input_layer1", "net/normalization_input1"]
    assert layers["net/conv1"]["input"] == ["net/normalization_input1"]
    assert read_har(fast.parsed).hn["layers"]["net/conv1"]["input"] == ["net/input_layer1"]


def test_later_lines_win(tmp_path: Path) -> None:
    script = FAST + "quantization_param({output_layer*}, precision_mode=a16_w16)\n"
    build = Build(tmp_path, *detector()).all(script + "quantization_param(output_layer2, precision_mode=a8_w8)\n")
    assert [stream.data_bytes for stream in build.streams()] == [2, 1, 2]


def test_narrow_weights_cost_accuracy(fast: Build, tmp_path: Path) -> None:
    narrow = Build(tmp_path, *detector()).all(FOLDED + "quantization_param({conv*}, precision_mode=a8_w4)\n")
    assert sum(narrow.errors(SIGMOID)) > 2 * sum(fast.errors(SIGMOID))
    level = Build(tmp_path / "level", *detector()).all(
        FOLDED.replace("compression_level=0", "compression_level=5")
        + "quantization_param(conv1, precision_mode=a8_w8)\n"
    )
    bits = {
        int(value)
        for key, value in np.load(io.BytesIO(read_har(level.har).member(".q.npz"))).items()
        if "weight_bits" in key
    }
    assert bits == {4, 8}


def test_normalization_is_folded_into_the_input(tmp_path: Path) -> None:
    net = Net()
    end = net.conv("images", (3, 4))
    model, ends = net.model([end]), [net.node(end)]
    with_mean = "n = normalization([10.0, 20.0, 30.0], [50.0, 60.0, 70.0])\n"
    build = Build(tmp_path, model, ends).all(with_mean)
    image = images(1, seed=5)
    import onnxruntime

    reference = onnxruntime.InferenceSession(model.SerializeToString())
    mean, std = (np.asarray(v, dtype=np.float32).reshape(1, 3, 1, 1) for v in ([10, 20, 30], [50, 60, 70]))
    wanted = reference.run(None, {"images": (image - mean) / std})[0].transpose(0, 2, 3, 1)
    stream = build.streams()[0]
    delivered = HostSession(build.hef).run(image[0].transpose(1, 2, 0))[stream.name]
    real = stream.quantization.scale * (delivered.astype(np.float64) - stream.quantization.zero_point)
    assert np.sqrt(((real - wanted) ** 2).mean()) < 0.02 * wanted.std()


def test_bias_correction_lowers_the_mean_error(tmp_path: Path) -> None:
    narrow = "quantization_param({conv*}, precision_mode=a8_w4)\n"
    without = Build(tmp_path / "a", *detector()).all(FOLDED.replace("level=1", "level=0") + narrow)
    corrected = Build(tmp_path / "b", *detector()).all(FOLDED + narrow)
    assert sum(corrected.errors(SIGMOID)) < sum(without.errors(SIGMOID))


def test_finetune_lowers_the_error_of_narrow_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow = FOLDED + "quantization_param({conv*}, precision_mode=a8_w4)\n"
    plain = Build(tmp_path / "a", *detector()).all(narrow)
    tuned = Build(tmp_path / "b", *detector()).all(
        narrow + "post_quantization_optimization(finetune, policy=enabled, dataset_size=24)\n"
    )
    told = re.search(r"   fine-tune: .*kernels kept; error at objects (0\.\d+) of what it was", capsys.readouterr().out)
    before, after = plain.errors(SIGMOID), tuned.errors(SIGMOID)
    assert told is not None
    assert sum(after) < 0.97 * sum(before)
    facts = read_har(tuned.har).document(".modifications_meta_data.json")
    assert facts["finetune_error_at_objects"] == pytest.approx(float(told[1]), abs=0.006)


def test_finetune_that_nobody_confirms_gives_the_level_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Build(tmp_path / "a", *detector()).parse().optimize(FOLDED)
    monkeypatch.setattr(Verdict, "is_better", lambda *_: False)
    tuned = Build(tmp_path / "b", *detector()).parse().optimize(FOLDED.replace("level=1", "level=2"))
    assert "nothing was better on held-back samples, the level below is kept" in capsys.readouterr().out
    kept = [read_har(build.har).member(QUANTIZED_MEMBER) for build in (plain, tuned)]
    assert kept[0] == kept[1]
    assert read_har(tuned.har).document(".modifications_meta_data.json")["finetune_kept"] == []


@pytest.mark.parametrize("line", ["model_optimization_flavor(optimization_level=3)", f"{POST}(adaround)"])
def test_adaround_is_refused_with_the_reason(fast: Build, tmp_path: Path, line: str) -> None:
    build = Build(tmp_path, *detector()).parse()
    place = rf"model\.alls, line {NORMAL.count(chr(10)) + 1}: adaround "
    with pytest.raises(InputError, match=place + r".* is nothing that the emulator does.*adaround, policy=disabled"):
        build.optimize(NORMAL + line + "\n")
    build.optimize(NORMAL + line + f"\n{POST}(adaround, policy=disabled)\n")


def limits(build: Build, layer: str) -> list[float]:
    stored = np.load(io.BytesIO(read_har(build.har).member(".q.npz")))
    return [float(value) for value in stored[f"net/{layer}/limvals_out:0"]]


def test_clipping_is_performed_for_the_layers_it_names(tmp_path: Path) -> None:
    plain = Build(tmp_path / "a", *detector()).parse().optimize(FAST)
    line = (
        "pre_quantization_optimization(activation_clipping, layers=[conv5], mode=percentile, clipping_values=[0, 90])\n"
    )
    clipped = Build(tmp_path / "b", *detector()).parse().optimize(FAST + line)
    assert limits(clipped, "conv5")[1] < 0.8 * limits(plain, "conv5")[1]
    assert limits(clipped, "conv7") == limits(plain, "conv7")
    off = f"{CLIPPING}, layers=[conv5], mode=disabled)\n"
    again = Build(tmp_path / "c", *detector()).parse().optimize(FAST + line + off)
    assert limits(again, "conv5") == limits(plain, "conv5")


def test_a_range_that_a_line_gives_is_the_range(tmp_path: Path) -> None:
    line = "quantization_param(conv6, force_range_out=[-4.0, 8.0])\n"
    build = Build(tmp_path, *detector()).parse().optimize(FAST + line)
    assert limits(build, "output_layer1") == pytest.approx([-4.0, 8.0], abs=0.05)


def test_batch_norm_is_folded_right(tmp_path: Path) -> None:
    net = Net()
    norm = [net.constant(net.rng.uniform(0.5, 1.5, 8)) for _ in range(4)]
    end = net.silu(net.op("BatchNormalization", net.conv("images", (3, 8)), *norm))
    assert max(Build(tmp_path, net.model([end]), [net.node(end)]).all(FAST).errors()) < 0.03


def test_deconvolution_and_dense(tmp_path: Path) -> None:
    net = Net()
    kernel = net.constant(net.rng.normal(size=(8, 6, 2, 2)))
    stem = net.silu(net.conv("images", (3, 8), stride=2))
    up = net.op("ConvTranspose", stem, kernel, strides=[2, 2], kernel_shape=[2, 2])
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", up)))
    weight, bias = net.constant(net.rng.normal(size=(6, 10))), net.constant(net.rng.normal(size=10))
    dense = net.op("Gemm", pooled, weight, bias)
    build = Build(tmp_path, net.model([up, dense]), [net.node(up), net.node(dense)]).all(FAST)
    assert [stream.shape for stream in build.streams()] == [(32, 32, 6), (1, 1, 10)]
    assert build.streams()[1].name == "net/fc1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("change_output_activation(conv99, sigmoid)", "line 2.*'conv99' doesn't exist in the HN"),
        ("change_output_activation(conv1, sigmoid)", "line 2.*'net/conv1' feeds"),
        ("change_output_activation(conv8, mystery)", "line 2.*'mystery'"),
        ("quantization_param({mat*}, precision_mode=a16_w16)", "line 2.*matches no layer"),
        ("quantization_param(conv1, precision_mode=a4_w4)", "line 2.*a4_w4"),
        ("quantization_param(conv1, precison_mode=a8_w8)", "line 2.*precison_mode"),
        (
            "quantisation_param(conv1, precision_mode=a8_w8)",
            "line 2: there is no command 'quantisation_param' .did you mean quantization_param",
        ),
        ("n2 = normalization([0.0], [255.0])", "line 2.*1 means"),
        ("n2 = normalization([0.0, 0.0, 0.0], [0.0, 1.0, 1.0])", "line 2.*deviation of 0"),
        ("model_optimization_config(calibration, calibset_size=999)", "calibset_size=999.*24 samples"),
        ("model_optimization_config(calibration, calibset_size=0)", "line 2.*at least 1"),
        ("model_optimization_config(everything)", "line 2.*everything"),
        ("model_optimization_flavor(optimization_level=9)", "line 2.*0 to 4"),
        ("post_quantization_optimization(finetune, policy=enabled, dataset_size=999)", "dataset_size=999"),
        ("post_quantization_optimization(magic)", "line 2.*magic"),
        ('nms_postprocess("config.json")', "line 2.*decode"),
    ],
)
def test_wrong_scripts_name_the_line(fast: Build, tmp_path: Path, line: str, message: str) -> None:
    build = Build(tmp_path, *detector()).parse()
    with pytest.raises(InputError, match=message):
        build.optimize(NORMAL + line + "\n")
    assert not build.har.exists()


def test_compile_stage_commands_change_nothing(tmp_path: Path) -> None:
    extra = (
        "resources_param(max_control_utilization=0.6)\nperformance_param(compiler_optimization_level=max)\n"
        "context_switch_param(mode=allowed)\nallocator_param(timeout=100)\n{} = defuse_block(conv1, [conv2])\n"
    )
    plain = Build(tmp_path / "a", *detector()).all(FAST)
    more = Build(tmp_path / "b", *detector()).all(FAST + extra)
    assert plain.hef.read_bytes() == more.hef.read_bytes()


def test_what_has_no_counterpart_is_said(tmp_path: Path) -> None:
    line = "pre_quantization_optimization(matmul_correction, layers={matmul*}, correction_type=zp_comp_block)\n"
    har = read_har(Build(tmp_path, *attention()).parse().optimize(FAST + line).har)
    assert b"pre_quantization_optimization(matmul_correction)" in har.member(".modifications_meta_data.json")
    assert har.member(".alls").decode().endswith(line)


def test_same_bytes_twice_and_with_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = FOLDED + "post_quantization_optimization(finetune, policy=enabled)\n"
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(in_order, "worker_count", lambda count=count: count)
        build = Build(tmp_path / str(count), *detector()).all(script)
        results.append((build.har.read_bytes(), build.hef.read_bytes()))
    assert results[0] == results[1] == results[2]


def test_readers_that_cut_at_a_zip_find_nothing_to_cut(fast: Build) -> None:
    assert b"PK\x03\x04" not in fast.hef.read_bytes()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"other": images(4)}, "no tensor 'images'"),
        ({"images": images(4).astype(np.float32)}, "BadInputsShape"),
        ({"images": images(4)[:, :, :16]}, "BadInputsShape"),
        ({"images": images(4)[:0]}, "no calibration sample"),
    ],
)
def test_wrong_snapshots(tmp_path: Path, tensors: dict[str, np.ndarray], message: str) -> None:
    build = Build(tmp_path, *detector()).parse()
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, str(build.snapshot))
    with pytest.raises(InputError, match=message):
        build.optimize(FAST)


def test_stages_out_of_order(fast: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run optimize first"):
        Emulator().compile(CompileJob(fast.parsed, tmp_path / "x.hef"))
    build = Build(tmp_path, *detector())
    build.parsed = fast.har
    with pytest.raises(InputError, match="quantized_model already"):
        build.optimize(FAST)
    har = read_har(fast.parsed)
    foreign = {name: data for name, data in har.members.items() if "emulator" not in name}
    write_har(tmp_path / "foreign.har", type(har)(**{**vars(har), "members": foreign}))
    build.parsed = tmp_path / "foreign.har"
    with pytest.raises(InputError, match="not parsed by the emulator"):
        build.optimize(FAST)


def test_images_of_another_shape_or_type(fast: Build) -> None:
    session = HostSession(fast.hef)
    with pytest.raises(InputError, match=r"uint8 \[1, 32, 32, 3\]"):
        session.run(np.zeros((16, 16, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="float32"):
        session.run(np.zeros((32, 32, 3), dtype=np.float32))


def test_version_says_what_computes() -> None:
    assert Emulator().version().startswith("emulator 0.1.0 (onnxruntime ")


def test_the_report_says_what_the_finetune_kept(fast: Build, tmp_path: Path) -> None:
    script, made = tmp_path / "model.alls", tmp_path / "model.har"
    script.write_text(NORMAL + "model_optimization_flavor(optimization_level=2)\n", encoding="utf-8")
    facts = Emulator().optimize(OptimizeJob(fast.parsed, script, fast.snapshot, made)).facts
    assert facts["finetune_kept"] == read_har(made).document(".modifications_meta_data.json")["finetune_kept"]
    assert facts["finetune_judges"] == 12
