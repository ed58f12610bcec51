"""`doit infer FILE.hef IMAGE... --output OUT.npz`: run an emulated HEF on the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build_rules.commands.command import BuildCommand

__all__ = ["Infer"]


class Infer(BuildCommand):
    """doit's command `infer`."""

    doc_purpose = "run an emulated HEF on images, on this machine"
    doc_usage = "FILE.hef IMAGE... --output OUT.npz"
    doc_description = (
        "Writes the physical output tensors as the device would deliver them: quantized (uint8 or uint16), NHWC, one "
        "array [images, H, W, C] per output stream, keyed by the stream's name. Images are fitted to the input as the "
        "calibration images were (letterbox unless the file's metadata says stretch)."
    )
    cmd_options = (
        {"name": "output", "short": "", "long": "output", "type": str, "default": "", "help": "the .npz to write"},
    )

    def run(self, options: Mapping[str, Any], files: tuple[Path, ...]) -> int:
        """Run every image and write all outputs at once."""
        if len(files) < 2 or not options["output"]:
            raise self.usage_error("needs a HEF, at least one image and --output.")
        import numpy as np

        from build_rules.compilers.emulator.infer import HefSession

        session = HefSession(files[0])
        fit = _fitter(files[0], (session.input_shape[1], session.input_shape[2]))
        outputs = [session.run(fit(image)) for image in files[1:]]
        stacked = {name: np.concatenate([one[name] for one in outputs]) for name in outputs[0]}
        target = Path(options["output"])
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **stacked)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        print(f"{target}: {len(stacked)} outputs of {len(outputs)} images, from an emulated network")
        return 0


def _fitter(hef: Path, target: tuple[int, int]) -> Any:
    """Return a function from an image file to the uint8 [H, W, C] input of the network."""
    import json

    from build_rules.calibration.images import decode
    from build_rules.calibration.letterbox import fit, place
    from build_rules.hef import read_members

    document = json.loads(read_members(hef).get("edgefirst.json", b"{}"))
    resize = document.get("hailo", {}).get("calibration_geometry", {}).get("resize", "letterbox")

    def load(path: Path) -> Any:
        image = decode(path)
        return fit(image, place((image.shape[0], image.shape[1]), target, resize))

    return load
