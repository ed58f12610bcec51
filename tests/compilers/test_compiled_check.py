"""A HEF that is not what was asked for is refused, whichever compiler made it; what does no harm is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from build_rules.alls.script import parse_script
from build_rules.compilers.asked_outputs import AskedOutput, asked_outputs
from build_rules.compilers.compiled_check import check_compiled, find_oddities, find_problems
from build_rules.compilers.describe_har import HarOutput, describe
from build_rules.compilers.emulator import Emulator
from build_rules.compilers.protocol import CompileJob
from build_rules.errors import InputError
from build_rules.hef import Hef, HostOp, Quantization, read_hef
from tests.compilers.nets import NORMAL, Build, detector
from tests.shared import SHARED, needs_shared


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Boxes in 16 bits, scores with their sigmoid, prototypes as they are."""
    built = Build(tmp_path_factory.mktemp("check"), *detector()).parse()
    scores = describe(built.parsed).outputs[1].stream
    built.optimize(
        f"{NORMAL}change_output_activation({scores}, sigmoid)\n"
        "quantization_param(output_layer1, precision_mode=a16_w16)\n"
    )
    Emulator().compile(CompileJob(built.har, built.hef))
    return built


@pytest.fixture(scope="module")
def asked(build: Build) -> tuple[AskedOutput, ...]:
    return asked_outputs(describe(build.har), parse_script(build.script.read_text(), "model.alls"))


def changed(build: Build, index: int, **changes: object) -> Hef:
    """The HEF with one output of another kind."""
    hef = read_hef(build.hef)
    (group,) = hef.network_groups
    outputs = list(group.outputs)
    outputs[index] = replace(outputs[index], **changes)  # type: ignore[arg-type]
    return replace(hef, network_groups=(replace(group, outputs=tuple(outputs)),))


def with_outputs(build: Build, *indices: int, host_ops: tuple[HostOp, ...] = ()) -> Hef:
    hef = read_hef(build.hef)
    (group,) = hef.network_groups
    outputs = tuple(group.outputs[index] for index in indices)
    return replace(hef, network_groups=(replace(group, outputs=outputs, host_ops=host_ops),))


def test_what_was_asked_for_is_made(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    assert [(one.bits, one.activation) for one in asked] == [(16, None), (8, "sigmoid"), (8, None)]
    assert check_compiled(build.hef, build.har, build.script.read_text(), "hailo8l") == ()


def test_sixteen_bits_that_became_eight(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    (problem,) = find_problems(asked, changed(build, 0, data_bytes=1), "hailo8l")
    assert problem == (
        f"output {asked[0].output.stream} (ONNX node {build.ends[0]}) is delivered in 8 bits instead of 16; another "
        "version of the compiler may keep them"
    )
    lowered = tuple(replace(one, output=replace(one.output, bits=8)) for one in asked)
    (problem,) = find_problems(lowered, changed(build, 0, data_bytes=1), "hailo8l")
    assert "as in the quantized network already" in problem


def test_eight_bits_that_became_sixteen(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    (problem,) = find_problems(asked, changed(build, 2, data_bytes=2), "hailo8l")
    assert problem.endswith("is delivered in 16 bits instead of 8")


def test_an_activation_that_was_not_folded(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    logits = Quantization(0.1, 128.0, 0.0, 0.0)
    (problem,) = find_problems(asked, changed(build, 1, quantization=logits), "hailo8l")
    assert problem.endswith("takes values from -12.8 to 12.7, so its sigmoid is not on the chip")
    measured = Quantization(1 / 255, 0.0, 0.0, 0.9)
    assert find_problems(asked, changed(build, 1, quantization=measured), "hailo8l") == ()
    assert find_problems(asked, changed(build, 0, quantization=logits), "hailo8l") == ()


def test_a_shape_of_its_own(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    height, width, channels = asked[2].output.shape[1:]
    (problem,) = find_problems(asked, changed(build, 2, shape=(height, width, channels + 1)), "hailo8l")
    assert problem.endswith(f"is {height}x{width}x{channels + 1} instead of {height}x{width}x{channels} (HxWxC)")


def test_outputs_that_are_missing_or_too_many(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    (missing,) = find_problems(asked, with_outputs(build, 0, 2), "hailo8l")
    assert missing == f"output {asked[1].output.stream} (ONNX node {build.ends[1]}) is missing"
    (stranger,) = find_problems(asked[:2], with_outputs(build, 0, 1, 2), "hailo8l")
    assert stranger == f"it delivers {asked[2].output.stream}, which nobody asked for"
    op = HostOp("net/nms", "nms-yolov8", (asked[0].output.stream,))
    (host,) = find_problems(asked, with_outputs(build, 0, 1, 2, host_ops=(op,)), "hailo8l")
    assert "leaves nms-yolov8 to the host" in host


def test_another_chip_or_no_network(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    hef = read_hef(build.hef)
    assert find_problems(asked, hef, "hailo8") == ("it is for hailo8l, and the target is hailo8",)
    empty = replace(hef, network_groups=())
    assert find_problems(asked, empty, "hailo8l") == ("it holds 0 network groups instead of one",)


def test_another_order_and_other_names_do_no_harm(build: Build, asked: tuple[AskedOutput, ...]) -> None:
    swapped = with_outputs(build, 1, 0, 2)
    assert find_problems(asked, swapped, "hailo8l") == ()
    assert find_oddities(asked, swapped) == ("the HEF lists its outputs in another order than the cut.",)
    renamed = changed(build, 0, name="net/conv99")
    assert find_problems(asked, renamed, "hailo8l") == ()
    assert find_oddities(asked, renamed) == (f"output {asked[0].output.stream} is called net/conv99 in the HEF.",)
    foreign = changed(build, 0, name="net/conv99", original_names=("/other/Conv",))
    assert len(find_problems(asked, foreign, "hailo8l")) == 2


def test_all_that_is_wrong_is_told_at_once(build: Build) -> None:
    script = "quantization_param({output_layer*}, precision_mode=a16_w16)\n"
    with pytest.raises(InputError) as raised:
        check_compiled(build.hef, build.har, script, "hailo8")
    text = str(raised.value)
    assert text.startswith("the compiler made another HEF than it was asked for: it is for hailo8l")
    assert text.count("8 bits instead of 16") == 1  # told of both outputs in one sentence
    assert text.count("(ONNX node ") == 2
    assert "\n" not in text


@needs_shared
@pytest.mark.parametrize(("bits", "wrong"), [(16, 0), (8, 1)])
def test_a_real_hef_with_outputs_of_both_widths(bits: int, wrong: int) -> None:
    hef = read_hef(SHARED / "hefs" / "v1_yolov5n_seg_h8_rpicam.hef")
    asked = [
        AskedOutput(HarOutput(s.name, f"net/o{i}", s.original_names, (1, *s.shape), None, None), bits if i else 8, None)
        for i, s in enumerate(hef.network_groups[0].outputs)
    ]
    assert len(find_problems(asked, hef, "hailo8")) == wrong
    assert find_oddities(asked, hef) == ()


@needs_shared
def test_folded_sigmoids_of_real_hefs_are_there() -> None:
    for name, arch, folded in (("v3_scrfd_2.5g", "hailo15h", 3), ("v0_xfeat_b", "hailo8", 1)):
        hef = read_hef(SHARED / "hefs" / f"{name}.hef")
        streams = hef.network_groups[0].outputs
        asked = [
            AskedOutput(HarOutput(s.name, s.name, s.original_names, (1, *s.shape), None, None), 8, "sigmoid")
            for s in streams
        ]
        assert len(find_problems(asked, hef, arch)) == len(streams) - folded
