"""onnxruntime keeps to itself: nothing in the home folder, nothing on the terminal, one place that loads it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from build_rules import inference

PACKAGE = Path(inference.__file__).parent
RUN = """
import os, sys, time
if sys.argv[1:] == ["noise"]:
    import types
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "onnxruntime":
                log = b"\\x1b[0;93m2026-11-30 15:51:06.4667 [W:onnxruntime:Default, x.cc:164 f] no card\\x1b[m\\n"
                os.write(2, log)
                os.write(2, b"another library speaks\\n")
    sys.meta_path.insert(0, Finder())
from onnx import TensorProto, helper
from build_rules.inference import new_session, session_options
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
unused = helper.make_tensor("unused", TensorProto.FLOAT, [1], [1.0])  # of which onnxruntime would warn
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y], [unused])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
session = new_session(model.SerializeToString(), session_options())
import numpy
print(session.run(None, {"x": numpy.ones(1, numpy.float32)})[0][0])
"""


@pytest.mark.parametrize("home", ["there", "read-only", "missing", "unset"])
def test_nothing_is_written_to_the_home_folder(tmp_path: Path, home: str) -> None:
    place = tmp_path / "home"
    if home in ("there", "read-only"):
        place.mkdir(mode=0o755 if home == "there" else 0o555)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_", "HOME"))}
    if home != "unset":
        environment["HOME"] = str(place)
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1.0\n", "")
    assert list(tmp_path.rglob("*")) == ([place] if place.exists() else [])


def test_what_it_logs_while_it_is_loaded_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "noise"], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1.0\n", "another library speaks\n")


def test_there_is_one_place_that_loads_it() -> None:
    loads = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    found = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if loads.search(path.read_text("utf-8"))]
    assert found == [Path("inference.py")]
