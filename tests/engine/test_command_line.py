"""Which tasks a command line asks for; whatever is doubtful asks for all."""

from __future__ import annotations

import pytest

from build_rules.engine.command_line import EVERYTHING, Request, read_request

DEFAULT = Request(default=True)


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("", DEFAULT),
        ("run", DEFAULT),
        ("-n 4", Request(default=True, processes=4)),
        ("-n4", Request(default=True, processes=4)),
        ("--process=4 --continue -c", Request(default=True, processes=4)),
        ("-r events", DEFAULT),
        ("-v 2 -r events", Request(default=True, explain=True)),
        ("--verbosity=1 meta:one:x", Request(("one",), explain=True, rests=("x",))),
        ("hw_arch=hailo8 preset=fast", DEFAULT),
        ("meta:one:hailo8l-fast", Request(("one",), rests=("hailo8l-fast",))),
        ("run meta:team/one:hailo8l-fast split:two", Request(("team/one", "two"), rests=("hailo8l-fast",))),
        ("meta:yolo*:*", Request(("yolo*",), rests=("*",))),
        ("-n 2 hef:*:hailo8-* preset=fast", Request(("*",), processes=2, rests=("hailo8-*",))),
        ("meta", EVERYTHING),
        ("meta:one:hailo8l-fast meta", EVERYTHING),
        ("build/one/split.onnx", EVERYTHING),
        ("list --all", EVERYTHING),
        ("clean", EVERYTHING),
        ("forget --all", EVERYTHING),
        ("-a", EVERYTHING),
        ("--always-execute meta:one:hailo8l-fast", EVERYTHING),
        ("-f other.py", EVERYTHING),
        ("--db-file x", EVERYTHING),
        ("-s meta:one:hailo8l-fast", EVERYTHING),
        ("status", Request(default=True, leftovers=True)),
        ("status team/* --json", Request(("team/*",), default=True, leftovers=True)),
        ("why meta:one:hailo8l-fast", Request(("one",), rests=("hailo8l-fast",))),
        ("plan", DEFAULT),
        ("plan meta:one:*", Request(("one",), rests=("*",))),
    ],
)
@pytest.mark.parametrize("program", ["/usr/bin/doit", "/site-packages/doit/__main__.py"])
def test_a_command_line(program: str, words: str, request_: Request) -> None:
    assert read_request([program, *words.split()]) == request_


@pytest.mark.parametrize("arguments", [[], ["/usr/bin/pytest"], ["-c"], ["/usr/bin/ipython", "meta:one:x"]])
def test_what_is_not_doit_asks_for_everything(arguments: list[str]) -> None:
    assert read_request(arguments) == EVERYTHING


def test_patterns_are_those_of_the_shell() -> None:
    request = Request(("team/yolo*", "one"))
    assert [request.wants(name) for name in ("team/yolov8n", "one", "two", "One")] == [True, True, False, False]
    assert EVERYTHING.wants("anything")


@pytest.mark.parametrize(
    ("word", "wanted", "unwanted"),
    [
        ("har:*fast*", "yolov8n", None),
        ("har:yolo*fast*", "yolov8n", "one"),
        ("har:yolov8?:hailo8l-fast", "yolov8n", "one"),
        ("har:[xy]olo*", "yolov8n", None),
        ("har:*", "one", None),
    ],
)
def test_a_star_goes_over_colons_as_it_does_in_the_names_of_tasks(word: str, wanted: str, unwanted: str | None) -> None:
    request = read_request(["doit", word])
    assert request.wants(wanted)
    assert unwanted is None or not request.wants(unwanted)
