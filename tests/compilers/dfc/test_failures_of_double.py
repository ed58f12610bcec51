"""Every failure that people report, from the compiler that raises it to what is told, through the double."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from build_rules.compilers.dfc import Dfc
from build_rules.compilers.protocol import CompileJob, OptimizeJob, ParseJob, Stage, Surroundings
from build_rules.errors import InputError
from build_rules.records.stage_report import StageReport
from tests.compilers.dfc.doubles import write_detector
from tests.compilers.nets import images
from tests.dfc_double.environment import make_environment, set_behaviour

SCRIPT = """\
normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])

change_output_activation(conv9, sigmoid)
model_optimization_flavor(optimization_level=1, compression_level=0)
model_optimization_config(calibration, batch_size=4, calibset_size=16)
"""


@dataclass
class Bench:
    """A model, and an environment with the double, in which each stage can be made to fail."""

    folder: Path
    dfc: Dfc
    ends: tuple[str, ...]
    python: Path
    told: list[str] = field(default_factory=list)

    def around(self, stage: str) -> Surroundings:
        log, kept = self.folder / f"{stage}.log", self.folder / f"kept-{stage}"
        return Surroundings(progress=self.told.append, log=log, kept=kept, preset="fast")

    def parse(self) -> StageReport:
        onnx, har = self.folder / "model.onnx", self.folder / "parsed.har"
        return self.dfc.parse(ParseJob(onnx, "net", "hailo8l", self.ends, har, around=self.around("parse")))

    def optimize(self, script: str = SCRIPT) -> StageReport:
        lines, har = self.folder / "model.alls", self.folder / "model.har"
        lines.write_text(script, encoding="utf-8")
        snapshot = self.folder / "calibration.safetensors"
        job = OptimizeJob(self.folder / "parsed.har", lines, snapshot, har, self.around("optimize"))
        return self.read_back("optimize", self.dfc.optimize(job), script)

    def compile(self, script: str = "") -> StageReport:
        lines = self.folder / "compile.alls"
        lines.write_text(script, encoding="utf-8")
        hef, allocation, found = (self.folder / name for name in ("model.hef", "allocation.alls", "found.alls"))
        job = CompileJob(self.folder / "model.har", hef, lines, allocation, found, self.around("compile"))
        done = self.dfc.compile(job)
        if found.is_file():
            found.replace(allocation)
        return self.read_back("compile", done, script)

    def read_back(self, stage: Stage, did: StageReport, script: str) -> StageReport:
        return self.dfc.read_back(stage, did, (self.folder / f"{stage}.log").read_text(encoding="utf-8"), script)

    def behave(self, **behaviour: Any) -> None:
        set_behaviour(self.python, **behaviour)

    def error(self, stage: str) -> InputError:
        with pytest.raises(InputError) as caught:
            getattr(self, stage)()
        output = {"parse": "parsed.har", "optimize": "model.har", "compile": "model.hef"}[stage]
        assert not (self.folder / output).exists(), "half-written"
        return caught.value


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A bench on which the network is quantized already."""
    folder = tmp_path_factory.mktemp("bench")
    python = make_environment(folder / "dfc")
    ends = write_detector(folder)
    save_file({"images": images(24)}, str(folder / "calibration.safetensors"))
    bench = Bench(folder, Dfc(python=str(python)), ends, python)
    bench.parse()
    bench.optimize()
    return bench


STAGES = ("parsed.har", "model.har", "model.hef")
"""Outputs in order; what a stage begins with stays there while it is made to fail."""


@pytest.fixture
def bench(made: Bench) -> Iterator[Bench]:
    """The bench, with every file as it was before once the test is over."""
    before = {path: path.read_bytes() for path in made.folder.iterdir() if path.is_file()}
    made.told.clear()
    yield made
    made.behave()
    for path in made.folder.iterdir():
        if path.is_file() and path not in before:
            path.unlink()
    for path, data in before.items():
        path.write_bytes(data)


def fail(bench: Bench, stage: str, **behaviour: Any) -> InputError:
    bench.behave(**behaviour)
    outputs = {"parse": STAGES[:1], "optimize": STAGES[1:2], "compile": STAGES[2:]}[stage]
    for name in outputs:
        (bench.folder / name).unlink(missing_ok=True)
    return bench.error(stage)


KNOWN = [
    ("compile", "agent_infeasible", "finds no way to place the network on hailo8l", "allocator.log"),
    ("compile", "no_context", "does not allow several contexts", "allocator.log"),
    ("compile", "no_partition", "needs more of hailo8l than there is", "allocator.log"),
    ("compile", "two_apus", "next to softmax", "allocator.log"),
    ("compile", "crash", "crashed: a defect of its own", "allocator.log"),
    ("compile", "assertion", "crashed: a defect of its own", "allocator.log"),
    ("compile", "latency", "in the time that it gives itself", "allocator.log"),
    ("compile", "symbol_lookup", "the compiler's installation is broken", ""),
    ("parse", "recommendation", "does not take layers of the cut graph", "hailo_sdk.client.log"),
    ("parse", "misspelled", "an end node is not in the graph", "hailo_sdk.client.log"),
    ("parse", "unsupported_layer", "does not take layers of the cut graph", "hailo_sdk.client.log"),
    ("parse", "nan", "are no numbers (NaN)", ""),
    ("optimize", "unknown_layer", "refuses the model script", "hailo_sdk.client.log"),
    ("optimize", "script", "refuses the model script", "hailo_sdk.client.log"),
    ("optimize", "slope", "range too widely to be quantized", "acceleras.log"),
    ("optimize", "shift_delta", "range too widely to be quantized", "acceleras.log"),
    ("optimize", "bad_shape", "do not have the shape of the network's input", "acceleras.log"),
    ("optimize", "gpu_memory", "the memory of the GPU is exhausted", "acceleras.log"),
    ("compile", "unheard_of", "a way that is not known here (RuntimeError)", "allocator.log"),
]


@pytest.mark.parametrize(("stage", "kind", "words", "log"), KNOWN, ids=[kind for _, kind, _, _ in KNOWN])
def test_what_the_compiler_raises(bench: Bench, stage: str, kind: str, words: str, log: str) -> None:
    error = fail(bench, stage, failures=[{"at": stage, "kind": kind}])
    text = str(error)
    assert words in text
    assert text.startswith(f"net for hailo8l, {stage}: ")
    assert "\n" not in text
    assert "Traceback" not in error.printed()
    assert f"kept-{stage}" in text
    assert (bench.folder / f"kept-{stage}").is_dir()
    if log:
        assert f"The last lines of {log} are below." in text
        assert error.paste.startswith("   | ")
    shown = "".join(traceback.format_exception(error))
    assert "Traceback" in shown


def test_the_end_nodes_that_it_suggests(bench: Bench) -> None:
    text = str(fail(bench, "parse", failures=[{"at": "parse", "kind": "recommendation"}]))
    assert "It does not take /model.22/TopK." in text
    assert "It suggests these end nodes: /model.22/cv2.0/cv2.0.2/Conv, /model.22/cv3.0/cv3.0.2/Conv." in text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("change_output_activation(conv70, sigmoid)", "`change_output_activation(conv70, sigmoid)`"),
        ("quantization_param(net/conv70, precision_mode=a16_w16)", "`quantization_param(net/conv70, precision_mode="),
        (
            "model_optimization_config(calibration, calib_size=3)",
            "`model_optimization_config(calibration, calib_size=3)`",
        ),
        ("no_such_command(conv1)", "`no_such_command(conv1)`"),
    ],
)
def test_a_line_that_it_refuses_is_shown(bench: Bench, line: str, told: str) -> None:
    (bench.folder / "model.har").unlink()
    with pytest.raises(InputError) as caught:
        bench.optimize(f"{SCRIPT}# one line of their own\n{line}\n")
    assert f"That is line 7 of {bench.folder}/model.alls: {told}" in str(caught.value)


def test_more_images_than_there_are(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"model\.alls, line 6: asks for 4096 images, the snapshot holds 24"):
        bench.optimize(SCRIPT + "post_quantization_optimization(finetune, policy=enabled, dataset_size=4096)\n")


@pytest.mark.parametrize(
    ("stage", "behaviour", "words"),
    [
        ("parse", {"licence": False}, "has no licence for hailo8l"),
        ("parse", {"licence": ["hailo8"]}, "has no licence for hailo8l"),
        ("optimize", {"disk_full": "optimize"}, "the disk is full where the compiler works"),
        ("compile", {"die": {"at": "compile", "signal": 9}}, "has too little memory"),
        ("compile", {"die": {"at": "compile", "exit": 3}}, "ended before its work did"),
        ("optimize", {"die": {"at": "optimize", "signal": 11}}, "crashed: a defect of its own"),
    ],
)
def test_what_ends_it(bench: Bench, stage: str, behaviour: dict[str, Any], words: str) -> None:
    assert words in str(fail(bench, stage, **behaviour))


def test_what_hangs_is_ended(bench: Bench) -> None:
    bench.dfc = replace(bench.dfc, time_limit=3 / 3600)
    try:
        text = str(fail(bench, "compile", hang="compile"))
    finally:
        bench.dfc = replace(bench.dfc, time_limit=24.0)
    assert "did not end in the time that a step is given" in text
    assert "`time_limit`" in text


def test_an_interpreter_that_is_not_there_or_no_python_or_without_it(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "no-python"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    for python, words in (
        (tmp_path / "absent", "cannot be started"),
        (script, "cannot be started"),
        (Path(sys.executable), "there is no Dataflow Compiler in the environment"),
    ):
        with pytest.raises(InputError, match=words):
            Dfc(python=str(python)).find_out(None)


STAND_INS = [
    (
        {"image": "suite:1"},
        "docker",
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
        1,
        "docker does",
    ),
    (
        {"image": "suite:1"},
        "docker",
        "permission denied while trying to connect to the Docker daemon socket",
        1,
        "may not",
    ),
    (
        {"image": "suite:1"},
        "docker",
        "Error: No such image: suite:1",
        1,
        "the image of the compiler is not on this machine",
    ),
    (
        {"image": "suite:1", "runner": "podman"},
        "podman",
        "Error: suite:1: image not known",
        125,
        "is not on this machine",
    ),
    (
        {"command": ("ssh", "gpu1", "python3")},
        "ssh",
        "gpu1: Permission denied (publickey,password).",
        255,
        "for a password",
    ),
    (
        {"command": ("ssh", "gpu1", "python3")},
        "ssh",
        "ssh: connect to host gpu1 port 22: refused",
        255,
        "cannot be started",
    ),
]


@pytest.mark.parametrize(("settings", "program", "says", "code", "words"), STAND_INS)
def test_a_place_that_cannot_be_reached(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    program: str,
    says: str,
    code: int,
    words: str,
) -> None:
    stand_in = tmp_path / program
    stand_in.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InputError, match=words) as caught:
        Dfc(**settings).find_out(None)
    assert says[:30] in str(caught.value)
    assert str(caught.value).startswith("[dfc]: ")


def test_the_ladder_is_climbed_until_something_helps(bench: Bench) -> None:
    failing = [{"at": "compile", "kind": "agent_infeasible", "until": "context_switch_param(mode=allowed)"}]
    text = str(fail(bench, "compile", failures=failing))
    assert "Tried" not in text  # off by default
    assert "preset" not in text  # nothing has 16 bits that could be dropped
    bench.dfc = replace(bench.dfc, retry=True)
    try:
        done = bench.compile()
    finally:
        bench.dfc = replace(bench.dfc, retry=False)
    assert done.facts["remedies"] == [
        "search as hard as possible: performance_param(compiler_optimization_level=max)",
        "allow several contexts: context_switch_param(mode=allowed)",
    ]
    assert "context_switch_param(mode=allowed)" in done.warnings[0]
    assert not (bench.folder / "kept-compile").exists()
    assert [text for text in bench.told if text.startswith("attempt ")] == [
        "attempt 2: search as hard as possible",
        "attempt 3: allow several contexts",
    ]


def test_the_ladder_has_an_end(bench: Bench) -> None:
    bench.dfc = replace(bench.dfc, retry=True)
    try:
        text = str(fail(bench, "compile", failures=[{"at": "compile", "kind": "no_partition"}]))
    finally:
        bench.dfc = replace(bench.dfc, retry=False)
    assert "Tried without success: fill each context to 80%" in text
    assert "max_memory_utilization=0.6" in text
    assert text.count("performance_param(compiler_optimization_level=max)") == 1


def test_all_attempts_have_the_time_of_one_step(bench: Bench) -> None:
    before, bench.dfc = bench.dfc, replace(bench.dfc, retry=True, time_limit=5 / 3600)
    try:
        failing = [{"at": "compile", "kind": "no_partition"}]
        text = str(fail(bench, "compile", failures=failing, sleep={"compile": 2.5}))
    finally:
        bench.dfc = before
    assert "in the time that a step is given" in text
    assert "Tried without success: fill each context to 80%" in text


def test_what_it_did_not_do_as_asked_is_reported(bench: Bench) -> None:
    script = SCRIPT.replace("optimization_level=1", "optimization_level=2")
    done = bench.optimize(script)
    assert done.facts["optimization_level"] == 0
    assert done.facts["calibration_images"] == 16
    assert "lowered from 2 to 0, because there's less data" in done.warnings[0]
    assert "Quantization-Aware Fine-Tuning did not run" in done.warnings[0]
    bench.behave(gpus=1, contexts=3, written_level="kept")
    bench.dfc = replace(bench.dfc, gpus="device=0")
    try:
        compressed = bench.optimize(script.replace("compression_level=0", "compression_level=4"))
        assert compressed.facts["four_bit_layers"]
        assert compressed.facts["optimization_level"] == 2
        assert compressed.facts["calibration_images"] == 16
        assert compressed.warnings == ()  # the script asks for it
        assert "Quantization-Aware Fine-Tuning" in compressed.facts["algorithms"]  # type: ignore[operator]
    finally:
        bench.dfc = replace(bench.dfc, gpus="")
    compiled = bench.compile()
    assert compiled.facts["contexts"] == 3
    assert len(compiled.facts["utilization"]) == 3  # type: ignore[arg-type]
    assert "3 contexts" in compiled.warnings[-1]


def test_the_allocation_of_the_last_success_is_used_again(bench: Bench) -> None:
    bench.dfc = replace(bench.dfc, reuse_allocation=True, profile=True)
    try:
        first, second = bench.compile(), bench.compile()
        assert "allocation_reused" not in first.facts
        assert second.facts["allocation_reused"] is True
        assert isinstance(first.facts["profile_fps"], float)
        # An allocation that does not fit any more is no reason to fail.
        bench.behave(failures=[{"at": "compile", "kind": "agent_infeasible", "while": "allocator_param()"}])
        assert "allocation_reused" not in bench.compile().facts
    finally:
        bench.dfc = replace(bench.dfc, reuse_allocation=False, profile=False)


def test_a_profiler_that_fails_costs_no_hef(bench: Bench) -> None:
    bench.behave(failures=[{"at": "profile", "kind": "unheard_of"}])
    bench.dfc = replace(bench.dfc, profile=True)
    try:
        done = bench.compile()
    finally:
        bench.dfc = replace(bench.dfc, profile=False)
    assert "nothing is known of speed and bandwidth" in done.warnings[-1]
    assert (bench.folder / "model.hef").is_file()


def test_noise_does_not_hide_what_it_says(bench: Bench) -> None:
    bench.behave(
        noise={"bytes": 200_000, "binary": True, "at": ["compile"]},
        failures=[{"at": "compile", "kind": "agent_infeasible"}],
    )
    with pytest.raises(InputError, match="finds no way to place"):
        bench.compile()


def test_progress_of_a_whole_run(bench: Bench) -> None:
    bench.parse()
    bench.optimize()
    bench.compile()
    for text in ("translation", "statistics collector: 100 %", "writing the HEF"):
        assert text in bench.told
    assert all(text.isprintable() and len(text) < 100 for text in bench.told)
