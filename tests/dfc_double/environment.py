"""An environment of its own in which the double is installed as the DFC is: an interpreter, numpy, and nothing else."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

__all__ = ["make_environment", "set_behaviour"]

_SOURCE = Path(__file__).resolve().parent / "package" / "hailo_sdk_client"
_ROOT = Path(__file__).resolve().parents[2]
_DISTRIBUTION = "hailo_dataflow_compiler"
_FILE = "double.json"

BEHAVIOURS = frozenset(
    {
        *("gpus", "licence", "written_level", "contexts"),
        *("failures", "sleep", "noise", "die", "hang", "stubborn", "disk_full"),
        *("drop_activations", "drop_wide_outputs", "missing_streams", "hef_arch"),
    }
)


def make_environment(folder: Path, *, version: str = "3.33.0", **behaviour: Any) -> Path:
    """Make a virtual environment in `folder` and return its `bin/python`; it takes a few hundredths of a second.

    The numpy of this interpreter is linked in, nothing else of it can be imported there. `behaviour` is what the double
    is asked to do beside its work (README.md), and can be changed afterwards (`set_behaviour`).
    """
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    _link_numpy(site)
    shutil.copytree(_SOURCE, site / "hailo_sdk_client", ignore=shutil.ignore_patterns("__pycache__"))
    _install(site / f"{_DISTRIBUTION}-{version}.dist-info", version)
    _write(folder, {"version": version, "interpreter": sys.executable, "root": str(_ROOT)})
    set_behaviour(python, **behaviour)
    return python


def set_behaviour(python: Path, **behaviour: Any) -> None:
    """Replace what the double of an environment is asked to do beside its work."""
    unknown = set(behaviour) - BEHAVIOURS
    if unknown:
        raise TypeError(f"the double has no behaviour {', '.join(sorted(unknown))}; see tests/dfc_double/README.md")
    folder = python.parent.parent
    fixed = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    _write(folder, {**{name: fixed[name] for name in ("version", "interpreter", "root")}, **behaviour})


def _write(folder: Path, settings: dict[str, Any]) -> None:
    (folder / _FILE).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _link_numpy(site: Path) -> None:
    here = Path(sysconfig.get_path("purelib"))
    for source in (*here.glob("numpy"), *here.glob("numpy.libs"), *here.glob("numpy-*.dist-info")):
        (site / source.name).symlink_to(source)


def _install(folder: Path, version: str) -> None:
    """Write what tells of the distribution, as an installer would."""
    folder.mkdir()
    metadata = (
        f"Metadata-Version: 2.1\nName: hailo-dataflow-compiler\nVersion: {version}\nSummary: a double, for tests\n"
    )
    files = {
        "METADATA": metadata,
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "INSTALLER": "pip\n",
        "top_level.txt": "hailo_sdk_client\n",
        "RECORD": f"hailo_sdk_client/__init__.py,,\n{folder.name}/METADATA,,\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
