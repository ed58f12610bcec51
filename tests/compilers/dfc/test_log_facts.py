"""What the compiler's logs say, read back; with what was asked, what is reported and warned of."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.compilers.dfc.asked import ADAROUND, BIAS_CORRECTION, FINETUNE, Asked, read_asked
from build_rules.compilers.dfc.log_facts import Utilization, read_log, read_times
from build_rules.compilers.dfc.log_report import report
from build_rules.compilers.dfc.log_text import last_lines, read_line, split_sections
from build_rules.records.stage_report import dump_report
from tests.compilers.dfc.logs import COMPILED, LOWERED, OPTIMIZED, joined

SCRIPT = """\
normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])
model_optimization_flavor(optimization_level=2, compression_level=0)
model_optimization_config(calibration, batch_size=8, calibset_size=1024)
post_quantization_optimization(finetune, policy=enabled, dataset_size=1024, batch_size=8)
"""


def test_what_an_optimization_did() -> None:
    facts = read_log(OPTIMIZED)
    assert facts.datasets == {"calibration": 1024, "finetune": 1024}
    assert facts.ran == ("Mixed Precision", "Statistics Collector", FINETUNE, "Layer Noise Analysis")
    assert facts.skipped[-2:] == (BIAS_CORRECTION, ADAROUND)
    assert facts.end_nodes == ("/model.22/cv2.0/cv2.0.2/Conv", "/model.22/cv3.0/cv3.0.2/Conv")
    assert facts.noise == {"yolov8n/output_layer1": 28.08, "yolov8n/output_layer2": -0.5}
    assert facts.level is None


def test_what_was_lowered() -> None:
    facts = read_log(LOWERED)
    assert facts.level == 0
    assert facts.level_reason == "there's less data than the recommended amount (1024), and there's no available GPU"
    assert facts.four_bit == ("yolov8n/conv40", "yolov8n/conv51")
    assert facts.four_bit_ratio == 0.2
    assert facts.narrowed == ("yolov8n/ne_activation_fc14",)
    assert facts.unnormalized
    # The names of older versions are those of today.
    assert facts.ran == ("Statistics Collector",)
    assert facts.skipped == (BIAS_CORRECTION, FINETUNE, "Matmul Equalization")


def test_what_a_compilation_did() -> None:
    facts = read_log(COMPILED)
    assert facts.contexts == 2
    assert facts.single_context == "Recoverable single context error"
    assert facts.utilization == (Utilization(57.8, 27.7, 39.1),) * 2
    assert facts.bandwidth == {"inputs": 9.375, "outputs": 9.22852, "ddr buffers": 0.0, "inter context tensors": 1.5}
    assert (facts.partitions, facts.attempts) == (2, 4)


def test_one_context() -> None:
    log = "[info] Using Single-context flow\n[info] Successful Mapping (allocation time: 23s)\n"
    assert read_log(log).contexts == 1
    assert read_log(log + "[info] Using Multi-context flow\n").contexts is None


def test_what_is_said_in_two_logs_counts_once() -> None:
    dated = "\n".join(
        line.replace("[info]", "2026-10-04 23:10:01,123 - INFO - qft.py:332 -") for line in COMPILED.splitlines()
    )
    facts = read_log(joined(output=COMPILED, allocator_log=dated))
    assert facts == read_log(COMPILED)


@pytest.mark.parametrize(
    "line",
    [
        "[info] Using dataset with 64 entries for calibration",
        "\x1b[32m[info]\x1b[0m Using dataset with 64 entries for calibration",
        "[2023-07-17 10:03:11,265][hailo_sdk.client][INFO] - Using dataset with 64 entries for calibration",
        "2026-10-04 23:10:01,123 - INFO - statistics.py:33 - Using dataset with 64 entries for calibration",
        "Calibration:   0%|   | 0/64 [00:00<?]\r[info] Using dataset with 64 entries for calibration",
        "\x1b]0;title\x07[INFO] Using dataset with 64 entries for calibration\r\n",
    ],
)
def test_whatever_a_line_begins_with(line: str) -> None:
    assert read_line(line).text == "Using dataset with 64 entries for calibration"
    assert read_line(line).level == "info"
    assert read_log(line).datasets == {"calibration": 64}


def test_times_are_told_apart_from_facts() -> None:
    times = read_times(joined(acceleras_log=OPTIMIZED, allocator_log=COMPILED))
    assert times["Translation"] == 0.67
    assert times["Statistics Collector"] == 284.9
    assert times[FINETUNE] == 4156.74
    assert times["Partition search"] == 1258.302
    assert times["Allocation"] == 169.0
    assert times["Compilation"] == 5.0
    again = COMPILED.replace("2m 49s", "1m")
    assert read_times(joined(first=COMPILED, second=again))["Allocation"] == 60.0
    text = dump_report(report(read_log(OPTIMIZED + COMPILED), read_asked(SCRIPT)))
    assert "4156" not in text
    assert "/home" not in text


def test_what_a_script_asks_for() -> None:
    assert read_asked(SCRIPT) == Asked(2, 0, 1024, 1024, (FINETUNE,), 1024, 4)
    off = SCRIPT + "post_quantization_optimization(finetune, policy=disabled)\n"
    assert read_asked(off) == Asked(2, 0, 1024, None, (), 1024, 3)
    both = "model_optimization_flavor(optimization_level=4)\npost_quantization_optimization(bias_correction)\n"
    assert read_asked(both).algorithms == (ADAROUND, BIAS_CORRECTION)
    rounding = read_asked(SCRIPT + "\npost_quantization_optimization(adaround, dataset_size=2048)\n")
    assert (rounding.most_images, rounding.most_images_line) == (2048, 6)
    assert read_asked("(((") == Asked()
    assert read_asked("") == Asked()


def test_a_run_that_did_what_was_asked_is_no_reason_to_warn() -> None:
    done = report(read_log(OPTIMIZED), read_asked(SCRIPT))
    assert done.warnings == ()
    assert done.facts["optimization_level"] == 2
    assert done.facts["calibration_images"] == 1024
    assert done.facts["finetune_images"] == 1024
    assert done.facts["noise_db"] == {"yolov8n/output_layer1": 28.08, "yolov8n/output_layer2": -0.5}


def test_what_is_not_as_it_was_asked_is_warned_of() -> None:
    done = report(read_log(LOWERED), read_asked(SCRIPT))
    text = "\n".join(done.warnings)
    assert "lowered from 2 to 0, because there's less data" in text
    assert f"GPU: {FINETUNE} did not run. The network" in text
    assert '`gpus = "all"` and 1,024 images' in text
    assert "the layers yolov8n/conv40, yolov8n/conv51 got 4-bit weights (20% of all weights)" in text
    assert "used 64 images of the 1024" in text
    assert text.count("did not run") == 1
    assert BIAS_CORRECTION not in text  # level 2 does not ask for it
    assert "layer yolov8n/ne_activation_fc14 lost more than half" in text
    assert "not normalized" in text
    assert done.facts["optimization_level"] == 0


def test_a_level_that_was_not_asked_for_is_told_too_and_one_that_was_is_not() -> None:
    assert "was lowered to 0" in report(read_log(LOWERED)).warnings[0]
    level0 = "model_optimization_flavor(optimization_level=0, compression_level=4)\n"
    told = "\n".join(report(read_log(LOWERED), read_asked(level0)).warnings)
    assert "lowered" not in told
    assert "4-bit" not in told


def test_fewer_images_for_the_finetune() -> None:
    log = (
        f"[warning] {FINETUNE}: Dataset didn't have enough data for dataset_size of 1024\n"
        f"[info] Starting {FINETUNE}\n[info] Using dataset with 512 entries for finetune\n"
    )
    assert report(read_log(log)).warnings == ("the fine-tune used 512 images of the 1024 that it asks for.",)
    short = "[warning] Adaround: Dataset didn't have enough data for dataset_size of 256\n"
    assert report(read_log(short)).warnings == ("Adaround asks for 256 images, and there were fewer.",)


def test_an_algorithm_that_was_asked_for_and_did_not_run() -> None:
    log = OPTIMIZED + "[info] Adaround skipped\n"
    asked = read_asked(SCRIPT + "post_quantization_optimization(adaround, policy=enabled)\n")
    assert report(read_log(log), asked).warnings == ("Adaround did not run, though the script asks for it.",)


def test_several_contexts_are_slower() -> None:
    done = report(read_log(COMPILED))
    assert done.facts["contexts"] == 2
    assert done.facts["utilization"] == [{"control": 57.8, "compute": 27.7, "memory": 39.1}] * 2
    assert [warning for warning in done.warnings if "2 contexts" in warning] == list(done.warnings)


def test_many_layers_are_named_in_the_facts_alone() -> None:
    log = "".join(f"[info] Assigning 4bit weights to layer net/conv{i}\n" for i in range(400))
    done = report(read_log(log))
    assert "256 layers (net/conv0, net/conv1, net/conv2, ...)" in done.warnings[0]
    assert len(done.facts["four_bit_layers"]) == 256  # type: ignore[arg-type]


def test_sections() -> None:
    text = f"before\n{joined(a_log='one', b_log='two')}"
    assert [(name, part.strip()) for name, part in split_sections(text)] == [
        ("", "before"),
        ("a.log", "one"),
        ("b.log", "two"),
    ]
    assert split_sections("") == ()


def test_the_last_lines_are_those_that_say_something() -> None:
    log = COMPILED.partition("[info] yolov8n_context_0 util")[0] + "[error] Mapping Failed\n[error] Mapping Failed\n"
    assert last_lines(log, 4) == (
        "Layers feasibility validated successfully",
        "Running resources allocation (mapping) flow, time per context: 59m 59s",
        "Context:0/1 Iteration 4: Trying parallel mapping...",
        "[error] Mapping Failed",
    )


@given(st.text(max_size=400))
def test_whatever_is_in_a_log(text: str) -> None:
    dump_report(report(read_log(text), read_asked(text)))
    read_times(text)
    last_lines(text, 5)


PIECES = st.sampled_from(
    [*OPTIMIZED.splitlines(), *LOWERED.splitlines(), *COMPILED.splitlines(), "==> a.log <==", "\r"]
)


@given(st.lists(PIECES | st.text(max_size=30), max_size=40))
def test_logs_in_pieces(lines: list[str]) -> None:
    text = "\n".join(lines)
    done = report(read_log(text), read_asked(SCRIPT))
    assert dump_report(done) == dump_report(report(read_log(text), read_asked(SCRIPT)))
    assert all("\n" not in warning for warning in done.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]" * 500_000,
        "\x1b[" + "0" * 2_000_000,
        "End nodes mapped from original model: " + "'" * 2_000_000,
        "x" * 3_000_000,
        "\r" * 3_000_000,
        "==> a <==\n" * 100_000,
        "[info] Using dataset with 1 entries for a\n" * 100_000,
        "\n".join(f"[info] a{i} is done (completion time is 00:00:00)" for i in range(50_000)),
        "9" * 1_000_000 + "%|",
        "Reducing optimization level to " + "9" * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_logs_are_read_in_time(text: str) -> None:
    begun = time.process_time()
    report(read_log(text))
    read_times(text)
    last_lines(text, 8)
    assert time.process_time() - begun < 5
