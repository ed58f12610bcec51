"""Where Hailo's compiler is, and how it is run: `[tool.build_rules.dfc]`, `[dfc]` of a `model.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from build_rules.toml_table import Table

__all__ = ["RUNNERS", "DfcSettings"]

RUNNERS = ("docker", "podman")
PLACES = ("python", "image", "command")
MINUTE, WEEKS = 0.01, 24.0 * 28
"""About the least and the most hours that a step may be given."""
_DEVICE = r"[A-Za-z0-9][A-Za-z0-9-]*(?:[:][0-9]+)?"
_GPUS = re.compile(rf"all|device={_DEVICE}(?:,{_DEVICE})*", re.ASCII)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*", re.ASCII)

Settings = TypeVar("Settings", bound="DfcSettings")


@dataclass(frozen=True)
class DfcSettings:
    """How the compiler is run. One of `python`, `image`, `command` says where it is; without one it cannot be.

    `python` is an interpreter that has `hailo_sdk_client`, relative to the repository. `image` is a container image of
    docker or podman (`runner`). `command` is a prefix that ends with the interpreter on the other side:
    `["ssh", "gpu1", "/opt/dfc/bin/python"]`; with `shared` both sides see the same files under the same paths, without
    it they are sent.

    `gpus` is `""` for none (written "none"), "all", or "device=0" and "device=0,1", as docker takes it; the other two
    forms make CUDA_VISIBLE_DEVICES of it. `time_limit` is in hours, for each step.
    """

    python: str | None = None
    image: str | None = None
    command: tuple[str, ...] = ()
    runner: str = "docker"
    gpus: str = ""
    shared: bool = True
    time_limit: float = 24.0
    profile: bool = False
    retry: bool = False
    reuse_allocation: bool = False

    @property
    def step_seconds(self) -> float:
        """How long a step may take."""
        return self.time_limit * 3600

    def override(self: Settings, table: Table) -> Settings:
        """Return these settings with what a table says put over them; a place in it replaces any other place.

        Raises `InputError` for values that are not possible, and for two places in one table. Whoever calls it closes
        the table.
        """
        python, image, command = table.text("python"), table.text("image"), table.texts("command")
        given = [name for name in PLACES if name in table.names()]
        if len(given) > 1:
            table.fail(given[1], f"one place alone, and {given[0]} is given too: remove one of them")
        if given == ["command"] and not command:
            table.fail("command", 'what starts the interpreter there, such as ["ssh", "gpu1", "/opt/dfc/bin/python"]')
        if image is not None and _IMAGE.fullmatch(image) is None:
            table.fail("image", 'the name of an image, such as "hailo_ai_sw_suite:2025-10"')
        base = replace(self, python=python, image=image, command=command) if given else self
        return replace(
            base,
            runner=table.choice("runner", RUNNERS, self.runner),
            gpus=_read_gpus(table, self.gpus),
            shared=table.flag("shared", self.shared),
            time_limit=table.number("time_limit", self.time_limit, MINUTE, WEEKS),
            profile=table.flag("profile", self.profile),
            retry=table.flag("retry", self.retry),
            reuse_allocation=table.flag("reuse_allocation", self.reuse_allocation),
        )


def _read_gpus(table: Table, default: str) -> str:
    gpus = table.text("gpus")
    if gpus is None:
        return default
    if gpus != "none" and _GPUS.fullmatch(gpus) is None:
        table.fail("gpus", '"none", "all", or some of them, as in "device=0" and "device=0,1"')
    return "" if gpus == "none" else gpus
