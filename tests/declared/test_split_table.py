"""`[split]` of `model.toml`: every key, and errors that name file, table, key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from build_rules.declared.model import Model, load_models
from build_rules.declared.settings import Settings
from build_rules.declared.split_table import read_split
from build_rules.errors import InputError
from build_rules.records.choices import AUTOMATIC, EndpointGroup, SplitChoice
from build_rules.records.split_hint import SplitBoundary, SplitHint
from build_rules.toml_table import Table

ACTIVATIONS = '"sigmoid", "softmax", "tanh", "none"'
BOXES = '[[split.endpoint]]\nrole = "boxes"\ntensors = ["a", "b"]\nencoding = "dfl"\n'
GRIDS = '[[split.endpoint]]\nrole = "anchor"\ntensors = ["a"]\n'
HINT = '[[split.hint]]\ntarget = "output0"\n'
BOUNDARIES = 'boundaries = [{ name = "boxes", channels = [0, 4] }]\n'


def read(text: str) -> SplitChoice:
    table = Table(tomli.loads(text), "model.toml")
    choice = read_split(table)
    table.close()
    return choice


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "[split]", "[split]\nproof = true", "[split]\nhint = []\nendpoint = []"])
def test_without_a_word_everything_is_automatic(text: str) -> None:
    assert read(text) == AUTOMATIC


def test_the_proof_may_be_switched_off() -> None:
    assert read("[split]\nproof = false") == SplitChoice(prove=False)


def test_outputs_may_be_chosen() -> None:
    assert read('[split]\noutputs = ["b", "a"]') == SplitChoice(outputs=("b", "a"))
    assert read(f'[split]\noutputs = ["a"]\n{BOXES}').groups


def test_anchors_stand_in_either_table() -> None:
    found = (((10.0, 13.5), (16.0, 30.0)), ((30.0, 61.0),))
    text = "anchors = [[[10, 13.5], [16, 30]], [[30, 61]]]"
    assert read(GRIDS + text).anchors == found
    assert read(HINT + BOUNDARIES + text).anchors == found


def test_anchors_of_several_hints_follow_each_other() -> None:
    """A head whose levels are outputs of their own has a hint for each."""
    hints = [f"{HINT}{BOUNDARIES}anchors = [[[{size}, {size}]]]\n" for size in (8, 16)]
    assert read("".join(hints)).anchors == (((8.0, 8.0),), ((16.0, 16.0),))


def test_a_hint_with_everything() -> None:
    text = """
    [[split.hint]]
    target = "output0"
    strides = [8, 16, 32]
    anchors_per_cell = 3
    boundaries = [{ name = "boxes", channels = [0, 4] },
                  { name = "scores", channels = [4, 84], activation = "sigmoid" },
                  { name = "rest", channels = [84, 90], activation = "none" }]
    """
    boundaries = (
        SplitBoundary("boxes", (0, 4)),
        SplitBoundary("scores", (4, 84), "sigmoid"),
        SplitBoundary("rest", (84, 90)),
    )
    assert read(text) == SplitChoice(hints=(SplitHint("output0", boundaries, (8, 16, 32), 3),))


def test_a_hint_with_what_it_needs() -> None:
    assert read(HINT + BOUNDARIES) == SplitChoice(hints=(SplitHint("output0", (SplitBoundary("boxes", (0, 4)),)),))


def test_boundaries_may_be_tables_of_their_own() -> None:
    text = f'{HINT}[[split.hint.boundaries]]\nname = "boxes"\nchannels = [0, 4]'
    assert read(text) == read(HINT + BOUNDARIES)


def test_hints_stay_in_order() -> None:
    text = "".join(f'[[split.hint]]\ntarget = "{name}"\n{BOUNDARIES}' for name in ("b", "a", "c"))
    assert [hint.target for hint in read(text).hints] == ["b", "a", "c"]


def test_endpoints_with_everything() -> None:
    text = f'{BOXES}[[split.endpoint]]\nrole = "scores"\ntensors = ["c"]\nactivation = "sigmoid"\n'
    text += '[[split.endpoint]]\nrole = "mask_coefs"\ntensors = ["d"]\n'
    text += '[[split.endpoint]]\nrole = "protos"\ntensors = ["e"]\nencoding = "none"\nactivation = "none"\n'
    assert read(text) == SplitChoice(
        groups=(
            EndpointGroup("boxes", ("a", "b"), "dfl"),
            EndpointGroup("scores", ("c",), None, "sigmoid"),
            EndpointGroup("mask_coefs", ("d",)),
            EndpointGroup("protos", ("e",)),
        )
    )


def test_the_proof_stands_beside_the_endpoints() -> None:
    assert not read(f"[split]\nproof = false\n{BOXES}").prove


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "tanh"])
def test_every_activation(activation: str) -> None:
    (group,) = read(f'[[split.endpoint]]\nrole = "scores"\ntensors = ["a"]\nactivation = "{activation}"').groups
    assert group.activation == activation
    boundary = f'boundaries = [{{ name = "a", channels = [0, 1], activation = "{activation}" }}]'
    assert read(HINT + boundary).hints[0].boundaries[0].activation == activation


def test_scores_may_be_said_to_need_no_activation() -> None:
    (group,) = read('[[split.endpoint]]\nrole = "scores"\ntensors = ["a"]\nactivation = "none"').groups
    assert group.activation is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # The table itself.
        ("split = 3", ["model.toml: split = 3 is not possible; expected a table, headed [split]"]),
        ("[[split]]", ["model.toml: split = [{}]", "a table, headed [split]"]),
        ("[split]\nproof = 1", ["model.toml, [split]: proof = 1 is not possible; expected true or false"]),
        ('[split]\nproof = "no"', ["proof = 'no'", "true or false"]),
        ("[split]\nproff = true", ["model.toml, [split]: unknown key proff = True", 'did you mean "proof"?']),
        ("[split]\nhints = []", ["unknown key hints = []", 'did you mean "hint"?', "proof, outputs, hint, endpoint"]),
        ("[split.hint]", ["[split]: hint = {} is not possible", "tables, each headed [[split.hint]]"]),
        ("[split]\nendpoint = [1]", ["endpoint = [1]", "tables, each headed [[split.endpoint]]"]),
        (HINT + BOUNDARIES + BOXES, ["[split]: endpoint = [", "either [[split.hint]] or [[split.endpoint]], not both"]),
        # A hint.
        ("[[split.hint]]", ["model.toml, [split], [[hint]] number 1: needs target and boundaries"]),
        (HINT, ["[[hint]] number 1: needs target and boundaries"]),
        ("[[split.hint]]\n" + BOUNDARIES, ["[[hint]] number 1: needs target and boundaries"]),
        (HINT + BOUNDARIES + "[[split.hint]]", ["[[hint]] number 2: needs target and boundaries"]),
        ("[[split.hint]]\ntarget = 0", ["[[hint]] number 1: target = 0 is not possible; expected a string"]),
        ('[[split.hint]]\ntarget = ""', ["target = ''", "a string that is not empty"]),
        (HINT + "boundaries = 4", ["boundaries = 4", "tables, each headed [[split.hint.boundaries]]"]),
        (HINT + "boundaries = [[0, 4]]", ["boundaries = [[0, 4]]", "tables"]),
        (HINT + BOUNDARIES + "strides = 8", ["[[hint]] number 1: strides = 8", "an array of integers from 1 to 4096"]),
        (HINT + BOUNDARIES + "strides = [0]", ["strides = [0]", "from 1 to 4096"]),
        (HINT + BOUNDARIES + "strides = [8, 5000]", ["strides = [8, 5000]", "from 1 to 4096"]),
        (HINT + BOUNDARIES + "strides = [8.0]", ["strides = [8.0]", "integers"]),
        (HINT + BOUNDARIES + "strides = [true]", ["strides = [True]", "integers"]),
        (HINT + BOUNDARIES + "anchors_per_cell = 0", ["anchors_per_cell = 0", "an integer from 1 to 64"]),
        (HINT + BOUNDARIES + "anchors_per_cell = 65", ["anchors_per_cell = 65", "from 1 to 64"]),
        (HINT + BOUNDARIES + "anchors_per_cell = true", ["anchors_per_cell = True", "an integer"]),
        (HINT + BOUNDARIES + "anchor = 3", ["unknown key anchor = 3", 'did you mean "anchors"?']),
        # Anchors, in either table.
        (HINT + BOUNDARIES + "anchors = 3", ["[[hint]] number 1: anchors = 3", "an array of levels, finest first"]),
        (
            GRIDS + "anchors = [[10, 13, 16, 30]]",
            ["[[endpoint]] number 1: anchors = [[10,", "each an array of [width, "],
        ),
        (GRIDS + "anchors = [10, 13]", ["anchors = [10, 13]", "an array of levels"]),
        (GRIDS + "anchors = [[]]", ["anchors = [[]]", "an array of levels"]),
        (GRIDS + "anchors = [[[10, 13, 16]]]", ["[width, height]"]),
        (GRIDS + 'anchors = [[[10, "13"]]]', ["[width, height]"]),
        (GRIDS + "anchors = [[[10, true]]]", ["[width, height]"]),
        (GRIDS + "anchors = [[[10, nan]]]", ["[width, height]"]),
        (GRIDS + "anchors = [[[10, -13]]]", ["widths and heights above 0 and up to 65536, in pixels"]),
        (GRIDS + "anchors = [[[0, 13]]]", ["widths and heights above 0"]),
        (GRIDS + f"anchors = [[[10, 1{'0' * 400}]]]", ["up to 65536"]),
        (GRIDS + f"anchors = [[{'[1, 2],' * 65}]]", ["an array of levels"]),
        (GRIDS + "anchors = [[[0.02, 0.03]], [[0.5, 0.7]]]", ["fractions of it: multiply them with its width"]),
        (BOXES + "anchors = [[[10, 13]]]", ['needs no anchors, which only role = "anchor" has; the role is "boxes"']),
        # Outputs.
        ('[split]\noutputs = "output0"', ["outputs = 'output0'", "an array of strings"]),
        ('[split]\noutputs = [""]', ["outputs = ['']", "strings that are not empty"]),
        ('[split]\noutputs = ["a", "a"]', ['each output once; "a" is there 2 times']),
        (HINT + BOUNDARIES + "stride = [8]", ["unknown key stride = [8]", 'did you mean "strides"?']),
        # A boundary.
        (HINT + "boundaries = [{}]", ["[[boundaries]] number 1: needs name and channels = [first, end]"]),
        (HINT + 'boundaries = [{ name = "a" }]', ["needs name and channels = [first, end]"]),
        (HINT + 'boundaries = [{ name = "a", channels = [4] }]', ["needs name and channels = [first, end]"]),
        (HINT + 'boundaries = [{ name = "a", channels = [0, 4, 8] }]', ["needs name and channels = [first, end]"]),
        (HINT + "boundaries = [{ channels = [0, 4] }]", ["needs name and channels = [first, end]"]),
        (
            HINT + 'boundaries = [{ name = "a", channels = [0, 4] }, { name = "b", channels = [-1, 4] }]',
            ["[split], [[hint]] number 1, [[boundaries]] number 2: channels = [-1, 4]", "integers from 0 to"],
        ),
        (HINT + "boundaries = [{ name = 3, channels = [0, 4] }]", ["name = 3", "a string"]),
        (
            HINT + 'boundaries = [{ name = "a", channels = [0, 4], activation = "relu" }]',
            ["[[boundaries]] number 1: activation = 'relu'", f"one of: {ACTIVATIONS}"],
        ),
        (
            HINT + 'boundaries = [{ name = "a", channels = [0, 4], encoding = "dfl" }]',
            ["unknown key encoding = 'dfl'", "Allowed are: name, channels, activation"],
        ),
        # An endpoint.
        ("[[split.endpoint]]", ["model.toml, [split], [[endpoint]] number 1: needs role and tensors"]),
        ('[[split.endpoint]]\nrole = "protos"', ["needs role and tensors"]),
        ('[[split.endpoint]]\ntensors = ["a"]', ["needs role and tensors"]),
        ('[[split.endpoint]]\nrole = "protos"\ntensors = []', ["needs role and tensors"]),
        (BOXES + '[[split.endpoint]]\nrole = "a"', ["[[endpoint]] number 2: needs role and tensors"]),
        ("[[split.endpoint]]\nrole = 1", ["[[endpoint]] number 1: role = 1 is not possible; expected a string"]),
        ('[[split.endpoint]]\nrole = "?"\ntensors = ["a"]', ["role = '?'", "expected what the tensors are: boxes, sc"]),
        ('[[split.endpoint]]\nrole = "Boxes"\ntensors = ["a"]', ["role = 'Boxes'", "boxes, scores"]),
        ('[[split.endpoint]]\nrole = "a/b"\ntensors = ["a"]', ["role = 'a/b'"]),
        ('[[split.endpoint]]\nrole = "boxes\\n"\ntensors = ["a"]', ["role = 'boxes\\n'"]),
        ('[[split.endpoint]]\nrole = "a"\ntensors = "b"', ["tensors = 'b'", "an array of strings"]),
        ('[[split.endpoint]]\nrole = "a"\ntensors = [1]', ["tensors = [1]", "strings that are not empty"]),
        ('[[split.endpoint]]\nrole = "a"\ntensors = [""]', ["tensors = ['']", "strings that are not empty"]),
        (BOXES + 'activation = "Sigmoid"', ["activation = 'Sigmoid'", f"one of: {ACTIVATIONS}"]),
        (BOXES.replace("dfl", "ltrb"), ["encoding = 'ltrb'", 'one of: "dfl", "direct", "none"']),
        (BOXES.replace("dfl", "anchor"), ["encoding = 'anchor'", 'one of: "dfl", "direct", "none"']),
        (BOXES.replace("dfl", "none"), ['needs encoding = "dfl" (bins) or "direct" (distances)']),
        (BOXES.replace('encoding = "dfl"', ""), ['encoding = "dfl" (bins) or "direct"', "because the role is boxes"]),
        ('[[split.endpoint]]\nrole = "scores"\ntensors = ["a"]', ['activation = "sigmoid"', "the role is scores"]),
        (BOXES + 'tensor = "c"', ["unknown key tensor = 'c'", 'did you mean "tensors"?']),
        (BOXES + BOXES, ['needs one [[split.endpoint]] for each role, with all its tensors; "boxes" has 2']),
    ],
)
def test_what_is_wrong_is_told(text: str, told: list[str]) -> None:
    message = refused(text)
    assert message.startswith("model.toml")
    for part in told:
        assert part in message


def loaded(folder: Path, text: str) -> Model:
    model = folder / "models" / "a"
    (model / "calibration").mkdir(parents=True)
    (model / "a.onnx").touch()
    (model / "model.toml").write_text(text)
    (found,) = load_models(folder / "models", Settings())
    return found


def load(folder: Path, text: str) -> SplitChoice:
    return loaded(folder, text).split or AUTOMATIC


def test_a_model_without_the_table_is_automatic(tmp_path: Path) -> None:
    assert load(tmp_path, "") == AUTOMATIC


def test_a_model_carries_its_choice(tmp_path: Path) -> None:
    assert load(tmp_path, f"[split]\nproof = false\n{BOXES}") == SplitChoice(
        False, groups=(EndpointGroup("boxes", ("a", "b"), "dfl"),)
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[split]\nproff = true", "[split]: unknown key proff = True"),
        (f"{HINT}strides = [0]", "[split], [[hint]] number 1: strides = [0] is not possible"),
        ('[[split.endpoint]]\nrole = "?"\ntensors = ["a"]', "[split], [[endpoint]] number 1: role = '?'"),
        ("[splitt]\nproof = false", "unknown key splitt = {'proof': False}; did you mean \"split\"?"),
    ],
)
def test_a_mistake_in_a_model_names_its_file(tmp_path: Path, text: str, told: str) -> None:
    fault = loaded(tmp_path, text).fault("split") or ""
    assert fault.startswith(str(tmp_path / "models/a/model.toml"))
    assert told in fault


def test_how_the_table_is_written_does_not_matter() -> None:
    """Equal tables give equal choices, by which models are compared."""
    first = read(BOXES)
    second = read('split.endpoint = [{ tensors = ["a", "b"], encoding = "dfl", role = "boxes" }]')
    assert (first, hash(first)) == (second, hash(second))


@pytest.mark.parametrize(("role", "meant"), [("box", "boxes"), ("mask_coef", "mask_coefs"), ("proto", "protos")])
def test_a_mistyped_role_is_told(role: str, meant: str) -> None:
    assert f'expected "{meant}", which is like it' in refused(f'[[split.endpoint]]\nrole = "{role}"\ntensors = ["a"]\n')


@pytest.mark.parametrize("role", ["raw_boxes", "raw_scores", "keypoints", "depth"])
def test_roles_of_ones_own_are_taken(role: str) -> None:
    (group,) = read(f'[[split.endpoint]]\nrole = "{role}"\ntensors = ["a"]\n').groups
    assert group.role == role
