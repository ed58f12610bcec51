"""Who decides what is done to pixels: the graph, model.toml, the metadata, in that order; contradictions show both."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.errors import InputError
from build_rules.metadata.pixels import say_pixels, with_front
from build_rules.records.choices import InputChoice
from build_rules.records.split_json import Front, ModelInput, PixelFacts, Preprocessing, Split
from build_rules.trainer.decide_pixels import decide_pixels
from build_rules.trainer.document import TrainerDocument

IMAGE = ModelInput("images", (1, 3, 64, 64))
GREY = ModelInput("images", (1, 1, 64, 64))
NOTHING = PixelFacts()
RAW = PixelFacts(None, "raw", "takes bytes ('images' is UINT8)", (0.0,) * 3, (255.0,) * 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNIT = PixelFacts(None, "unit", "begins with (x - 0.456) / 0.224 ('/Div', Div)", *IMAGENET)
HALF = PixelFacts(None, "unit", "begins with (x - 0.5) / 0.5 ('/Sub', Sub)", (0.5,) * 3, (0.5,) * 3)
SWAPPED = PixelFacts(Front("t", (1, 3, 64, 64), (0.0,) * 3, (1.0,) * 3, True), None, "", (0.0,) * 3, (1.0,) * 3)
TO_255 = ((0.0,) * 3, (255.0,) * 3)
AS_IS = ((0.0,) * 3, (1.0,) * 3)
SIGNED = ((127.5,) * 3, (127.5,) * 3)


def said(word: str | None) -> TrainerDocument:
    return TrainerDocument({} if word is None else {"validation": {"normalization": word}})


def in_pixels(pixels: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = ([round(value, 6) for value in values] for values in pixels.normalization.in_pixels())
    return tuple(mean), tuple(std)


@pytest.mark.parametrize(
    ("facts", "choice", "word", "expected", "written"),
    [
        (NOTHING, InputChoice(), None, TO_255, None),
        (NOTHING, InputChoice(), "unsigned", TO_255, None),
        (NOTHING, InputChoice(), "raw", AS_IS, None),
        (NOTHING, InputChoice(), "signed", SIGNED, None),
        (NOTHING, InputChoice(normalization="signed"), "unsigned", SIGNED, "signed"),
        (NOTHING, InputChoice(normalization="raw"), "imagenet", AS_IS, "raw"),
        (NOTHING, InputChoice(normalization="unsigned"), "what?", TO_255, "unsigned"),
        (NOTHING, InputChoice(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)), "signed", ((1, 2, 3), (4, 5, 6)), "raw"),
        (NOTHING, InputChoice(std=(255.0,) * 3), None, TO_255, "raw"),
        (NOTHING, InputChoice(mean=(7.0,) * 3), None, ((7,) * 3, (1,) * 3), "raw"),
        (RAW, InputChoice(), None, AS_IS, "raw"),
        (RAW, InputChoice(), "raw", AS_IS, None),
        (RAW, InputChoice(normalization="raw"), "unsigned", AS_IS, "raw"),
        (RAW, InputChoice(mean=(0.0,) * 3, std=(1.0,) * 3), "unsigned", AS_IS, "raw"),
        (UNIT, InputChoice(), None, TO_255, None),
        (UNIT, InputChoice(), "unsigned", TO_255, None),
        (UNIT, InputChoice(), "signed", SIGNED, None),
        (HALF, InputChoice(), "unsigned", TO_255, None),
    ],
)
def test_precedence(
    facts: PixelFacts, choice: InputChoice, word: str | None, expected: Any, written: str | None
) -> None:
    pixels = decide_pixels(said(word), choice, facts, IMAGE).preprocessing
    assert in_pixels(pixels) == expected
    assert pixels.word == written


@pytest.mark.parametrize(
    ("facts", "choice", "word", "parts"),
    [
        (RAW, InputChoice(), "unsigned", ("validation.normalization = 'unsigned'", "'images' is UINT8", '"raw"')),
        (RAW, InputChoice(), "signed", ("'signed'", "takes bytes", "normalized twice")),
        (RAW, InputChoice(), "imagenet", ("'imagenet'", "takes bytes")),
        (RAW, InputChoice(normalization="unsigned"), "raw", ('[input] normalization = "unsigned"', "takes bytes")),
        (RAW, InputChoice(mean=(123.0,) * 3), None, ("[input] mean = [123.0, 123.0, 123.0]", "takes bytes")),
        (UNIT, InputChoice(), "raw", ("'raw'", "begins with (x - 0.456)", '"unsigned"')),
        (UNIT, InputChoice(), "imagenet", ("'imagenet'", "normalized twice", '"unsigned"')),
        (UNIT, InputChoice(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)), None, ("normalized twice",)),
        (HALF, InputChoice(), "signed", ("'signed'", "normalized twice")),
        (NOTHING, InputChoice(), "what?", ("'what?'", "expected one of")),
    ],
)
def test_contradictions(facts: PixelFacts, choice: InputChoice, word: str | None, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        decide_pixels(said(word), choice, facts, IMAGE)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (InputChoice(color="rgb"), "color = 'rgb' under .*for 3 channels.*has 1"),
        (InputChoice(normalization="imagenet"), "normalization = 'imagenet' under .*for 3 channels"),
        (InputChoice(mean=(1.0, 2.0)), r"mean = \[1.0, 2.0\] under .*for 2 channels"),
        (InputChoice(std=(1.0, 2.0)), r"std = \[1.0, 2.0\] under .*for 2 channels"),
    ],
)
def test_other_channels(choice: InputChoice, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decide_pixels(TrainerDocument(), choice, NOTHING, GREY)


def test_colours_and_fitting_by_hand() -> None:
    document = {"input": {"cameraadaptor": "yuyv"}, "validation": {"preprocessing": "letterbox"}}
    pixels = decide_pixels(
        TrainerDocument(document), InputChoice(color="bgr", preprocessing="stretch"), NOTHING, IMAGE
    ).preprocessing
    assert (pixels.color, pixels.resize) == ("bgr", "stretch")
    tiled = {"tiling": {"version": 1, "mode": "tiled"}}
    with pytest.raises(InputError, match="tiling section, which asks for tiled"):
        decide_pixels(TrainerDocument(tiled), InputChoice(preprocessing="stretch"), NOTHING, IMAGE)


@pytest.mark.parametrize(("color", "chip"), [("bgr", "rgb"), ("rgb", "bgr")])
def test_a_swap_in_the_graph_is_the_camera_s_business(color: str, chip: str) -> None:
    document = {"input": {"cameraadaptor": color}, "validation": {"normalization": "imagenet"}}
    decided = decide_pixels(TrainerDocument(document), InputChoice(), SWAPPED, IMAGE)
    assert decided.preprocessing.color == chip
    assert decided.preprocessing.normalization.mean == (0.406, 0.456, 0.485)
    assert decided.warnings == ()
    said = {**document, "input": dict(document["input"])}
    say_pixels(said, TrainerDocument(document), Split("m", IMAGE, (), (), None, decided.preprocessing))
    assert said["input"] == {"cameraadaptor": chip}
    elsewhere = with_front(Split("m", IMAGE, (), (), None, decided.preprocessing, front=SWAPPED.front))
    assert elsewhere.preprocessing.color == color, "what others compiled begins at the graph's input"


def test_a_swap_that_nothing_explains_is_told() -> None:
    """The network is one of rgb, as one without the swap is; its export is fed what OpenCV reads."""
    decided = decide_pixels(TrainerDocument(), InputChoice(), SWAPPED, IMAGE)
    assert decided.preprocessing.color == "rgb"
    assert "it is taken to be bgr, so the chip, which begins behind the swap, takes rgb" in decided.warnings[0]
    assert '(color = "rgb" under [input]' in decided.warnings[0]
    elsewhere = with_front(Split("m", IMAGE, (), (), None, decided.preprocessing, front=SWAPPED.front))
    assert elsewhere.preprocessing.color == "bgr"
    for color, chip in (("bgr", "rgb"), ("rgb", "bgr")):
        by_hand = decide_pixels(TrainerDocument(), InputChoice(color=color), SWAPPED, IMAGE)
        assert (by_hand.preprocessing.color, by_hand.warnings) == (chip, ())
    by_word = decide_pixels(said("imagenet"), InputChoice(), SWAPPED, IMAGE)
    assert by_word.preprocessing.normalization.mean == (0.485, 0.456, 0.406)
    numbers = decide_pixels(TrainerDocument(), InputChoice(mean=(1, 2, 3)), SWAPPED, IMAGE)
    assert numbers.preprocessing.normalization.mean == (3, 2, 1), "numbers are in the order of the graph's own input"


@pytest.mark.parametrize(
    ("means", "chip"),
    [
        ((103.939, 116.779, 123.68), "bgr"),
        ((0.406, 0.456, 0.485), "bgr"),
        ((123.675, 116.28, 103.53), "rgb"),
        ((127.5, 127.5, 127.5), "rgb"),
        ((0.0, 0.0, 0.0), "rgb"),
    ],
)
def test_means_behind_a_swap_tell_the_colours(means: tuple[float, ...], chip: str) -> None:
    front = Front("t", (1, 3, 64, 64), means, (1.0,) * 3, True)
    decided = decide_pixels(TrainerDocument(), InputChoice(), PixelFacts(front, "raw", "", means, (1.0,) * 3), IMAGE)
    assert decided.preprocessing.color == chip
    assert f'(color = "{chip}" under [input]' in decided.warnings[0]


def test_the_document_says_what_was_decided() -> None:
    document: dict[str, Any] = {
        "input": {"camera_adaptor": "rgb"},
        "validation": {"iou": 0.5, "normalization": "signed"},
    }
    pixels = decide_pixels(
        TrainerDocument(document),
        InputChoice(normalization="raw", color="bgr", preprocessing="stretch"),
        NOTHING,
        IMAGE,
    ).preprocessing
    say_pixels(document, TrainerDocument(document), Split("m", IMAGE, (), (), None, pixels))
    assert document["validation"] == {"iou": 0.5, "normalization": "raw", "preprocessing": "stretch"}
    assert document["input"]["cameraadaptor"] == "bgr"
    bare: dict[str, Any] = {"input": {}}
    say_pixels(
        bare,
        TrainerDocument(bare),
        Split("m", IMAGE, (), (), None, decide_pixels(TrainerDocument(), InputChoice(), NOTHING, IMAGE).preprocessing),
    )
    assert bare == {"input": {}}, "what nobody decided is left as it is"
