"""`doit infer FILE.hef|FILE.har IMAGE... --output OUT.npz`: run what a compiler made on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.commands.load_images import loader
from build_rules.errors import InputError, printable

if TYPE_CHECKING:
    from build_rules.compilers.describe_har import HarDescription
    from build_rules.compilers.protocol import Compiler

__all__ = ["Infer", "configured"]

BATCH_BYTES = 256 << 20
"""Pixels and real values that are held at one time; a compiler outside is started once for so many images."""


class Infer(BuildCommand):
    """doit's command `infer`."""

    doc_purpose = "run an emulated HEF or a quantized HAR on images, on this machine"
    doc_usage = "FILE.hef|FILE.har IMAGE... --output OUT.npz"
    doc_description = (
        "Writes one array [images, H, W, C] per output stream, keyed by the stream's name. Of a HEF they are the "
        "physical tensors as the device would deliver them: quantized (uint8 or uint16). Of a HAR they are real values "
        "(float32), computed by the compiler that made it with the numbers of the chip: the emulator here, Hailo's "
        "Dataflow Compiler where [tool.build_rules.dfc] of this folder's pyproject.toml says, or [dfc] of the "
        "model.toml of a model that is built here. Images are fitted to the input as the calibration images were, as "
        "the file's metadata say or what the build has left beside a HAR; else they are letterboxed."
    )
    cmd_options = (
        {"name": "output", "short": "o", "long": "output", "type": str, "default": "", "help": "the .npz to write"},
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Run the images, several at once; outputs keep their order."""
        if len(files) < 2 or not options["output"]:
            raise self.usage_error("needs a HEF or HAR, at least one image and --output.")
        for file in files:
            check_file(file)
        target = Path(options["output"])
        _check_target(target, files)

        from build_rules.commands.npz import write_stacked
        from build_rules.compilers import find_maker
        from build_rules.compilers.in_order import in_order

        compiler, network, images = find_maker(files[0]), files[0], files[1:]
        if network.suffix.lower() == ".har":
            outputs = write_stacked(target, _real_values(compiler, network, images))
            told = f"real values of a quantized network, by {compiler.name}"
        else:
            session = compiler.open(network)
            height, width, channels = session.input_shape[1:]
            load = loader(network, (height, width, channels))
            outputs = write_stacked(target, in_order(lambda image: session.run(load(image)), images))
            told = "from an emulated network" if compiler.is_emulated else "from a network as it is on the device"
        show(printable(f"{target}: {outputs} outputs of {len(images)} images, {told}") + "\n")
        return 0


def _real_values(compiler: Compiler, har: Path, images: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """Return what the network makes of each image, in batches, since some compilers take long to start."""
    import numpy as np

    from build_rules.compilers.in_order import in_order

    description = compiler.describe(har)
    if not description.is_quantized:
        raise InputError(
            f"{har}: is a {description.state}, in which nothing is quantized yet; run the model.har of a target."
        )
    if description.input_shape is None:
        raise InputError(f"{har}: has no input, or several, so it takes no images.")
    load, count = loader(har, description.input_shape[1:]), _batch(description)
    compiler = configured(compiler, har)
    for start in range(0, len(images), count):
        batch = np.stack(list(in_order(load, images[start : start + count])))
        outputs = compiler.simulate(har, batch)
        if any(len(values) != len(batch) for values in outputs.values()):
            raise InputError(f"{har}: {compiler.name} gave other outputs than one for each image.")
        yield from ({name: values[i : i + 1] for name, values in outputs.items()} for i in range(len(batch)))


def _batch(description: HarDescription) -> int:
    """Return of how many images pixels and outputs are held at one time."""
    values = sum(prod(output.shape) for output in description.outputs)
    return max(1, BATCH_BYTES // (prod(description.input_shape or ()) + 4 * values))


def configured(compiler: Compiler, har: Path) -> Compiler:
    """Return a compiler that has to be found with the settings of this repository, and of a model that is built here.

    Raises `InputError` for settings that are not possible.
    """
    if not compiler.looks_outside:
        return compiler
    from build_rules.declared.settings import read_settings
    from build_rules.toml_table import Table, read_toml
    from build_rules.workspace import BUILD, DECLARATION, MODELS

    configured = read_settings(Path("pyproject.toml")).configured(compiler.name)
    model = har.absolute().parent.parent
    if not model.is_relative_to(Path(BUILD).absolute()):
        return configured
    declaration = MODELS / model.relative_to(Path(BUILD).absolute()) / DECLARATION
    if not declaration.is_file():
        return configured
    table = Table(read_toml(declaration), str(declaration)).table(compiler.name)
    return configured if table is None else configured.override(table)


def _check_target(target: Path, sources: tuple[Path, ...]) -> None:
    """Refuse, before the work is done, what could not be written or would be lost."""
    if target.is_dir():
        raise InputError(f"{target}: is a folder; give --output the name of the .npz file to write.")
    if target.exists() and not target.is_file():
        raise InputError(f"{target}: is not a regular file; give --output the name of the .npz file to write.")
    if not target.parent.is_dir():
        raise InputError(f"{target}: cannot be written, since there is no folder {target.parent}.")
    if any(target.exists() and target.samefile(source) for source in sources):
        raise InputError(f"{target}: is one of the files to read; give --output another name.")
