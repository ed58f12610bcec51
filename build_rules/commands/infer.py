"""`doit infer FILE.hef|FILE.har IMAGE... --output OUT.npz`: run what a compiler made on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import BuildCommand, check_file, show
from build_rules.errors import InputError, printable

__all__ = ["Infer"]


class Infer(BuildCommand):
    """doit's command `infer`."""

    doc_purpose = "run an emulated HEF or a quantized HAR on images, on this machine"
    doc_usage = "FILE.hef|FILE.har IMAGE... --output OUT.npz"
    doc_description = (
        "Writes the physical output tensors as the device would deliver them: quantized (uint8 or uint16), NHWC, one "
        "array [images, H, W, C] per output stream, keyed by the stream's name. Images are fitted to the input as the "
        "calibration images were (letterbox unless the file's metadata says stretch; a HAR says nothing)."
    )
    cmd_options = (
        {"name": "output", "short": "o", "long": "output", "type": str, "default": "", "help": "the .npz to write"},
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Run the images one after the other."""
        if len(files) < 2 or not options["output"]:
            raise self.usage_error("needs a HEF or HAR, at least one image and --output.")
        for file in files:
            check_file(file)
        target = Path(options["output"])
        _check_target(target, files)

        from build_rules.commands.npz import write_stacked
        from build_rules.compilers import find_maker

        compiler = find_maker(files[0])
        session = compiler.open(files[0])
        height, width, channels = session.input_shape[1:]
        load = _loader(files[0], (height, width, channels))
        outputs = write_stacked(target, (session.run(load(image)) for image in files[1:]))
        network = "an emulated network" if compiler.is_emulated else "a network as it is on the device"
        show(printable(f"{target}: {outputs} outputs of {len(files) - 1} images, from {network}") + "\n")
        return 0


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


def _loader(hef: Path, shape: tuple[int, int, int]) -> Callable[[Path], Any]:
    """Return a function from an image file to the uint8 [H, W, C] input of the network, whose `shape` that is."""
    from build_rules.calibration.pixels.adaptor import convert
    from build_rules.calibration.pixels.images import decode
    from build_rules.calibration.pixels.letterbox import fit, place

    document = _document(hef)
    resize, color = _resize(hef, document), _color(hef, document, shape[2])

    def load(path: Path) -> Any:
        image = decode(path)
        fitted = fit(image, place((image.shape[0], image.shape[1]), (shape[0], shape[1]), resize))
        return convert(fitted, color).transpose(1, 2, 0)

    return load


def _document(hef: Path) -> Mapping[str, Any]:
    """Return the metadata that a HEF carries; none when it has no document, or is a HAR."""
    if hef.suffix.lower() == ".har":
        return {}
    from build_rules.hef import read_members
    from build_rules.metadata.examine import load_document

    try:
        return load_document(read_members(hef)) or {}
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(f"{hef}: ") else f"{hef}: {error}") from error


def _resize(hef: Path, document: Mapping[str, Any]) -> str:
    """Return how the calibration images were fitted; letterbox where the file does not tell."""
    from build_rules.calibration.pixels.letterbox import RESIZES
    from build_rules.metadata.examine import DOCUMENT

    section: Any = document
    for name in ("hailo", "calibration_geometry"):
        section = section.get(name, {})
        if not isinstance(section, dict):
            raise InputError(f"{hef}: '{name}' in its {DOCUMENT} is not an object; append the metadata again.")
    resize = section.get("resize", "letterbox")
    if resize not in RESIZES:
        raise InputError(
            f"{hef}: its {DOCUMENT} says that images were fitted by {str(resize)[:40]!r}; doit infer can fit them by "
            f"{' or '.join(RESIZES)}."
        )
    return str(resize)


def _color(hef: Path, document: Mapping[str, Any], channels: int) -> str:
    """Return the camera adaptor of the network's input."""
    from build_rules.trainer.preprocessing import read_color

    try:
        color = read_color(document, channels)
    except InputError as error:
        raise error.within(hef) from error
    if color is None:
        raise InputError(
            f"{hef}: its input has {channels} channels, and its metadata do not say of which colours "
            "(input.cameraadaptor); build it with metadata that do."
        )
    return color
