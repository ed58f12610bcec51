"""The outputs of a HEF as the metadata room sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build_rules.errors import InputError
from build_rules.hef import Hef, HefSpec, HostOp, Quantization, Stream, read_hef, write_hef
from build_rules.metadata.hef_outputs import physical_tensors

INPUT = Stream("net/input_layer1", "input", (64, 64, 3), (64, 64, 8), "NHWC", 1, Quantization(1.0, 0.0, 0.0, 255.0))
OUTPUT = Stream(
    "net/conv1", "output", (8, 4, 64), (8, 4, 64), "NHWC", 2, Quantization(0.5, 3.0, -1.5, 32766.0), ("/Conv",)
)


@pytest.fixture
def hef(tmp_path: Path) -> Hef:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(HefSpec("hailo8l", "1.0", 0, "net", (INPUT,), (OUTPUT,))))
    return read_hef(path)


def changed(hef: Hef, **group: object) -> Hef:
    return replace(hef, network_groups=(replace(hef.network_groups[0], **group),))  # type: ignore[arg-type]


def test_an_output_is_told_as_it_is(hef: Hef) -> None:
    (tensor,) = physical_tensors(hef)
    assert (tensor.name, tensor.shape, tensor.dtype) == ("net/conv1", (1, 8, 4, 64), "uint16")
    assert (tensor.scale, tensor.zero_point, tensor.limits) == (0.5, 3, (-1.5, 32766.0))
    assert tensor.original_names == ("/Conv",)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (Quantization(0.5, 1.5, 0.0, 1.0), "not an integer"),
        (Quantization(0.5, 1.0, 0.0, 1.0, scales=(0.5, 0.25)), "per feature"),
        (Quantization(0.5, 1.0, 0.0, 1.0, zero_points=(1.0, 2.0)), "per feature"),
    ],
)
def test_quantization_that_readers_cannot_follow(hef: Hef, numbers: Quantization, told: str) -> None:
    with pytest.raises(InputError, match=told):
        physical_tensors(changed(hef, outputs=(replace(OUTPUT, quantization=numbers),)))


def test_equal_values_for_every_feature_are_one_value(hef: Hef) -> None:
    numbers = Quantization(0.5, 1.0, 0.0, 1.0, scales=(0.5, 0.5), zero_points=(1.0, 1.0))
    assert physical_tensors(changed(hef, outputs=(replace(OUTPUT, quantization=numbers),)))[0].scale == 0.5


def test_the_vectors_count_where_the_file_says_so(hef: Hef) -> None:
    numbers = Quantization(9.0, 7.5, 0.0, 1.0, scales=(0.1, 0.1), zero_points=(3.0, 3.0), per_feature=True)
    (tensor,) = physical_tensors(changed(hef, outputs=(replace(OUTPUT, quantization=numbers),)))
    assert (tensor.scale, tensor.zero_point) == (float(np.float32(0.1)), 3)
    without = replace(numbers, scales=(), zero_points=(), zero_point=2.0)
    (tensor,) = physical_tensors(changed(hef, outputs=(replace(OUTPUT, quantization=without),)))
    assert (tensor.scale, tensor.zero_point) == (9.0, 2)
    for endless in (1e300, float("nan")):
        wrong = replace(numbers, zero_points=(endless, endless))
        with pytest.raises(InputError, match="not an integer"):
            physical_tensors(changed(hef, outputs=(replace(OUTPUT, quantization=wrong),)))


def test_host_operations_and_several_networks_are_refused(hef: Hef) -> None:
    with pytest.raises(InputError, match="nms-yolov8"):
        physical_tensors(changed(hef, host_ops=(HostOp("nms", "nms-yolov8", ("net/conv1",)),)))
    with pytest.raises(InputError, match="2 network groups"):
        physical_tensors(replace(hef, network_groups=hef.network_groups * 2))
