"""What is wrong with the place where the DFC is to run, and what to type: pure functions on facts.

`diagnose` says everything, for `doit doctor`; `urgent` says what a stage should not begin without having said. Facts are
those that `launch/` asks of the worker (`probe`) and, where nothing runs yet, of this machine.

Sources: levels and counts of images as `hailo-ai/hailo_model_zoo` (`docs/OPTIMIZATION.rst`) has them; memory and platform
as the install guide says that `pairing.py` names; versions from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from build_rules.compilers.dfc.pairing import NEWEST, OLDEST, find_pairing, parse_version, text_of
from build_rules.compilers.protocol import Diagnosis, TargetRequest
from build_rules.records.hardware import HARDWARE

__all__ = ["CHECKLIST", "Failure", "PlaceFacts", "Way", "diagnose", "facts_of", "reachable_level", "urgent"]

Way = Literal["python", "image", "command"]
"""Which of the three settings says how the worker is started."""

LEVEL_IMAGES = 1024
"""From level 2 on Hailo asks for so many images; with fewer the compiler takes level 1."""
CALIBRATION_IMAGES = 64
"""On how many it calibrates when nobody says."""
MEMORY_MB, ADVISED_MEMORY_MB = 16_000, 32_000
"""Of the install guide; a machine of 16 GB says that it has some hundred MB less."""
SLACK_MB = 1_000
DISK_MB = 10_000
"""A large network's HARs, logs and the calibration array take some GB."""

CHECKLIST = (
    "`doit doctor` finds the DFC, and the version, Python and numpy that it prints are those of your installation",
    "`doit parse:MODEL:ARCH-dfc` accepts the cut graph, and the outputs of the parsed HAR are the endpoints, in order",
    "`har.log` names the level that the preset asked for; what was lowered or skipped is repeated as a warning",
    "the script is taken as it is: no line of model.alls or compile.alls is refused",
    "16-bit outputs of `balanced` and `accurate` are 16 bits wide in the HEF (`doit inspect`); if not, `hef` fails",
    "scores of the HEF lie in 0 to 1, since the sigmoid is on the chip (`doit inspect`, output limits)",
    "`doit infer model.har IMAGE...` (the vendor's own numerics) finds what the float model finds",
    "`hailortcli parse-hef model.hef` and `hailortcli run model.hef` work with the HailoRT of the device",
    "an EdgeFirst reader loads model+meta.hef on the device and draws the right boxes",
    "Ctrl-C in `har` and in `hef` leaves no process behind (`ps`, `docker ps`, `nvidia-smi`)",
    "a second `doit` runs nothing, and starts no program",
    "a failure that doctor, log or message explained wrongly, or not at all: send the kept folder's logs with this report",
)
"""What nobody without the DFC can verify."""


@dataclass(frozen=True)
class Failure:
    """Why the worker gave no answer: the `kind` of `launch/`, its text, and for an exception its type."""

    kind: str
    message: str
    type: str = ""


@dataclass(frozen=True)
class PlaceFacts:
    """What is known of the place where the DFC runs; None where that could not be told.

    `gpus` are the names of those that the worker sees, `gpus_asked` is the setting. `licence` is what the installation
    says of its licence. `failure` is set when the worker gave no answer, and then most of the others are not.
    """

    way: Way
    dfc: str | None = None
    python: str | None = None
    numpy: str | None = None
    system: str | None = None
    machine: str | None = None
    memory_mb: int | None = None
    disk_mb: int | None = None
    gpus: tuple[str, ...] | None = None
    gpus_asked: str = ""
    licence: str | None = None
    failure: Failure | None = None


def facts_of(way: Way, gpus_asked: str, environment: Mapping[str, str], facts: Mapping[str, Any]) -> PlaceFacts:
    """Return what a probe found out; what is missing in it, or of another kind, is not known."""

    def text(name: str) -> str | None:
        value = environment.get(name, facts.get(name))
        return value if isinstance(value, str) and value else None

    def count(name: str) -> int | None:
        value = facts.get(name)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    gpus = facts.get("gpus")
    names = tuple(map(str, gpus)) if isinstance(gpus, list | tuple) else None
    return PlaceFacts(
        way,
        *(text("dfc"), text("python"), text("numpy"), text("system"), text("machine")),
        *(count("memory_mb"), count("disk_mb"), names, gpus_asked, text("licence")),
    )


def diagnose(facts: PlaceFacts, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
    """Say everything about a place and about what targets ask of it."""
    if facts.failure is not None:
        return (_reached(facts), *_platform(facts), *_memory(facts), *_disk(facts, 0))
    return (
        _reached(facts),
        *_version(facts, requests),
        *_python(facts),
        *_numpy(facts),
        *_platform(facts),
        *_memory(facts),
        *_disk(facts, 0),
        _licence(facts),
        _gpu(facts),
        *(_level(facts, request) for request in requests),
    )


def urgent(facts: PlaceFacts, request: TargetRequest, need_mb: int = 0) -> tuple[Diagnosis, ...]:
    """Return the warnings and errors that are to be told before a stage begins for one target.

    `need_mb` is what the stage writes at least. Nothing is asked of anybody: whoever calls it has remembered the facts.
    """
    found = (
        *((_reached(facts),) if facts.failure is not None else ()),
        *_version(facts, (request,)),
        *_python(facts),
        *_platform(facts),
        *_memory(facts),
        *_disk(facts, need_mb),
        _level(facts, request),
    )
    return tuple(one for one in found if one.state in ("warning", "error"))


_INSTALL = "`doit doctor --install-dfc WHEEL` makes an environment from Hailo's wheel (docs/dfc.md)."
_PYTHON_ADVICE = {
    "start": f"`python` under [tool.build_rules.dfc] names the interpreter of the DFC's environment; {_INSTALL}",
    "environment": f"Install the DFC there, or name the interpreter that has it; {_INSTALL}",
    "permission": "Make the interpreter executable for you (`ls -l` shows who may), or name another one.",
}
_IMAGE_ADVICE = {
    "start": 'Install docker, or `runner = "podman"` under [tool.build_rules.dfc].',
    "image": "Load it (`docker load -i FILE.tar`, `docker images` lists what is there), or correct `image`.",
    "daemon": "Start it: `sudo systemctl start docker`; `docker info` must answer.",
    "permission": '`sudo usermod -aG docker $USER` and log in again, or `runner = "podman"`, which needs no group.',
    "environment": "The image holds no DFC for its `python3`: name Hailo's software suite, or an image made from it.",
}
_COMMAND_ADVICE = {
    "start": "The first word of `command` must be a program on your PATH.",
    "password": "Let it log in by itself: `ssh-copy-id HOST`, then `ssh -o BatchMode=yes HOST true` must end silently.",
    "environment": '`command` must end with the interpreter that has the DFC, such as ["ssh", "HOST", "dfc/bin/python"].',
    "permission": "Log in there and start the interpreter by hand; what it says is the reason.",
}
_ADVICE: Mapping[Way, Mapping[str, str]] = {
    "python": _PYTHON_ADVICE,
    "image": _IMAGE_ADVICE,
    "command": _COMMAND_ADVICE,
}
_ANY_ADVICE = {
    "timeout": "Try again when nothing else runs there; the first import of TensorFlow may take minutes on a slow disk.",
    "disk": "Make room there, and in the folder for temporary files.",
    "garbage": "Something prints between us and the worker: a login script, or a wrapper that prints on stdout.",
    "raised": "Start the interpreter by hand and `import hailo_sdk_client`: its own message says what is missing.",
    "died": "Start the interpreter by hand and `import hailo_sdk_client`; it may need another processor (AVX) or memory.",
}


def _reached(facts: PlaceFacts) -> Diagnosis:
    if (failure := facts.failure) is None:
        return Diagnosis("DFC", "ok", f"{facts.dfc or 'a version that it does not say'}, imported by its {facts.way}.")
    said = f"{failure.type}: {failure.message}" if failure.type else failure.message
    advice = {**_ANY_ADVICE, **_ADVICE[facts.way]}.get(failure.kind, _INSTALL)
    if "NoneType" in said and "PathLike" in said:
        advice = (
            "The DFC finds its own programs only below a folder called site-packages: install it into a virtual "
            "environment, not into the system's Python (dist-packages)."
        )
    return Diagnosis("DFC", "error", said.rstrip(".") + ".", advice)


def _version(facts: PlaceFacts, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
    if facts.dfc is None:
        return ()
    if (version := parse_version(facts.dfc)) is None:
        return (Diagnosis("version", "unknown", f"the DFC calls itself {facts.dfc}, which is no version."),)
    line = 3 if version[0] <= 3 else 5
    wrong = sorted({one.hw_arch for one in requests if (HARDWARE[one.hw_arch].hailort == 4) != (line == 3)})
    if wrong:
        return (
            Diagnosis(
                "version",
                "error",
                f"DFC {facts.dfc} does not compile for {' and '.join(wrong)}.",
                f"Hailo-8, 8L and 8R want 3.x ({text_of(NEWEST)} is the newest known here), Hailo-10 and 15 want 5.x.",
            ),
        )
    if (pairing := find_pairing(version)) is None:
        age = "newer" if version > NEWEST else "older" if version < OLDEST else "other"
        return (
            Diagnosis(
                "version",
                "warning",
                f"DFC {facts.dfc} is {age} than those that are known here ({text_of(OLDEST)} to {text_of(NEWEST)}), so "
                "which HailoRT loads its HEFs is not.",
                "Its release notes say; `doit verify-hef FILE --hailort X.Y` tells of a file.",
            ),
        )
    release = text_of(pairing.hailort)
    return (
        Diagnosis(
            "version",
            "ok",
            f"DFC {facts.dfc} came with HailoRT {release} and model zoo {pairing.zoo}: HailoRT {release} and later 4.x "
            "load what it compiles.",
            f"A device with an older HailoRT: `doit verify-hef FILE --hailort X.Y` before it is copied; {release} is safe."
            if requests
            else "",
        ),
    )


def _python(facts: PlaceFacts) -> tuple[Diagnosis, ...]:
    version = parse_version(facts.python)
    pairing = find_pairing(parse_version(facts.dfc))
    if version is None:
        return ()
    wanted = pairing.pythons if pairing else None
    if wanted is None:
        return (Diagnosis("Python", "ok", f"{facts.python}; which ones this DFC wants is not public."),)
    if version in wanted:
        return (Diagnosis("Python", "ok", f"{facts.python}."),)
    names = ", ".join(text_of(one) for one in sorted(wanted))
    return (
        Diagnosis(
            "Python",
            "warning",
            f"{facts.python}, but DFC {facts.dfc} is said to run on {names}.",
            f"If it fails: `doit doctor --install-dfc WHEEL --python python{text_of(wanted[0])} --into ../FOLDER`.",
        ),
    )


def _numpy(facts: PlaceFacts) -> tuple[Diagnosis, ...]:
    pairing = find_pairing(parse_version(facts.dfc))
    if facts.numpy is None:
        return ()
    pin = pairing.numpy if pairing else None
    if pin is None or pin == facts.numpy:
        return (Diagnosis("numpy", "ok", f"{facts.numpy}{', as its wheel pins it' if pin else ''}."),)
    return (
        Diagnosis(
            "numpy",
            "warning",
            f"{facts.numpy}, but the wheel of DFC {facts.dfc} pins {pin}: something else was installed over it.",
            "Make the environment again from the wheel alone: `doit doctor --install-dfc WHEEL --into ../FOLDER`.",
        ),
    )


def _platform(facts: PlaceFacts) -> tuple[Diagnosis, ...]:
    if facts.system is None and facts.machine is None:
        return ()
    name = " ".join(filter(None, (facts.system, facts.machine)))
    fits = facts.system in ("Linux", None) and facts.machine in ("x86_64", "AMD64", None)
    if fits:
        return (Diagnosis("platform", "ok", f"{name}."),)
    return (
        Diagnosis(
            "platform",
            "error",
            f"{name}: the DFC runs on Linux on x86-64 alone.",
            'Let it run on such a machine: `command = ["ssh", "HOST", "dfc/bin/python"]` (docs/dfc.md).',
        ),
    )


def _memory(facts: PlaceFacts) -> tuple[Diagnosis, ...]:
    if facts.memory_mb is None:
        return ()
    text = f"{facts.memory_mb / 1000:.0f} GB"
    if facts.memory_mb >= ADVISED_MEMORY_MB - SLACK_MB:
        return (Diagnosis("memory", "ok", f"{text}."),)
    least = facts.memory_mb < MEMORY_MB - SLACK_MB
    return (
        Diagnosis(
            "memory",
            "warning",
            f"{text}; Hailo asks for 16 GB and recommends 32.",
            "Large networks may be killed in `har`; build one step at a time (no -n), or elsewhere."
            if least
            else "Enough for most networks; build one step at a time (no -n).",
        ),
    )


def _disk(facts: PlaceFacts, need_mb: int) -> tuple[Diagnosis, ...]:
    if facts.disk_mb is None:
        return ()
    text = f"{facts.disk_mb / 1000:.1f} GB are free"
    if facts.disk_mb < need_mb:
        return (
            Diagnosis(
                "disk",
                "error",
                f"{text} where the DFC works, and this step writes {need_mb / 1000:.1f} GB at least.",
                "Make room: `doit clean --stale` removes what is declared no more.",
            ),
        )
    if facts.disk_mb >= max(DISK_MB, need_mb):
        return (Diagnosis("disk", "ok", f"{text}."),)
    advice = "A large network takes some GB; `doit clean --stale` removes what is declared no more."
    return (Diagnosis("disk", "warning", f"{text} where the DFC works.", advice),)


def _licence(facts: PlaceFacts) -> Diagnosis:
    if facts.licence is None:
        text = "cannot be told from outside; the first `parse` shows whether the installation wants one."
        return Diagnosis("licence", "unknown", text)
    return Diagnosis("licence", "ok", f"the installation says: {facts.licence}.")


_GPU_ADVICE: Mapping[Way, str] = {
    "python": '`gpus = "all"` under [tool.build_rules.dfc] shows them to it; `nvidia-smi` must list one.',
    "image": '`gpus = "all"` under [tool.build_rules.dfc], and NVIDIA\'s container toolkit: '
    "`docker run --rm --gpus all IMAGE nvidia-smi` must list one.",
    "command": '`gpus = "all"` under [tool.build_rules.dfc]; `nvidia-smi` there must list one.',
}


def _gpu(facts: PlaceFacts) -> Diagnosis:
    if facts.gpus is None:
        return Diagnosis("GPU", "unknown", "could not be asked; har.log says which level was taken.")
    if facts.gpus:
        return Diagnosis("GPU", "ok", f"{', '.join(facts.gpus)}.")
    return Diagnosis(
        "GPU",
        "warning",
        "none is visible to the DFC, which then optimizes at level 0 (no bias correction, no fine-tune).",
        _GPU_ADVICE[facts.way],
    )


def reachable_level(asked: int, has_gpu: bool | None, images: int | None) -> int:
    """Return the level that Hailo's rules lead to; what is not known (None) is taken to be enough."""
    if has_gpu is False:
        return 0
    return asked if images is None or images >= LEVEL_IMAGES else min(asked, 1)


def _level(facts: PlaceFacts, request: TargetRequest) -> Diagnosis:
    images, level = request.images, request.level
    if images is not None and request.finetune > images:
        return Diagnosis(
            request.name,
            "error",
            f"its fine-tune asks for {request.finetune} images, and it has {images}: the DFC ends with an error.",
            "Add images, or take the line out of the model's [alls].",
        )
    count = "an unknown number of images" if images is None else f"{images} images"
    reached = reachable_level(level, None if facts.gpus is None else bool(facts.gpus), images)
    if reached < level:
        few = images is not None and images < LEVEL_IMAGES and facts.gpus != ()
        why = f"fewer than {LEVEL_IMAGES}" if few else "no GPU"
        return Diagnosis(
            request.name,
            "warning",
            f"asks for level {level} with {count}; by Hailo's rules that becomes level {reached} ({why}).",
            f"Give it {LEVEL_IMAGES} images (`calibration_count`), or a preset of level {reached}."
            if few
            else "Let the DFC see a GPU, or compare the preset's accuracy with `doit infer model.har` before `hef`.",
        )
    if images is not None and images < CALIBRATION_IMAGES:
        return Diagnosis(
            request.name,
            "warning",
            f"is calibrated on {count}; Hailo calibrates on {CALIBRATION_IMAGES} when nobody says.",
            "Add images like those of the field.",
        )
    if images is None:
        return Diagnosis(request.name, "unknown", f"level {level}; its images are counted by `calibration`.")
    return Diagnosis(request.name, "ok", f"level {level} with {count}.")
