"""Which compiler there is, what it may be told, and which one made a file."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from build_rules import compilers
from build_rules.compilers import COMPILERS, ask_compiler, find_compiler, find_maker
from build_rules.compilers.dfc import Dfc
from build_rules.compilers.emulator import SDK_VERSION, Emulator
from build_rules.compilers.har_file import Har, write_har
from build_rules.declared.model import load_models
from build_rules.declared.settings import Settings, read_settings
from build_rules.errors import InputError
from build_rules.versions import is_emulated
from tests.compilers.emulator.hostile import passing, save_hef
from tests.compilers.made_up import MadeUp
from tests.shared import SHARED, needs_shared


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPILERS, "made_up", "tests.compilers.made_up:MadeUp")


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "pyproject.toml").write_text(text)
    return read_settings(folder / "pyproject.toml")


def test_a_compiler_is_its_settings(tmp_path: Path) -> None:
    told = settings_of(
        tmp_path, '[tool.build_rules]\ncompiler = "made_up"\n[tool.build_rules.made_up]\npython = "p"\nlevel = 3\n'
    )
    assert (told.compiler, told.configured("made_up")) == ("made_up", MadeUp("p", 3))
    assert told.configured("emulator") == Emulator()
    assert Settings().configured("made_up") == MadeUp()
    assert pickle.loads(pickle.dumps(told)) == told, "steps of several processes are handed it"


def test_a_model_overrides_key_by_key(tmp_path: Path) -> None:
    base = settings_of(tmp_path, '[tool.build_rules.made_up]\npython = "p"\nlevel = 3\n')
    for name, text in (
        ("a", ""),
        ("b", "[made_up]\nlevel = 4\n"),
        ("c", 'compiler = "emulator"\n[made_up]\nlevel = 4.0\n'),
    ):
        folder = tmp_path / "models" / name
        (folder / "calibration").mkdir(parents=True)
        (folder / f"{name}.onnx").touch()
        (folder / "model.toml").write_text(text)
    plain, other, wrong = load_models(tmp_path / "models", base)
    assert plain.settings.configured("made_up") == MadeUp("p", 3)
    assert other.settings.configured("made_up") == MadeUp("p", 4)
    assert f"{tmp_path}/models/c/model.toml, [made_up]: level = 4.0 is not possible; expected an integer" in (
        wrong.fault("split") or ""
    ), "what is said of a compiler that is not chosen is looked at, too"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[tool.build_rules.made_up]\nlevl = 1",
            '[made_up]: unknown key levl = 1; did you mean "level"? Allowed are: ',
        ),
        ("[tool.build_rules.made_up]\nlevel = 7", "level = 7 is not possible; expected an integer from 0 to 4"),
        ("[tool.build_rules.made_up]\npython = 3", "python = 3 is not possible; expected a string"),
        (
            "[tool.build_rules]\nmade_up = 3",
            "made_up = 3 is not possible; expected a table, headed [tool.build_rules.made_up]",
        ),
        ("[tool.build_rules.emulator]\nlevel = 1", "[emulator]: unknown key level = 1. Allowed are: none."),
        ("[tool.build_rules.maid_up]\nlevel = 1", "unknown key maid_up = {'level': 1}; did you mean \"made_up\"?"),
        ('[tool.build_rules]\ncompiler = "gcc"', 'expected one of: "emulator", "dfc", "made_up", "prebuilt"'),
    ],
)
def test_what_a_compiler_is_told_wrongly(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        settings_of(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'pyproject.toml'}, [tool.build_rules]")
    assert expected in str(caught.value)


def test_the_maker_of_a_file(tmp_path: Path) -> None:
    hef, har = save_hef(tmp_path / "a.hef", passing()), tmp_path / "a.HAR"
    hn = {"name": "net", "layers": {}, "net_params": {}}
    assert find_maker(hef) == Emulator()
    makers = (
        *(("0.1.0-emulated", Emulator()), ("3.1.0-emulated", Emulator()), ("9.9.9", MadeUp())),
        *(("3.33.0", Dfc()), ("3.33.0-double-emulated", Dfc())),
    )
    for sdk_version, maker in makers:
        write_har(har, Har("net", hn, "hailo_model", sdk_version, "hailo8", {}))
        assert find_maker(har) == maker
    for sdk_version in ("2.7.0", "emulated", "0.1.0-emulated-not"):
        write_har(har, Har("net", hn, "hailo_model", sdk_version, "hailo8", {}))
        with pytest.raises(InputError, match=rf"a\.HAR: .*made by version {sdk_version} .*build its model with that"):
            find_maker(har)


@needs_shared
@pytest.mark.parametrize("name", ["v1_arcface_mobilefacenet", "v3_scrfd_2.5g"])
def test_code_for_silicon_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(
        InputError, match=r"code for a Hailo device, and runs there alone; doit infer takes the model.har"
    ):
        find_maker(SHARED / "hefs" / f"{name}.hef").open(SHARED / "hefs" / f"{name}.hef")


def test_the_first_is_the_default() -> None:
    assert next(iter(COMPILERS)) == compilers.DEFAULT_COMPILER == Settings().compiler
    assert find_compiler(compilers.DEFAULT_COMPILER) == Emulator()


def test_its_files_say_that_it_is_emulated() -> None:
    assert is_emulated(SDK_VERSION) is Emulator.is_emulated
    assert not any(map(is_emulated, ("3.33.0", "emulated", "0.1.0-emulated-not")))


def test_the_first_stage_that_needs_to_know_has_the_fault() -> None:
    level = ask_compiler(MadeUp(level=0))
    assert [level.fault_of(stage) is None for stage in ("parse", "optimize", "compile")] == [True, False, True]
    assert (level.version, level.tools["parse"]) == ("made_up 9.9.9", {"compiler": "made_up 9.9.9"})
    gone = ask_compiler(MadeUp(python="gone"))
    assert [gone.fault_of(stage) is None for stage in ("parse", "optimize", "compile")] == [False, True, True]
    assert (gone.version, set(map(len, gone.tools.values()))) == ("", {0})
    assert ask_compiler(Emulator()).fault is None
