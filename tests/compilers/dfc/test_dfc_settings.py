"""What a table may say of how Hailo's compiler is run."""

from __future__ import annotations

from typing import Any

import pytest

from build_rules.compilers.dfc.dfc_settings import DfcSettings
from build_rules.errors import InputError
from build_rules.toml_table import Table


def read(base: DfcSettings | None = None, **content: Any) -> DfcSettings:
    table = Table(content, "model.toml, [dfc]", "dfc")
    settings = (base or DfcSettings()).override(table)
    table.close()
    return settings


def test_nothing_said_changes_nothing() -> None:
    assert read() == DfcSettings()
    said = DfcSettings(python="../dfc/bin/python", gpus="all", time_limit=2.0, shared=False)
    assert read(said) == said


def test_everything_can_be_said() -> None:
    content: dict[str, Any] = {
        "image": "registry.example.com:5000/hailo/sw_suite@sha256:00ff",
        **{"runner": "podman", "gpus": "device=0,GPU-1234-ab", "shared": False, "time_limit": 0.5},
        **{"profile": True, "retry": True, "reuse_allocation": True},
    }
    assert read(**content) == DfcSettings(**content)


def test_a_place_said_closer_replaces_any_other() -> None:
    ours = read(python="../dfc/bin/python")
    assert read(ours, command=["ssh", "gpu1", "python3"]) == DfcSettings(command=("ssh", "gpu1", "python3"))
    assert read(read(gpus="all"), gpus="none").gpus == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"python": "p", "image": "i"}, "image = 'i' is not possible; expected one place alone, and python is given"),
        ({"python": "p", "command": ["ssh"]}, "command = .*python is given too"),
        ({"command": []}, "ssh.*gpu1"),
        ({"command": ["ssh", ""]}, "not empty"),
        ({"command": "ssh gpu1"}, "an array of strings"),
        ({"python": ""}, "not empty"),
        ({"image": "--privileged"}, "the name of an image"),
        ({"image": "a b"}, "the name of an image"),
        ({"gpus": "2"}, "device=0"),
        ({"gpus": "device=0,"}, "device=0"),
        ({"gpus": "device=0 --privileged"}, "device=0"),
        ({"gpus": ""}, "not empty"),
        ({"runner": "lxc"}, '"docker", "podman"'),
        ({"time_limit": 0}, "a number from 0.01 to 672"),
        ({"time_limit": True}, "a number"),
        ({"time_limit": float("nan")}, "a number"),
        ({"time_limit": "2h"}, "a number"),
        ({"shared": "no"}, "true or false"),
        ({"pyhton": "p"}, 'did you mean "python"'),
    ],
)
def test_what_is_not_possible_is_told(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**content)
