"""What is wrong with the place where the DFC is to run, and what to type: pure functions on facts.

`diagnose` says everything, for `doit doctor`; `urgent` what a stage should not begin without having said. Facts are
those that the worker finds out there (`probe`) and, where it gives no answer, those of this machine.

Sources. Images: `hailo-ai/hailo_model_zoo`, `docs/OPTIMIZATION.rst` (a GPU, and 1,024 of them). What becomes of a
level: the DFC's own warnings in public logs ("Reducing optimization level to 0 ... because there's less data than the
recommended amount (1024), and there's no available GPU"). That a level which is written in the script is obeyed is said
by public reports alone: of level 1 on a CPU, in half an hour for YOLOv8n. Memory and platform: the install guide that
`pairing.py` names; versions from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from build_rules.compilers.dfc.pairing import NEWEST, OLDEST, find_pairing, parse_version, text_of
from build_rules.compilers.protocol import Diagnosis, TargetRequest
from build_rules.records.hardware import HARDWARE

__all__ = ["CHECKLIST", "PlaceFacts", "Way", "diagnose", "facts_of", "ruled_level", "urgent"]

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
    "a second `doit` runs nothing, and with `python` or `command` it starts no program",
    "no failure was explained wrongly, or not at all; else send the logs of the kept folder with this report",
)
"""What nobody without the DFC can verify."""


@dataclass(frozen=True)
class PlaceFacts:
    """What is known of the place where the DFC runs; None where that could not be told.

    `place` is what a person calls it. `numpy_pin` is the numpy that the installed wheel wants. `gpus` are the names of
    those that are shown to the worker, `gpus_asked` is the setting. `accepted` are the chips for which the DFC can be
    set to work, `refused` those for which it cannot, each with what it says. `failure` says why the worker gave no
    answer, and what to do; then little else is known.
    """

    way: Way
    place: str
    dfc: str | None = None
    python: str | None = None
    numpy: str | None = None
    system: str | None = None
    machine: str | None = None
    memory_mb: int | None = None
    disk_mb: int | None = None
    gpus: tuple[str, ...] | None = None
    gpus_asked: str = ""
    numpy_pin: str | None = None
    accepted: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    failure: str | None = None


def facts_of(
    way: Way, place: str, gpus_asked: str, environment: Mapping[str, str], facts: Mapping[str, Any]
) -> PlaceFacts:
    """Return what a probe found out; what is missing in it, or of another kind, is not known."""

    def text(name: str) -> str | None:
        value = environment.get(name, facts.get(name))
        return value if isinstance(value, str) and value else None

    def count(name: str) -> int | None:
        value = facts.get(name)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def texts(name: str) -> tuple[str, ...] | None:
        value = facts.get(name)
        return tuple(map(str, value)) if isinstance(value, list | tuple) else None

    pins = (re.match(r"numpy\s*\(?==\s*([\w.]+)", requirement) for requirement in texts("requires") or ())
    refused = facts.get("refused")
    return PlaceFacts(
        way,
        place,
        *(text("dfc"), text("python"), text("numpy"), text("system"), text("machine")),
        *(count("memory_mb"), count("disk_mb"), texts("gpus"), gpus_asked),
        numpy_pin=next((pin[1] for pin in pins if pin), None),
        accepted=texts("hw_archs") or (),
        refused=tuple((str(arch), str(why)) for arch, why in refused.items()) if isinstance(refused, dict) else (),
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
        _gpu(facts, any(request.finetune for request in requests)),
        *(_level(facts, request) for request in requests),
    )


def urgent(facts: PlaceFacts, request: TargetRequest, need_mb: int = 0) -> tuple[Diagnosis, ...]:
    """Return the warnings and errors that are to be told before a stage begins for one target.

    `need_mb` is what the stage writes at least. Nothing is asked of anybody: whoever calls it has remembered the facts.
    The warnings are of this machine and this moment, so they are told, and written into no output.
    """
    found = (
        *((_reached(facts),) if facts.failure is not None else ()),
        *_version(facts, (request,)),
        *_python(facts),
        *_platform(facts),
        *_memory(facts),
        *_disk(facts, need_mb),
        _licence(facts),
        _level(facts, request),
    )
    return tuple(one for one in found if one.state in ("warning", "error"))


def _reached(facts: PlaceFacts) -> Diagnosis:
    if facts.failure is not None:
        return Diagnosis("DFC", "error", facts.failure)
    return Diagnosis("DFC", "ok", f"{facts.dfc or 'a version that it does not say'}, in {facts.place}.")


def _version(facts: PlaceFacts, requests: tuple[TargetRequest, ...]) -> tuple[Diagnosis, ...]:
    if facts.dfc is None:
        return ()
    if (version := parse_version(facts.dfc)) is None:
        return (Diagnosis("version", "unknown", f"the DFC calls itself {facts.dfc}, which is no version."),)
    asked = {one.hw_arch for one in requests if one.hw_arch in HARDWARE}
    wrong = sorted(arch for arch in asked if (HARDWARE[arch].hailort == 4) != (version[0] <= 3))
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
            "For a device with another one: `doit verify-hef FILE --hailort X.Y`.",
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
    if facts.numpy is None:
        return ()
    pairing = find_pairing(parse_version(facts.dfc))
    pin = facts.numpy_pin or (pairing.numpy if pairing else None)
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
    text = f"{text}; Hailo asks for 16 GB and recommends 32."
    if facts.memory_mb >= MEMORY_MB - SLACK_MB:
        return (Diagnosis("memory", "ok", text, "With a large network build one step at a time (no -n)."),)
    advice = "Large networks may be killed in `har`; build one step at a time (no -n), or elsewhere."
    return (Diagnosis("memory", "warning", text, advice),)


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
    if facts.refused:
        said = "; ".join(f"{arch}: {why}" for arch, why in facts.refused)
        advice = "Ask Hailo for a licence that covers it, or build for another chip: `hw_arch` in [[target]]."
        return Diagnosis("licence", "error", f"it is refused for {said.rstrip('.')}.", advice)
    if facts.accepted:
        return Diagnosis("licence", "ok", f"it can be set to work for {' and '.join(facts.accepted)}.")
    return Diagnosis("licence", "unknown", "no target asks for a chip, so nothing was tried.")


_GPU_ADVICE: Mapping[Way, str] = {
    "python": '`gpus = "all"` under [tool.build_rules.dfc] shows them to it; `nvidia-smi` must list one.',
    "image": '`gpus = "all"` under [tool.build_rules.dfc], and NVIDIA\'s container toolkit: '
    "`docker run --rm --gpus all IMAGE nvidia-smi` must list one.",
    "command": '`gpus = "all"` under [tool.build_rules.dfc]; `nvidia-smi` there must list one.',
}


def _gpu(facts: PlaceFacts, is_wanted: bool) -> Diagnosis:
    if facts.gpus is None:
        return Diagnosis("GPU", "unknown", "could not be asked; har.log says which level was taken.")
    if facts.gpus:
        text = (
            f"{', '.join(facts.gpus)}, as nvidia-smi lists them; har.log says whether the DFC's TensorFlow takes them."
        )
        return Diagnosis("GPU", "ok", text)
    if not facts.gpus_asked and not is_wanted:
        return Diagnosis("GPU", "ok", "`gpus` is not set, so none is visible to the DFC; no target has a fine-tune.")
    shown = f'gpus = "{facts.gpus_asked}" is set, and still none' if facts.gpus_asked else "`gpus` is not set, so none"
    return Diagnosis(
        "GPU",
        "warning",
        f"{shown} is visible to the DFC: a fine-tune then takes many hours, if the DFC does one at all.",
        _GPU_ADVICE[facts.way],
    )


def ruled_level(asked: int, has_gpu: bool | None, images: int | None) -> int:
    """Return what Hailo's rules make of a level that nobody has written; what is not known (None) is enough."""
    if has_gpu is False:
        return 0
    return asked if images is None or images >= LEVEL_IMAGES else min(asked, 1)


def _level(facts: PlaceFacts, request: TargetRequest) -> Diagnosis:
    images, level = request.images, request.level
    if images is None:
        return Diagnosis(request.name, "unknown", f"level {level}; its images are counted by `calibration`.")
    if request.finetune > images:
        return Diagnosis(
            request.name,
            "error",
            f"its fine-tune asks for {request.finetune} images, and it has {images}: the DFC ends with an error.",
            "Add images, or take the line out of the model's [alls].",
        )
    if images < CALIBRATION_IMAGES:
        return Diagnosis(
            request.name,
            "warning",
            f"is calibrated on {images} images; Hailo calibrates on {CALIBRATION_IMAGES} when nobody says.",
            "Add images like those of the field.",
        )
    ruled = ruled_level(level, None if facts.gpus is None else bool(facts.gpus), images)
    if ruled == level:
        return Diagnosis(request.name, "ok", f"level {level} with {images} images.")
    few, blind = images < LEVEL_IMAGES and level > 1, facts.gpus == ()
    why = " and ".join([*(["no GPU"] if blind else []), *([f"fewer than {LEVEL_IMAGES} images"] if few else [])])
    return Diagnosis(
        request.name,
        "warning",
        f"asks for level {level} with {images} images. With {why} the DFC goes to level {ruled} by itself; ours is "
        "written into the script, which it may obey or not: `har` repeats what its log says.",
        f"Give it {LEVEL_IMAGES} images (`calibration_count`)."
        if few and not blind
        else "Compare what the preset is worth with `doit infer model.har IMAGE...`, before the hours of `hef`.",
    )
