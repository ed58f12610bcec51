"""What is said of a place where the DFC is to run: each fact alone, everything together, and what a stage must know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from build_rules.compilers.dfc.diagnosis import PlaceFacts, diagnose, facts_of, ruled_level, urgent
from build_rules.compilers.protocol import Diagnosis, TargetRequest

FINE = PlaceFacts(
    *("python", "../dfc/bin/python", "3.33.0", "3.10.12", "1.26.4", "Linux", "x86_64", 64_000, 500_000),
    *(("NVIDIA RTX A4000",), "all", "1.26.4", ("hailo8l",)),
)
FAST = TargetRequest("shapes-det:hailo8l-fast", "hailo8l", 1, 1024)
ACCURATE = TargetRequest("shapes-det:hailo8l-accurate", "hailo8l", 2, 1024, 1024)


def of(subject: str, facts: PlaceFacts, *requests: TargetRequest) -> Diagnosis:
    return next(one for one in diagnose(facts, requests) if one.subject == subject)


def test_a_place_where_nothing_is_wrong() -> None:
    found = diagnose(FINE, (FAST, ACCURATE))
    assert {one.state for one in found} == {"ok"}
    assert urgent(FINE, ACCURATE) == ()
    assert of("DFC", FINE).text == "3.33.0, in ../dfc/bin/python."
    assert "HailoRT 4.23 and later 4.x load" in of("version", FINE, FAST).text


def test_one_subject_is_judged_once() -> None:
    subjects = [one.subject for one in diagnose(FINE, (FAST, ACCURATE))]
    assert len(subjects) == len(set(subjects))


@pytest.mark.parametrize(
    ("change", "subject", "state", "text"),
    [
        ({"dfc": "5.2.0"}, "version", "error", "DFC 5.2.0 does not compile for hailo8l."),
        ({"dfc": "3.99.0"}, "version", "warning", "newer than those that are known here (3.27 to 3.34)"),
        ({"dfc": "3.20.1"}, "version", "warning", "older than those"),
        ({"dfc": "nightly"}, "version", "unknown", "calls itself nightly"),
        ({"python": "3.8.18"}, "Python", "warning", "DFC 3.33.0 is said to run on 3.10, 3.11, 3.12"),
        ({"python": "3.9.1", "dfc": "3.32.0"}, "Python", "ok", "is not public"),
        ({"numpy": "2.2.6"}, "numpy", "warning", "pins 1.26.4: something else was installed over it"),
        ({"numpy": "1.23.5", "numpy_pin": None, "dfc": "3.32.0"}, "numpy", "ok", "1.23.5."),
        ({"machine": "aarch64"}, "platform", "error", "Linux aarch64: the DFC runs on Linux on x86-64 alone"),
        ({"system": "Darwin"}, "platform", "error", "Darwin x86_64"),
        ({"memory_mb": 33_400}, "memory", "ok", "33 GB."),  # a machine of 32 GiB
        ({"memory_mb": 16_300}, "memory", "ok", "16 GB; Hailo asks for 16 GB and recommends 32"),
        ({"memory_mb": 7_900}, "memory", "warning", "8 GB"),
        ({"disk_mb": 3_000}, "disk", "warning", "3.0 GB are free"),
        ({"refused": (("hailo8l", "no licence."),)}, "licence", "error", "it is refused for hailo8l: no licence."),
        ({"accepted": ()}, "licence", "unknown", "nothing was tried"),
        ({"numpy_pin": None, "numpy": "1.23.3"}, "numpy", "warning", "pins 1.26.4"),  # by the table
        ({"numpy_pin": "1.23.3", "dfc": "3.32.0"}, "numpy", "warning", "pins 1.23.3"),
        ({"gpus": ()}, "GPU", "warning", 'gpus = "all" is set, and still none is visible'),
        ({"gpus": (), "gpus_asked": ""}, "GPU", "ok", "none is visible to the DFC; no target has a fine-tune"),
        ({"gpus": None}, "GPU", "unknown", "could not be asked"),
    ],
)
def test_one_fact(change: dict[str, object], subject: str, state: str, text: str) -> None:
    found = of(subject, replace(FINE, **change), FAST)  # type: ignore[arg-type]
    assert found.state == state
    assert text in found.text
    if state in ("warning", "error"):
        assert found.advice
        others = {one.subject for one in urgent(replace(FINE, **change), FAST)}  # type: ignore[arg-type]
        assert others <= {subject, FAST.name}


@pytest.mark.parametrize("way", ["python", "image", "command"])
def test_how_a_gpu_is_shown_to_it(way: str) -> None:
    advice = of("GPU", replace(FINE, way=way, gpus=())).advice  # type: ignore[arg-type]
    assert "nvidia-smi" in advice
    assert ("container toolkit" in advice) is (way == "image")


def test_a_fine_tune_for_which_no_gpu_is_shown() -> None:
    found = of("GPU", replace(FINE, gpus=(), gpus_asked=""), FAST, ACCURATE)
    assert (found.state, "`gpus` is not set, so none is visible" in found.text) == ("warning", True)


def test_a_place_that_gives_no_answer() -> None:
    silent = PlaceFacts(
        "image", "the image gone:1", memory_mb=4_000, failure="image: there is no image gone:1; load it."
    )
    found = diagnose(silent, (FAST,))
    assert (found[0].subject, found[0].state, found[0].text) == (
        *("DFC", "error"),
        "image: there is no image gone:1; load it.",
    )
    assert {one.subject for one in found} == {"DFC", "memory"}  # nothing is made up about the rest
    assert urgent(silent, FAST)[0] == found[0]


@pytest.mark.parametrize(
    ("asked", "has_gpu", "images", "level"),
    [
        (2, True, 1024, 2),
        (2, True, 1023, 1),
        (1, True, 64, 1),
        (2, False, 4096, 0),
        (1, False, 1024, 0),
        (0, False, 8, 0),
        (4, True, 4096, 4),
        (2, None, None, 2),
        (2, None, 100, 1),
    ],
)
def test_what_becomes_of_a_level(asked: int, has_gpu: bool | None, images: int | None, level: int) -> None:
    assert ruled_level(asked, has_gpu, images) == level


@pytest.mark.parametrize(
    ("request_", "gpus", "state", "text"),
    [
        (ACCURATE, ("A4000",), "ok", "level 2 with 1024 images"),
        (replace(ACCURATE, images=288, finetune=288), ("A4000",), "warning", "With fewer than 1024 images the DFC"),
        (ACCURATE, (), "warning", "With no GPU the DFC goes to level 0"),
        (replace(ACCURATE, images=288, finetune=288), (), "warning", "With no GPU and fewer than 1024 images"),
        (FAST, (), "warning", "asks for level 1 with 1024 images. With no GPU the DFC goes to level 0"),
        (replace(FAST, images=288), ("A4000",), "ok", "level 1 with 288 images"),
        (replace(FAST, images=8), ("A4000",), "warning", "is calibrated on 8 images; Hailo calibrates on 64"),
        (replace(FAST, images=None), ("A4000",), "unknown", "counted by `calibration`"),
        (replace(ACCURATE, images=288), ("A4000",), "error", "asks for 1024 images, and it has 288"),
    ],
)
def test_images_against_the_level(request_: TargetRequest, gpus: tuple[str, ...], state: str, text: str) -> None:
    found = of(request_.name, replace(FINE, gpus=gpus), request_)
    assert (found.state, text in found.text) == (state, True)
    assert bool(found.advice) is (state in ("warning", "error"))
    told = [one for one in urgent(replace(FINE, gpus=gpus), request_) if one.subject == request_.name]
    assert told == ([found] if state in ("warning", "error") else [])


def test_a_chip_that_is_not_known_is_left_to_the_compiler() -> None:
    unknown = replace(FAST, hw_arch="")
    assert of("version", FINE, unknown).state == "ok"
    assert urgent(FINE, unknown) == ()


def test_a_disk_on_which_a_stage_has_no_room() -> None:
    tight = replace(FINE, disk_mb=2_000)
    assert [one.state for one in urgent(tight, FAST, need_mb=1_500)] == ["warning"]
    (found,) = urgent(tight, FAST, need_mb=2_500)
    assert (found.subject, found.state) == ("disk", "error")
    assert "this step writes 2.5 GB at least" in found.text


def test_what_a_probe_finds_out() -> None:
    environment = {"dfc": "3.33.0", "python": "3.10.12", "numpy": "1.26.4", "digest": "ab"}
    facts = {
        **{"gpus": ["A4000"], "memory_mb": 64_000, "disk_mb": 5e5, "system": "Linux", "machine": "x86_64"},
        **{
            "hw_archs": ["hailo8l"],
            "refused": {"hailo8": "no"},
            "requires": ["tqdm", "numpy==1.26.4", "numpyro (==1)"],
        },
    }
    found = facts_of("python", "../dfc/bin/python", "all", environment, facts)
    assert found == replace(FINE, gpus=("A4000",), refused=(("hailo8", "no"),))


def test_what_a_probe_says_in_another_way_is_not_known() -> None:
    facts = {"gpus": "many", "memory_mb": True, "disk_mb": "much", "refused": [7], "machine": "", "requires": 3}
    assert facts_of("image", "the image a", "", {}, facts) == PlaceFacts("image", "the image a")
