"""At which size is an export with open dimensions built?

`[input] shape` in `model.toml` says it, else the metadata that the file carries. An open number of images is one.
Everything else in the graph follows from the input: the sizes that it computes are constants then, and are folded as
those of any other export.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from build_rules.errors import InputError

__all__ = ["IMAGE_CHANNELS", "StatedSize", "fix_sizes"]

IMAGE_CHANNELS = (1, 2, 3, 4)
ELEMENTWISE = ("Add", "BatchNormalization", "Cast", "Clip", "Div", "Identity", "Mul", "Relu", "Sub")
"""What leaves an image its channels."""
Size = tuple[int, int]
StatedSize = tuple[Size, str]
"""(height, width) in pixels, and who says so."""


def fix_sizes(model: onnx.ModelProto, stated: Sequence[StatedSize], wanted: Size | None) -> None:
    """Give the open dimensions of the only input their sizes, in place; leave them open where nothing says them.

    `stated` is what the metadata say, `wanted` the (height, width) of `model.toml`. Raises `InputError` when what is
    said contradicts the export or itself.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in stored]
    if len(images) != 1 or len(images[0].type.tensor_type.shape.dim) != 4:
        return
    name, dims = images[0].name, images[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in dims]
    channel = 3 if sizes[3] in IMAGE_CHANNELS and sizes[1] not in IMAGE_CHANNELS else 1
    rows, columns = (1, 2) if channel == 3 else (2, 3)
    decided = _decided(stated, wanted, is_open=None in (sizes[rows], sizes[columns]))
    if decided is not None:
        _check_same(name, (sizes[rows], sizes[columns]), *decided)
        sizes[rows], sizes[columns] = decided[0]
    sizes[0] = sizes[0] or 1
    sizes[channel] = sizes[channel] or _channels(model.graph, name)
    if sizes[channel] is None and None not in (sizes[rows], sizes[columns]):
        raise InputError(
            f"the input '{name}' leaves its number of channels open, and the first layers do not tell it; export the "
            "model with a fixed one (torch.onnx.export: no axis of channels among dynamic_axes)."
        )
    if None in sizes or sizes == [dim.dim_value for dim in dims]:
        return
    for dim, size in zip(dims, sizes, strict=True):
        dim.dim_value = size or 0
    # What the export says of other tensors was said of open sizes, or of another one.
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()


def _decided(stated: Sequence[StatedSize], wanted: Size | None, is_open: bool) -> StatedSize | None:
    """Return the size to build at, and who says so; the metadata are only asked where the export leaves it open."""
    if wanted is not None:
        return wanted, "shape under [input] in model.toml"
    if not is_open:
        return None
    if len({size for size, _ in stated}) > 1:
        both = " and ".join(f"{where} says {list(size)}" for size, where in stated)
        raise InputError(
            f"the export leaves its size open, and {both}; write which one is meant into model.toml: "
            f"[input] shape = {list(stated[0][0])}."
        )
    return stated[0] if stated else None


def _check_same(name: str, exported: tuple[int | None, int | None], size: Size, where: str) -> None:
    if any(fixed not in (None, side) for fixed, side in zip(exported, size, strict=True)):
        shown = "x".join("?" if side is None else str(side) for side in exported)
        raise InputError(
            f"{where} says {list(size)} (height, width), but the input '{name}' was exported at {shown}; export the "
            "model at that size (or with dynamic=True), or correct what is said."
        )


def _channels(graph: onnx.GraphProto, image: str) -> int | None:
    """Return how many channels the first convolution takes, None when the image is turned or cut before."""
    kernels = {tensor.name: tensor.dims for tensor in graph.initializer}
    same = {image}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] in same and len(kernels.get(node.input[1], ())) == 4:
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            return int(kernels[node.input[1]][1] * groups)
        if node.op_type in ELEMENTWISE and not same.isdisjoint(node.input):
            same.update(node.output)
    return None
