"""What goes wrong in the compiler, as data: by which words it is known, what it is, and what helps.

The words are those of public logs and threads (DFC 3.24 to 3.33); `dfc_failures.py` makes a message of a row. A hint
may name `{target}`, `{preset}`, and `{narrower}`: to take another preset, where one has fewer bits. Rows are tried in
order, so that the narrower one stands first; lines that are in the log of every good run are no sign of anything
(`is_ordinary`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

__all__ = ["FAILURES", "GENERAL", "KINDS", "SILENT", "KnownFailure", "find_failure", "is_ordinary"]

ALLOCATOR, CLIENT, OPTIMIZER = "allocator.log", "hailo_sdk.client.log", "acceleras.log"
FIT = ("max", "contexts", "resources-0.8", "resources-0.6")
CAPACITY = ("resources-0.8", "resources-0.6", "max", "contexts")


@dataclass(frozen=True)
class KnownFailure:
    """One row: `words` are regular expressions, any of which is enough; `told` follows "MODEL for TARGET:".

    `log` is the log that tells most, `""` the one of the stage. `anywhere`: the words count in a log too, and not only
    in what was raised. `remedies` are the names of what may help without the user, in order (`remedies.py`).
    """

    name: str
    words: tuple[str, ...]
    told: str
    hint: str
    log: str = ""
    anywhere: bool = True
    remedies: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any of the words."""
        return re.compile("|".join(f"(?:{words})" for words in self.words))


_APPEND = '`[alls] append = ["{}"]` in model.toml'

FAILURES: tuple[KnownFailure, ...] = (
    KnownFailure(
        "disk full",
        (r"No space left on device", r"\[Errno 28\]", r"[Dd]isk quota exceeded"),
        "the disk is full where the compiler works.",
        "Make room there: it keeps several copies of the network and of the calibration images. In a container that is "
        "the container's own disk and the folder of the build.",
    ),
    KnownFailure(
        "broken installation",
        (
            r"symbol lookup error",
            r"undefined symbol: ",
            r"GLIBC(?:XX)?_[\d.]{1,9}' not found",
            r"numpy\.\w{1,20} size changed",
            r"_ARRAY_API not found",
            r"cannot open shared object file",
        ),
        "the compiler's installation is broken: its programs do not fit the libraries around them.",
        "Install it again, into an environment with nothing else in it: `doit doctor --install-dfc WHEEL`.",
    ),
    KnownFailure(
        "licence",
        (
            r"[Ll]icen[cs]e\b.{0,80}\b(?:expired|invalid|missing|required|not (?:found|valid)|denied)",
            r"\b(?:[Nn]o|[Ii]nvalid|[Ee]xpired|[Mm]issing) (?:\w{1,20} )?[Ll]icen[cs]e\b",
        ),
        "the compiler has no licence for {target}.",
        "Ask Hailo for one that covers it, or build for a chip that the licence covers (`hw_arch`); `doit doctor` "
        "shows which those are.",
    ),
    KnownFailure(
        "memory of the GPU",
        (
            r"GPU memory has been exhausted",
            r"ResourceExhausted",
            r"CUDA_ERROR_OUT_OF_MEMORY",
            r"OOM when allocating",
            r"AccelerasResourceError",
        ),
        "the memory of the GPU is exhausted.",
        "Give the fine-tune a smaller batch, "
        + _APPEND.format("post_quantization_optimization(finetune, policy=enabled, batch_size=2)")
        + " (adaround takes `batch_size` too), and close what else uses the GPU.",
        log=OPTIMIZER,
    ),
    KnownFailure(
        "GPU",
        (
            r"DNN library is not found",
            r"CUDNN_STATUS_\w{1,60}",
            r"libdevice not found",
            r"No algorithm worked",
            r"CUDA_ERROR_(?!OUT_OF_MEMORY|NO_DEVICE)\w{1,60}",
        ),
        "the GPU does not work with the compiler's TensorFlow.",
        'Install the CUDA and cuDNN that this version asks for, or compile without a GPU: `gpus = "none"`, level 0 '
        "or 1.",
        log=OPTIMIZER,
        anywhere=False,
    ),
    KnownFailure(
        "memory",
        (
            r"\bMemoryError\b",
            r"Unable to allocate \S{1,20} [GMT]iB",
            r"std::bad_alloc",
            r"[Cc]annot allocate memory",
            r"\bsignal 9\b",
            r"\bSIGKILL\b",
            r"\b(?:code|status) 137\b",
            r"^Killed$",
        ),
        "the machine has too little memory for it.",
        "Run one step at a time (`doit -n 1`, or `resources` that count it), give fewer calibration images "
        "(`calibration_count`), or take a machine or container with more.",
    ),
    KnownFailure(
        "16 bits beside softmax",
        (r"has \d{1,3} APUs but max allowed is \d{1,3}",),
        "a layer with 16 bits stands where the chip has room for 8 only, next to softmax or a change of format.",
        "{narrower}Remove own lines that ask for `a16_w16` there.",
        log=ALLOCATOR,
    ),
    KnownFailure(
        "16-bit biases",
        (r"needed for 16bit L2 biases", r"\b16x4 is not supported"),
        "biases stayed at 16 bits, and do not fit on the chip: the optimization level is too low.",
        "Let the compiler see a GPU, so that it keeps the level, or ask for what corrects biases: "
        + _APPEND.format("post_quantization_optimization(bias_correction, policy=enabled)")
        + ".",
        log=ALLOCATOR,
        remedies=FIT,
    ),
    KnownFailure(
        "contexts not allowed",
        (r"Context switch is disabled", r"NO_CONTEXT_ENABLED"),
        "the network does not fit on {target} at once, and the script does not allow several contexts.",
        "Allow them: " + _APPEND.format("context_switch_param(mode=allowed)") + ", or `retry = true` in `[dfc]`.",
        log=ALLOCATOR,
        remedies=("contexts", "max", "resources-0.8", "resources-0.6"),
    ),
    KnownFailure(
        "allocation took too long",
        (
            r"Watchdog expired",
            r"Mapping Failed \(Timeout",
            r"Resolver didn't find possible solution",
            r"Latency simulation reached timeout",
        ),
        "the compiler found no place for all layers in the time that it gives itself.",
        "Give it more, "
        + _APPEND.format("allocator_param(timeout=4h)")
        + ", or make it easier: `retry = true` in `[dfc]` tries that, so does a smaller input.",
        log=ALLOCATOR,
        remedies=CAPACITY,
    ),
    KnownFailure(
        "frames per second",
        (r"Failed to reach required FPS",),
        "the chip cannot run the network as fast as is asked.",
        "Remove an own `performance_param(fps=...)`; without one, the network is too large for {target}: take a "
        "smaller one, or a smaller input.",
        log=ALLOCATOR,
        remedies=CAPACITY,
    ),
    KnownFailure(
        "does not fit",
        (r"No successful assignments", r"[Aa]gent infeasible", r"required too many SCs", r"Auto defused failed"),
        "the compiler finds no way to place the network on {target}.",
        "{narrower}Let it search harder and in several contexts ("
        + _APPEND.format('performance_param(compiler_optimization_level=max)", "context_switch_param(mode=allowed)')
        + ", or `retry = true` in `[dfc]`, which tries these in turn), or build with a smaller input.",
        log=ALLOCATOR,
        remedies=FIT,
    ),
    KnownFailure(
        "capacity",
        (
            r"(?<!Found )\bvalid partition",
            r"too many res?ources",
            r"microcode exceeded size",
            r"Failed to save enough resources",
            r"presolve failed",
        ),
        "the network needs more of {target} than there is.",
        "Leave the compiler less of each part to fill, so that it divides the network sooner ("
        + _APPEND.format(
            "resources_param(max_control_utilization=0.6, max_compute_utilization=0.6, max_memory_utilization=0.6)"
        )
        + ", or `retry = true` in `[dfc]`), or take a smaller network or input.",
        log=ALLOCATOR,
        remedies=CAPACITY,
    ),
    KnownFailure(
        "no number",
        (r"Unsupported NaN values",),
        "weights of the network are no numbers (NaN).",
        "The export or its training is broken: look for NaN in the .onnx, and export an earlier checkpoint.",
        log=OPTIMIZER,
    ),
    KnownFailure(
        "end nodes",
        (r"MisspellNodeError", r"Unable to find (?:end|start) node"),
        "an end node is not in the graph that the compiler was given.",
        "Run doit again, so that the graph is cut anew; if it stays, report it: the cut and the compiler disagree "
        "about a name.",
        log=CLIENT,
    ),
    KnownFailure(
        "unsupported layers",
        (
            r"ParsingWithRecommendationException",
            r"\bUnsupported\w{0,60}(?:LayerError|OperationError|ModelError)\b",
            r"\bUnexpectedNodeError\b",
            r"\w{1,60} operation is unsupported",
            r"Parsing failed\. The errors found",
        ),
        "the compiler does not take layers of the cut graph.",
        "Cut in front of them (`[[split.endpoint]]` in model.toml, docs/cutting.md), or export with opset 11 to 17.",
        log=CLIENT,
    ),
    KnownFailure(
        "model script",
        (
            r"AllocatorScriptParserException",
            r"doesn't exist in the HN",
            r"No argument named\b",
            r"Post-process config file isn't found",
            r"Cannot infer bbox conv layers",
            r"\bNMSConfig\w{0,40}Exception",
        ),
        "the compiler refuses the model script: it names a layer or an option that does not exist.",
        "Name layers by their ONNX node (`onnx:/model.22/cv3.0/cv3.0.2/Conv`) in own lines: the compiler's "
        "own names change with the graph.",
        log=CLIENT,
    ),
    KnownFailure(
        "ranges",
        (r"NegativeSlopeExponentNonFixable", r"unsupported required slope", r"does not support shift delta"),
        "values of a layer range too widely to be quantized.",
        "Calibrate with real images of what the network will see (`calibration`), check that `[input] normalization` "
        "is what it was trained with, or clip activations: "
        + _APPEND.format(
            "pre_quantization_optimization(activation_clipping, layers={{*}}, mode=percentile, "
            "clipping_values=[0.01, 99.99])"
        )
        + ".",
        log=OPTIMIZER,
    ),
    KnownFailure(
        "calibration too small",
        (
            r"[Dd]ataset didn't have enough data",
            r"calibset_size\b.{0,120}\b(?:larger|bigger|more|exceeds?|greater)\b",
            r"\b(?:[Nn]ot enough|fewer|less) (?:\w{1,20} ){0,3}(?:data|images|entries|samples)\b",
        ),
        "the calibration holds fewer images than the script asks for.",
        "Give more (`calibration_count`, a larger pool), or remove own lines with `calibset_size` or `dataset_size`.",
        log=OPTIMIZER,
        anywhere=False,
    ),
    KnownFailure(
        "calibration shape",
        (r"BadInputsShape", r"doesn't match network's input shape"),
        "the calibration images do not have the shape of the network's input.",
        "Run doit again, so that they are prepared anew; if it stays, report it: it is not your input's fault.",
        log=OPTIMIZER,
    ),
    KnownFailure(
        "chip and version",
        (
            r"\bhw_?[Aa]rch\w{0,20}\b.{0,80}\b(?:not supported|unsupported|invalid|unknown|not one of)",
            r"\b(?:[Uu]nsupported|[Ii]nvalid|[Uu]nknown|is not a valid) hw_?[Aa]rch",
        ),
        "this version of the compiler does not compile for {target}.",
        "Versions 3.27 to 3.34 are for Hailo-8 and 8L, 5.x for Hailo-10 and 15: name an environment that has the "
        "right one (`[tool.build_rules.dfc]`).",
        anywhere=False,
    ),
    KnownFailure(
        "state",
        (r"InvalidStateException", r"Did you forget to quantize", r"\b(?:HAR|har)\b.{0,60}\b(?:newer|older) version"),
        "the HAR is not one that this version takes at this stage.",
        "Build it again: `doit clean` on the model's target, then doit.",
        anywhere=False,
    ),
    KnownFailure(
        "crash",
        (
            r"unexpected crash",
            r"Assertion .{1,300} failed",
            r"Assertion failed",
            r"Segmentation fault",
            r"core dumped",
            r"\bSIG(?:SEGV|ABRT|BUS|FPE)\b",
        ),
        "the compiler crashed: a defect of its own.",
        "Another preset than {preset} or `performance_param(compiler_optimization_level=max)` may go round it; Hailo "
        "needs allocator.log to repair it.",
        log=ALLOCATOR,
    ),
)

GENERAL: tuple[KnownFailure, ...] = (
    KnownFailure(
        "no allocation",
        (r"\bMapping Failed\b", r"\bBackendAllocatorException\b"),
        "the compiler could not place the network on {target}.",
        "{narrower}Let it search harder and in several contexts (`retry = true` in `[dfc]` tries these in turn), or "
        "build with a smaller input.",
        log=ALLOCATOR,
        remedies=FIT,
    ),
)
"""What is known only so far; tried when nothing in any log says more."""

KINDS: dict[str, tuple[str, str]] = {
    "start": (
        "what runs the compiler cannot be started.",
        "`python`, `image` or `command` in `[tool.build_rules.dfc]` has to lead to the Python of an environment that "
        "has the compiler; `doit doctor --install-dfc WHEEL` makes one.",
    ),
    "environment": (
        "there is no Dataflow Compiler in the environment that `[tool.build_rules.dfc]` names.",
        "Install the wheel from Hailo's developer zone there, or make the environment with `doit doctor --install-dfc "
        "WHEEL`.",
    ),
    "died": (
        "the compiler's process ended before its work did.",
        "`doit` runs it again; where it ends like that each time, please report it with the log.",
    ),
    "garbage": (
        "what ran in place of the compiler gave no result that can be read.",
        "Something between here and there prints into its answer or swallows it: look at `command`, and at what the "
        "shell over there prints when it starts.",
    ),
    "timeout": (
        "the compiler did not end in the time that a step is given.",
        "If its log shows progress, give it more: `time_limit`, in hours, in `[tool.build_rules.dfc]`.",
    ),
    "disk": ("the disk is full where the compiler works.", FAILURES[0].hint),
    "runner": (
        "what is to run the image is not there.",
        'Install it, or take the other one: `runner = "docker"` or `"podman"` in `[tool.build_rules.dfc]`.',
    ),
    "image": (
        "the image of the compiler is not on this machine.",
        "Load it (`docker load -i hailo_ai_sw_suite_....tar`), or correct `image` in `[tool.build_rules.dfc]`: `docker "
        "images` lists what is there.",
    ),
    "daemon": (
        "docker does not run.",
        'Start it (`sudo systemctl start docker`), or use podman, which needs nothing running: `runner = "podman"`.',
    ),
    "permission": (
        "you may not use docker on this machine.",
        'Be added to its group (`sudo usermod -aG docker $USER`, then log in again), or use `runner = "podman"`.',
    ),
    "password": (
        "the other machine asks for a password, and nobody is there to type it.",
        "Let a key open it: `ssh-copy-id HOST`, then try `ssh -o BatchMode=yes HOST true`.",
    ),
}
"""What is told when no row fits, by the kind of a `WorkerFailure`; what the failure itself says follows the first."""
SILENT = (
    "what is to run the compiler does not answer.",
    "Try there whether `import hailo_sdk_client` ends: a first import reads a gigabyte, but not for ten minutes.",
)
"""What is told of a question about the environment that came to no end."""

_ORDINARY = re.compile(
    r"Single context flow failed: Recoverable|Found valid partition|[Dd]idn't have enough data"
    r"|Unable to register cu|set_verbosity|oneDNN custom operations"
)


def is_ordinary(line: str) -> bool:
    """Say whether a line is in the log of good runs too, whatever it sounds like."""
    return _ORDINARY.search(line) is not None


def find_failure(raised: str, logged: str) -> tuple[KnownFailure, str] | None:
    """Return the first row that fits what was raised, else what was logged, with the line that says so."""
    raised_lines = raised.splitlines()
    logged_lines = [line for line in logged.splitlines() if not is_ordinary(line)]
    in_logs = tuple(failure for failure in FAILURES if failure.anywhere)
    for rows, lines in ((FAILURES, raised_lines), (in_logs, logged_lines), (GENERAL, [*raised_lines, *logged_lines])):
        for failure in rows:
            for line in lines:
                if failure.pattern.search(line):
                    return failure, line
    return None
