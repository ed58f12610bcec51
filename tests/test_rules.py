"""The table of contents: every rule names all of our code that it is made of, and nothing heavy is imported early.

A rule that lets a compiler do its work leaves that compiler's code to it, stage by stage.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from build_rules import mixed_tasks, rules
from build_rules.compilers import COMPILERS, DEFAULT_COMPILER, find_compiler
from build_rules.compilers.dfc import Dfc
from build_rules.compilers.dfc.own_code import FAILURES, PROFILE, TELLING
from build_rules.compilers.protocol import Compiler, Stage
from build_rules.engine.running.rule import Rule

PACKAGE = Path(rules.__file__).parent
RULES = [value for module in (rules, mixed_tasks) for value in vars(module).values() if isinstance(value, Rule)]
HEAVY = ("numpy", "onnx", "onnxruntime", "PIL", "google.protobuf", "safetensors", "xxhash")


def module_file(name: str) -> Path | None:
    """The file of one of our modules, None for a name that is no module."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if name.startswith("build_rules.") and candidate.is_file():
            return candidate
    return None


def imports(tree: ast.AST) -> set[Path]:
    """Our modules that a piece of code imports, anywhere in it but for what is said of types alone."""
    found: set[Path] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {path for path in map(module_file, names) if path is not None} | imports(node)
    return found


def reached_from(start: Iterable[Path], entered: Iterable[Path] = ()) -> set[str]:
    """What some modules import, and what these import; into those `entered` already nobody looks again."""
    reached, pending = set(entered), set(start)
    while pending:
        file = pending.pop()
        reached.add(file)
        pending |= imports(ast.parse(file.read_text(encoding="utf-8"))) - reached
    return {str(file.relative_to(PACKAGE)) for file in reached}


def named_by(code: tuple[str, ...]) -> set[str]:
    """The modules that a list of code stands for."""
    folders = {file for place in code for file in (PACKAGE / place).rglob("*.py")}
    return {place for place in code if place.endswith(".py")} | {str(file.relative_to(PACKAGE)) for file in folders}


READ_BACK = "compilers/read_back.py"
"""By this a step tells what its stage did, which `meta` decides and writes down."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_its_code_and_no_other(rule: Rule) -> None:
    start = module_file(rule.function.split(":")[0])
    assert start is not None
    tells = set() if rule is rules.META else {READ_BACK}
    reached = reached_from([start], [PACKAGE / place for place in tells]) - tells
    named = named_by(rule.code)
    assert sorted(reached - named) == [], "these are imported and not named"
    # Records are named as a whole: they are few, and what a step reads of them the one before it has written.
    superfluous = {file for file in named - reached if not file.startswith("records/") and "__init__" not in file}
    assert sorted(superfluous) == [], "these are named and not imported: an edit of them would run the rule for nothing"


STAGES: dict[Stage, tuple[str, ...]] = {
    "parse": ("parse", "code", "tools", "version"),
    "statistics": ("collect", "code", "tools", "version"),
    "optimize": ("optimize", "run_float", "code", "tools", "version"),
    "compile": ("compile", "code", "tools", "version"),
}
"""The methods of a compiler that each of its stages calls."""


def imports_of(file: Path, called: tuple[str, ...]) -> set[Path]:
    """What the module of a compiler imports at its beginning and in some of its methods."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = [node for each in classes for node in each.body if getattr(node, "name", "") in called]
    tree.body = [node for node in tree.body if node not in classes]
    return imports(tree).union(*map(imports, methods))


def stages_of(compiler: Compiler) -> list[Stage]:
    """The stages that a compiler has."""
    return [stage for stage in STAGES if stage != "statistics" or compiler.collects_statistics]


LEFT_OUT: dict[Compiler, tuple[str, ...]] = {
    find_compiler(DEFAULT_COMPILER): (),
    Dfc(): (*TELLING, *PROFILE),
    Dfc(profile=True): tuple(place for place in TELLING if place not in FAILURES),
}
"""What each compiler imports and has in no key; a stage's code behind it counts as little."""


@pytest.mark.parametrize(
    ("compiler", "stage"), [(each, stage) for each in LEFT_OUT for stage in stages_of(each)], ids=repr
)
def test_a_compiler_names_the_code_of_each_stage_and_no_other(compiler: Compiler, stage: Stage) -> None:
    file, code = module_file(COMPILERS[compiler.name].split(":")[0]), compiler.code(stage)
    assert file is not None
    left_out = LEFT_OUT[compiler if stage == "compile" else find_compiler(compiler.name)]
    entered = [file, *(PACKAGE / place for place in left_out)]
    assert sorted(code) == sorted(reached_from(imports_of(file, STAGES[stage]), entered) - set(left_out))


@pytest.mark.parametrize("name", COMPILERS)
def test_a_compiler_names_the_code_by_which_noise_is_measured(name: str) -> None:
    file, compiler = module_file(COMPILERS[name].split(":")[0]), find_compiler(name)
    assert file is not None
    called = ("layer_noise", "collect", "simulate", "describe", *STAGES["optimize"])
    reached = reached_from(imports_of(file, called), [file])
    assert sorted(set(compiler.noise_code())) == (sorted(reached) if compiler.measures_noise else [])


@pytest.mark.parametrize("name", COMPILERS)
def test_a_compiler_names_the_code_by_which_a_stage_is_read(name: str) -> None:
    file, compiler = module_file(COMPILERS[name].split(":")[0]), find_compiler(name)
    assert file is not None
    read = imports_of(file, ("read_back",))
    assert sorted(compiler.reading_code()) == (sorted(reached_from(read, [file])) if compiler.keeps_logs else [])
    made = {place for stage in stages_of(compiler) for place in compiler.code(stage)}
    assert not {"compilers/dfc/log_facts.py", "compilers/dfc/log_report.py", READ_BACK} & made


def test_what_may_choose_a_remedy_is_in_the_key_where_it_does() -> None:
    assert not set(FAILURES) & set(Dfc().code("compile"))
    assert set(FAILURES) <= set(Dfc(retry=True).code("compile"))
    assert Dfc(retry=True).code("optimize") == Dfc().code("optimize")


def test_what_runs_a_result_makes_none() -> None:
    places = {place for rule in RULES for place in rule.code}
    compilers = [find_compiler(name) for name in COMPILERS]
    places |= {place for each in compilers for stage in stages_of(each) for place in each.code(stage)}
    assert not {"compilers", "compilers/__init__.py", "compilers/emulator", "compilers/emulator/run_hef.py"} & places
    assert "compilers/emulator/compile.py" not in find_compiler("emulator").code("optimize")


def test_a_step_s_own_code_is_in_its_key(tmp_path: Path) -> None:
    def key(*code: str) -> object:
        task = rules.HEF.task("a", inputs={}, outputs={"hef": tmp_path / "a"}, settings={}, code=code)
        return task["actions"][0].__self__.key

    assert key() == key()
    assert key("compilers/emulator/compile.py") != key()
    assert key("compilers/emulator/compile.py") != key("compilers/emulator/payload.py")


def test_compilers_are_told_apart() -> None:
    compilers = [find_compiler(name) for name in COMPILERS]
    assert [compiler.name for compiler in compilers] == list(COMPILERS)
    assert len({compiler.suffix for compiler in compilers}) == len(compilers)
    assert find_compiler(DEFAULT_COMPILER).suffix == ""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_no_code_that_is_not_there(rule: Rule) -> None:
    assert [place for place in rule.code if not (PACKAGE / place).exists()] == []
    assert len(rule.code_digest()) == 64


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_key_holds_what_runs_a_step_or_tells_of_it(rule: Rule) -> None:
    files = {file for place in rule.code for file in [PACKAGE / place, *(PACKAGE / place).rglob("*.py")]}
    ours = {str(file.relative_to(PACKAGE)) for file in files}
    assert {name for name in ours if name.startswith("engine/report/")} == set()
    assert {name for name in ours if name.startswith("engine/running/")} <= {"engine/running/note_reads.py"}


def test_nothing_heavy_is_imported_before_a_step_runs() -> None:
    program = "import sys, build_rules.dodo, build_rules.engine.freshness.records; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
    cache = [name for name in loaded if name.startswith("build_rules.engine.cache.")]
    assert cache == []
