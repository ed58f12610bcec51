"""The checks of a compiled `edgefirst.json`: what makes a reader fail, or worse, makes it silently wrong.

The items are numbered as in `ITEMS`. Source: the EdgeFirst metadata documentation (schema v2) and the behaviour of the
EdgeFirst HAL, its successor `edgefirst.decoder` and the EdgeFirst validator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from build_rules.metadata.compare_with_hef import physical_outputs, same_as_hef
from build_rules.metadata.output_checks import (
    check_anchor_grid,
    check_boxes,
    check_scores,
    check_tensor,
    is_carried,
)
from build_rules.metadata.physical import PhysicalTensor
from build_rules.metadata.problems import Problem, axis, error, mapping, pair_of_axes, warning
from build_rules.records.roles import (
    ACTIVATIONS,
    ANGLE,
    BEFORE_SCORES,
    BOXES,
    DETECTION,
    DETECTOR,
    MASK_COEFS,
    OBJECTNESS,
    SCORES,
)
from build_rules.trainer.tiling import tiling_fault
from build_rules.trainer.vocabulary import (
    DECODER_VERSIONS,
    NMS_MODES,
    OUTPUT_TYPES,
    SCHEMA_VERSION,
    SPLIT_TYPES,
    UNDECODED_TYPES,
)

__all__ = ["ITEMS", "Problem", "check_document"]

ITEMS = {
    1: "schema_version is the integer 2",
    2: "input.shape and input.dshape, with height and width",
    3: "decoder_version from the closed list, or absent",
    4: "nms from the closed list",
    5: "every output has a type from the closed list",
    6: "shape and dshape everywhere, same order and sizes",
    7: "boxes have an encoding",
    8: "boxes, scores and mask_coefs have children with the same strides",
    9: "the name of a physical output is the HEF's vstream name",
    10: "a child's shape is [1, H, W, C]",
    11: "an integer stride on every child",
    12: "dtype and per-tensor quantization, equal to the HEF's",
    13: "DFL boxes have 4 * reg_max channels, reg_max at most 64",
    14: "the sigmoid of the scores is folded and declared",
    15: "physical shapes are distinct",
    16: "anchor heads are flat and raw",
    17: "one label for each class",
}

_LOST = {
    ANGLE: "boxes come out unrotated and, where the object is turned, off its centre",
    OBJECTNESS: "scores come out too high",
}
"""What a program sees that decodes the rest without the output of this name."""


def check_document(
    document: Any, tensors: Sequence[PhysicalTensor] | None = None, labels: Sequence[str] | None = None
) -> tuple[Problem, ...]:
    """Return everything that is wrong with a compiled document, in the document's order; never raises.

    `document` is any parsed JSON. With `tensors`, the HEF's outputs, names and quantization are compared with them;
    with `labels`, the lines of `labels.txt`, their number is compared with the classes. Severity `error` means that a
    reader fails or decodes wrongly, `warning` that it depends on the reader.
    """
    if not isinstance(document, dict):
        return (error(1, "", f"is {type(document).__name__}, not a mapping"),)
    problems = [*_header(document)]
    outputs = document.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        problems.append(error(5, "outputs", "is missing or empty; a compiled document lists the model's outputs"))
        return tuple(problems)
    for index, output in enumerate(outputs):
        problems += _output(f"outputs[{index}]", output)
    objects = [o for o in outputs if isinstance(o, dict)]
    problems += _carried(objects)
    problems += _strides(objects)
    problems += _geometry(document.get("input"), objects)
    problems += _shapes(objects)
    problems += _labels(document, objects, labels)
    if tensors is not None:
        problems += same_as_hef(objects, tensors)
    return tuple(problems)


def _header(document: dict[str, Any]) -> Iterator[Problem]:
    """Items 1 to 4, and the members that must or must not be there."""
    version = document.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        yield error(1, "schema_version", f"is {version!r}; readers want the integer {SCHEMA_VERSION}")
    yield from _input(document.get("input"))
    if "decoder_version" in document and document["decoder_version"] not in DECODER_VERSIONS:
        words = ", ".join(DECODER_VERSIONS)
        yield error(
            3, "decoder_version", f"is {document['decoder_version']!r}, not one of {words}; leave it out instead"
        )
    if document.get("nms") not in NMS_MODES:
        yield error(4, "nms", f"is {document.get('nms')!r}, not one of {', '.join(NMS_MODES)}")
    if "split_hints" in document:
        yield error(6, "split_hints", "is an instruction to the converter; a compiled document has outputs instead")
    if "tiling" in document and (fault := tiling_fault(document["tiling"])):
        yield error(6, "tiling", fault)


def _input(section: Any) -> Iterator[Problem]:
    """Item 2: without `dshape`, an NCHW input is read as three pixels wide."""
    if not isinstance(section, dict):
        yield error(2, "input", "is missing; it gives the size of the input image")
        return
    yield from pair_of_axes(2, "input", section)
    for name in ("height", "width"):
        if axis(section, name) is None:
            yield error(2, "input.dshape", f"does not name the axis {name}; boxes would be scaled by a wrong size")


def _output(path: str, output: Any) -> Iterator[Problem]:
    """Items 5 to 14 and 16 of one logical output and its children."""
    if not isinstance(output, dict):
        yield error(5, path, "is not a mapping")
        return
    kind = output.get("type")
    if kind is None and output.get("name"):
        what = "is absent; the output is carried, but not decoded, and the EdgeFirst validator refuses the document"
        yield warning(5, f"{path}.type", f"of {output['name']!r} {what}")
    elif kind in UNDECODED_TYPES:
        yield error(5, f"{path}.type", f"is {kind!r}, for which the decoders refuse the whole document; leave it out")
    elif kind not in OUTPUT_TYPES:
        yield error(5, f"{path}.type", f"is {kind!r}, not one of {', '.join(OUTPUT_TYPES)}")
    yield from pair_of_axes(6, path, output)
    children = output.get("outputs")
    if children is not None and not isinstance(children, list):
        yield error(8, f"{path}.outputs", "is not a list")
        return
    if children:
        for index, child in enumerate(children):
            yield from _child(f"{path}.outputs[{index}]", child, None if is_carried(output) else kind)
        dtypes = sorted({str(child.get("dtype")) for child in children if isinstance(child, dict)})
        if len(dtypes) > 1:
            yield error(12, f"{path}.outputs", f"have different dtypes ({', '.join(dtypes)}); a role has one")
    else:
        yield from check_tensor(path, output, kind)
        if kind in SPLIT_TYPES:
            yield error(8, f"{path}.outputs", f"is missing; {kind} need one child per scale to be decoded")
    if kind == BOXES:
        yield from check_boxes(path, output)
    if kind == SCORES:
        yield from check_scores(path, output)
    if kind == DETECTION and not is_carried(output):
        yield from check_anchor_grid(path, output)


def _child(path: str, child: Any, kind: Any) -> Iterator[Problem]:
    """Items 5, 6, 9 to 12 of one physical child."""
    if not isinstance(child, dict):
        yield error(10, path, "is not a mapping")
        return
    if child.get("type") != kind and not (kind is None and child.get("type") in OUTPUT_TYPES):
        yield error(5, f"{path}.type", f"is {child.get('type')!r}, but its logical output is {kind!r}")
    yield from pair_of_axes(6, path, child)
    yield from check_tensor(path, child, kind)
    shape, stride = child.get("shape"), child.get("stride")
    if not isinstance(shape, list) or len(shape) != 4 or shape[0] != 1:
        yield error(10, f"{path}.shape", f"is {shape!r}, not [1, H, W, C]")
    elif axis(child, "height") != shape[1] or axis(child, "width") != shape[2]:
        yield error(10, f"{path}.dshape", "does not put height and width before the channels; Hailo's layout is NHWC")
    pair = isinstance(stride, list) and len(stride) == 2 and all(type(s) is int and s > 0 for s in stride)
    if pair and len(set(stride or ())) == 2:
        yield warning(11, f"{path}.stride", f"differs per axis ({stride!r}); the decoders take the first for both axes")
    elif type(stride) is not int or stride <= 0:
        yield error(11, f"{path}.stride", f"is {stride!r}, not a positive integer")
    for member in ("decoder", "encoding", "score_format", "normalized", "anchors", "outputs"):
        if member in child:
            yield error(6, f"{path}.{member}", "belongs to the logical output, not to a physical child")
    for member in ("activation_applied", "activation_required"):
        if member in child and child[member] not in ACTIVATIONS:
            yield error(14, f"{path}.{member}", f"is {child[member]!r}, not one of {', '.join(ACTIVATIONS)}")


def _carried(outputs: list[dict[str, Any]]) -> Iterator[Problem]:
    """Item 5: an output that no decoder decodes is safe where they take everything from split boxes and scores."""
    if all(output.get("type") is None for output in outputs):
        yield warning(5, "outputs", "have no type; the decoders refuse a document in which there is nothing to decode")
    split = {str(output.get("type")) for output in outputs if output.get("outputs")}
    for index, output in enumerate(outputs):
        if not is_carried(output):
            continue
        path, name = f"outputs[{index}].type", output.get("name")
        if split >= DETECTOR:
            lost = _LOST.get(str(name))
            what = f"of {name!r} is {output['type']!r}; the output is carried, but not decoded"
            yield warning(5, path, f"{what}: {lost}" if lost else what)
        else:
            yield error(5, path, f"of {name!r} is {output['type']!r}, which is decoded where there are no split boxes")


def _strides(outputs: list[dict[str, Any]]) -> Iterator[Problem]:
    """Item 8: a level needs all of its roles."""
    strides = {
        str(output.get("type")): [str(c.get("stride")) for c in mapping(output.get("outputs"))]
        for output in outputs
        if output.get("type") in SPLIT_TYPES and output.get("outputs")
    }
    for present, missing in ((BOXES, SCORES), (SCORES, BOXES), (MASK_COEFS, BOXES)):
        if present in strides and missing not in strides:
            yield error(8, "outputs", f"have {present} but no {missing} with children; nothing can be decoded")
    for kind, own in strides.items():
        if BOXES in strides and sorted(own) != sorted(strides[BOXES]):
            yield error(8, "outputs", f"{kind} have strides {', '.join(own)}, boxes {', '.join(strides[BOXES])}")
        for stride, count in Counter(own).items():
            if count > 1:
                yield error(8, "outputs", f"{kind} have {count} children of stride {stride}")


def _geometry(image: Any, outputs: list[dict[str, Any]]) -> Iterator[Problem]:
    """Items 6 and 11: the cells of a level, times its stride, are the input; those of all levels are the boxes."""
    size = {name: axis(image, name) if isinstance(image, dict) else None for name in ("width", "height")}
    for path, _, tensor in physical_outputs(outputs):
        stride = tensor.get("stride")
        pair = stride if isinstance(stride, list) and len(stride) == 2 else [stride, stride]
        for (name, pixels), step in zip(size.items(), pair, strict=True):
            cells = axis(tensor, name)
            if type(step) is int and pixels is not None and cells is not None and cells * step != pixels:
                yield error(11, f"{path}.stride", f"is {step}, but {cells} cells span the input's {name} of {pixels}")
    for index, output in enumerate(outputs):
        sizes = [(axis(child, "height"), axis(child, "width")) for child in mapping(output.get("outputs"))]
        total = axis(output, "num_boxes")
        if output.get("type") in SPLIT_TYPES and sizes and total is not None:
            cells = sum((height or 0) * (width or 0) for height, width in sizes)
            if cells != total:
                yield error(6, f"outputs[{index}].shape", f"has {total} boxes, but the children have {cells} cells")


def _shapes(outputs: list[dict[str, Any]]) -> Iterator[Problem]:
    """Item 15, and names that occur twice (item 9)."""
    shapes: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for path, role, tensor in physical_outputs(outputs):
        name = str(tensor.get("name"))
        if name in names:
            yield error(9, f"{path}.name", f"is {name!r}, the same as that of {names[name]}")
        names[name] = path
        shapes.setdefault(str(tensor.get("shape")), []).append(f"{name!r} ({role})")
    alike = [f"{' and '.join(owners)} {shape}" for shape, owners in shapes.items() if len(owners) > 1]
    if alike:
        follows = (
            "readers bind tensors by shape, so a program must hand these over in the document's order, or one is "
            "decoded as the other; the EdgeFirst validator refuses the model"
        )
        yield warning(15, "outputs", f"share their shape: {', '.join(alike)}; {follows}")


def _labels(document: dict[str, Any], outputs: list[dict[str, Any]], labels: Sequence[str] | None) -> Iterator[Problem]:
    """Item 17."""
    classes = None
    for output in outputs:
        shape, anchors = output.get("shape"), output.get("anchors")
        if output.get("type") == SCORES:
            classes = axis(output, "num_classes")
        elif output.get("type") == DETECTION and isinstance(anchors, list) and anchors and isinstance(shape, list):
            size = axis(output, "num_anchors_x_features")
            classes = None if size is None else size // len(anchors) - BEFORE_SCORES
        if classes is not None:
            break
    if classes is None:
        return
    if labels is not None and len(labels) != classes:
        yield error(17, "labels", f"name {len(labels)} classes, but the model scores {classes}")
    dataset = document.get("dataset")
    named = dataset.get("classes") if isinstance(dataset, dict) else None
    if isinstance(named, list) and len(named) != classes:
        yield warning(17, "dataset.classes", f"names {len(named)} classes, but the model scores {classes}")
