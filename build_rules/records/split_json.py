"""`split.json`: what the graph room found, as every later step reads it.

Format 1 (JSON, UTF-8, two-space indent, members in the order of the dataclasses below)::

    {"format": 1,
     "input": {"name": "images", "shape": [1, 3, 640, 640], "layout": "nchw"},
     "endpoints": [{"name": "boxes_0", "role": "boxes", "scale_index": 0, "stride": 8,
                    "tensor": "/model.22/cv2.0/cv2.0.2/Conv_output_0", "node": "/model.22/cv2.0/cv2.0.2/Conv",
                    "shape": [1, 64, 80, 80], "encoding": "dfl", "activation": null}],
     "hints": [{"target": "output0", "boundaries": [{"name": "boxes", "channels": [0, 4], "activation": null}],
                "strides": [8, 16, 32], "anchors_per_cell": 1}],
     "found_by": "hints", "anchors": null, "decoded": ["boxes", "scores", "mask_coefs"],
     "attention": [{"scores": "/model.10/m/m.0/attn/MatMul", "softmax": "/model.10/m/m.0/attn/Softmax",
                    "mixed": "/model.10/m/m.0/attn/MatMul_1", "fed_by": ["/model.10/m/m.0/attn/qkv/conv/Conv"],
                    "feeds": ["/model.10/m/m.0/attn/proj/conv/Conv"], "beside": ["/model.10/m/m.0/attn/pe/conv/Conv"]}],
     "proof": {"max_abs_error": 0.0, "inputs": 2},
     "preprocessing": {"resize": "letterbox", "scale": 0.00392156862745098, "mean": [0.0, 0.0, 0.0],
                       "std": [1.0, 1.0, 1.0], "tiling_mode": null, "full_frame": false, "snapshot": null,
                       "color": "rgb", "grid": null, "normalization": null},
     "front": null}

Endpoints are ordered by role in document order (boxes, scores, ..., protos), then ascending by stride. What the model
is called is not in the file, which lies in the folder of that name: nothing is made again for another one. Only
messages begin with it, so a copy elsewhere is read as well.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build_rules.errors import InputError
from build_rules.records.normalization import UNIT, Normalization, read_normalization
from build_rules.records.roles import SIGMOID, Role, find_role
from build_rules.records.split_hint import SplitHint, hint_members, load_hint

__all__ = [
    "CAMERA_ADAPTORS",
    "SWAPPED_COLORS",
    "Anchors",
    "AttentionBlock",
    "Endpoint",
    "Front",
    "Level",
    "ModelInput",
    "PixelFacts",
    "Preprocessing",
    "Proof",
    "Split",
    "TileGrid",
    "Tiling",
    "dump_split",
    "in_pixels",
    "load_split",
    "only_endpoints",
    "swapped_order",
]

FORMAT = 1

CAMERA_ADAPTORS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "grey": 1, "yuyv": 2}
"""EdgeFirst's camera adaptors: in what colours a network takes its pixels, and how many channels these have."""

SWAPPED_COLORS = {"rgb": "bgr", "bgr": "rgb", "rgba": "bgra", "bgra": "rgba"}
"""What a camera adaptor is called when red and blue change places."""

Level = tuple[tuple[float, float], ...]
"""Anchors of one level of a classic anchor head, (width, height) each."""

Anchors = tuple[Level, ...]
"""Anchors of a classic anchor head: per level, finest first, (width, height) in pixels of the input."""


@dataclass(frozen=True)
class ModelInput:
    """The one image input of the network; `shape` is static, in `layout` order (`nchw` or `nhwc`)."""

    name: str
    shape: tuple[int, ...]
    layout: str = "nchw"

    @property
    def height(self) -> int:
        """Rows of the input image, in pixels."""
        return self.shape[self.layout.index("h")]

    @property
    def width(self) -> int:
        """Columns of the input image, in pixels."""
        return self.shape[self.layout.index("w")]

    @property
    def channels(self) -> int:
        """Colour channels of the input image."""
        return self.shape[self.layout.index("c")]


@dataclass(frozen=True)
class Endpoint:
    """One tensor at which the graph is cut.

    `tensor` and `node` are names in the ONNX graph, `shape` is the tensor's shape there (NCHW from PyTorch). `role` is
    the boundary's name in the split hint, or the type of an unsplit graph output (`protos`). `scale_index` counts the
    scales of one role from the finest (smallest stride); None when the role has a single tensor. `encoding` is
    `dfl`, `direct` or `anchor` for boxes, else None. `activation` (`sigmoid`, ...) is what the removed
    tail applies first to this tensor; None when it applies none.
    """

    name: str
    role: str
    scale_index: int | None
    stride: int | None
    tensor: str
    node: str
    shape: tuple[int, ...]
    encoding: str | None
    activation: str | None

    @property
    def kind(self) -> Role:
        """What its role says of it."""
        return find_role(self.role)

    @property
    def is_grid(self) -> bool:
        """Whether it is a raw grid of several anchors."""
        return self.kind.form == "grid"

    @property
    def foldable(self) -> str | None:
        """The activation that a compiler may have folded; whether ours is asked to, `Split.folded` decides."""
        return self.activation if self.kind.folds else None


@dataclass(frozen=True)
class Front:
    """Layers with which a graph begins that only prepare pixels; the compiler begins behind them.

    They make the tensor `start` (float, of `shape`) from the graph's input: start = (input - mean) / std, per channel
    of `start`. `swapped` says that red and blue change places on the way.
    """

    start: str
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    swapped: bool = False


@dataclass(frozen=True)
class PixelFacts:
    """What a graph says about the pixels that it takes. `front` is None when the compiler can begin at the input.

    `takes` is what is certain: `raw` (0..255), `unit` (0..1, spread further by the graph), None when nothing is;
    `because` says why, to be read after "the graph". `mean` and `std` are what its first layers do, in the units of the
    input and the order of the channels behind them, None when that is nothing known.
    """

    front: Front | None = None
    takes: str | None = None
    because: str = ""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class AttentionBlock:
    """One attention block, by the names of its nodes in the cut graph.

    `scores` is the product of query and key, `softmax` what weighs it, `mixed` the product with the values. `fed_by`
    are the nearest convolutions before query, key and value, `feeds` the nearest ones after the block, and `beside`
    those that lead the values past the block, such as a positional encoding that is added to what comes out.
    """

    scores: str
    softmax: str
    mixed: str
    fed_by: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """The removed tail, run on the endpoint tensors, against the original outputs, over `inputs` input samples."""

    max_abs_error: float
    inputs: int


@dataclass(frozen=True)
class TileGrid:
    """How the runtime cuts a tiled model's frames: `tiling.grid` of the document, as it says it.

    `min_overlap` is the part of a tile that neighbours share at least, in [0, 1).
    """

    algorithm: str
    version: int
    min_overlap: float


@dataclass(frozen=True)
class Tiling:
    """The document's section `tiling`: `mode` is `tiled` or `whole_frame`; `full_frame`: whole frames are run, too."""

    mode: str
    full_frame: bool = False
    grid: TileGrid | None = None


@dataclass(frozen=True)
class Preprocessing:
    """What was done to pixels before the network saw them: resized, then normalized.

    `resize` is `letterbox`, `stretch` or `tiled`. `snapshot` is the file name of the calibration snapshot that the
    trainer made for this model, when the document names one. `color` is the camera adaptor (`rgb`, `bgr`, `rgba`,
    `bgra`, `grey`, `yuyv`), None when neither the document nor the number of channels tells it. `word` is what the
    compiled document has to say of the normalization in place of the trainer's word, None when that is right.

    Channels are in the order in which the chip takes them (`color`), which is the graph's unless its front swaps them.
    """

    resize: str = "letterbox"
    normalization: Normalization = UNIT
    tiling: Tiling | None = None
    snapshot: str | None = None
    color: str | None = "rgb"
    word: str | None = None


@dataclass(frozen=True)
class Split:
    """The whole of `split.json`; `model` is what messages call the model.

    `hints` are those that were followed, or those that the trainer should have written; `found_by` tells where the
    endpoints come from: `hints`, `structure` (the graph itself) or `model.toml`. `anchors` are those that `model.toml`
    says or that the graph of an anchor head holds, None when there are none or they could not be read. `decoded` are
    the roles of which is known that EdgeFirst's decoders compute what the graph does. `proof` None means switched off.
    `front` None means that the compiler begins at the graph's input.
    """

    model: str
    input: ModelInput
    endpoints: tuple[Endpoint, ...]
    attention: tuple[AttentionBlock, ...]
    proof: Proof | None
    preprocessing: Preprocessing = Preprocessing()
    hints: tuple[SplitHint, ...] = ()
    found_by: str = "hints"
    anchors: Anchors | None = None
    decoded: tuple[str, ...] = ()
    front: Front | None = None

    @property
    def anchor_levels(self) -> tuple[Endpoint, ...]:
        """The grids of a classic anchor head, which are decoded raw, finest first; none of another head."""
        return tuple(sorted((e for e in self.endpoints if e.is_grid), key=lambda e: e.stride or 0))

    @property
    def anchor_head(self) -> bool:
        """Whether the head is a classic anchor head."""
        return bool(self.anchor_levels)

    @property
    def folded(self) -> frozenset[str]:
        """Names of the endpoints whose activation is folded: the compiler is asked to apply it on the chip.

        Here it is decided, for every preset and compiler: a sigmoid is, unless a role is among the endpoints that may
        not be folded (a head is read raw or it is not). The step `alls` asks for it in the model script, `meta` says it
        in the metadata. What another build folded of a HEF, its ranges tell (`metadata.physical.folded_by_ranges`).
        """
        if not all(endpoint.kind.folds for endpoint in self.endpoints):
            return frozenset()
        return frozenset(endpoint.name for endpoint in self.endpoints if endpoint.activation == SIGMOID)


def only_endpoints(split: Split, anchors: Anchors | None) -> Split:
    """Return what of a split decides which objects its outputs hold, with the anchors by which they are decoded.

    It changes with nothing else, such as how the endpoints were found. In a file it has the form of `split.json`.
    """
    return Split(split.model, split.input, split.endpoints, attention=(), proof=None, found_by="", anchors=anchors)


def swapped_order(channels: int) -> list[int]:
    """Return the channels of a picture in the order in which red and blue have changed places."""
    return [2, 1, 0, *range(3, channels)]


def dump_split(split: Split) -> str:
    """Return the text of `split.json`; equal splits give equal text."""
    members = {"format": FORMAT, **asdict(split)}
    members["hints"] = [hint_members(hint) for hint in split.hints]
    members["preprocessing"] = _preprocessing_members(split.preprocessing)
    del members["model"]
    return json.dumps(members, indent=2) + "\n"


def load_split(path: Path) -> Split:
    """Read a `split.json`, whose folder has the model's name. Raises `InputError` when it is not one of format 1."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{path}: format {document['format']!r} is not known (expected {FORMAT}); rebuild it.")
        source = document["input"]
        proof = document["proof"]
        return Split(
            model=path.absolute().parent.name,
            input=ModelInput(source["name"], tuple(source["shape"]), source["layout"]),
            endpoints=tuple(Endpoint(**{**e, "shape": tuple(e["shape"])}) for e in document["endpoints"]),
            attention=tuple(_attention(block) for block in document["attention"]),
            proof=None if proof is None else Proof(**proof),
            preprocessing=_preprocessing(document["preprocessing"]),
            hints=tuple(map(load_hint, document["hints"])),
            found_by=document["found_by"],
            anchors=_anchors(document["anchors"]),
            decoded=tuple(document["decoded"]),
            front=_front(document["front"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"{path}: not a split.json of this version ({error!r}); delete it and run doit again."
        raise InputError(message) from error


def _attention(block: dict[str, Any]) -> AttentionBlock:
    fields: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in block.items()}
    return AttentionBlock(**fields)


def _preprocessing_members(pixels: Preprocessing) -> dict[str, Any]:
    """Return the members as the file has them: numbers and those of `tiling` among the others, the word by its name."""
    tiling = pixels.tiling
    return {
        "resize": pixels.resize,
        **asdict(pixels.normalization),
        "tiling_mode": None if tiling is None else tiling.mode,
        "full_frame": tiling is not None and tiling.full_frame,
        "snapshot": pixels.snapshot,
        "color": pixels.color,
        "grid": None if tiling is None or tiling.grid is None else asdict(tiling.grid),
        "normalization": pixels.word,
    }


def _preprocessing(members: dict[str, Any]) -> Preprocessing:
    mode, grid = members["tiling_mode"], members["grid"]
    return Preprocessing(
        resize=members["resize"],
        normalization=read_normalization(members),
        tiling=None
        if mode is None
        else Tiling(mode, members["full_frame"], None if grid is None else TileGrid(**grid)),
        snapshot=members["snapshot"],
        color=members["color"],
        word=members["normalization"],
    )


def _front(front: dict[str, Any] | None) -> Front | None:
    if front is None:
        return None
    return Front(front["start"], tuple(front["shape"]), tuple(front["mean"]), tuple(front["std"]), front["swapped"])


def _anchors(levels: Any) -> Anchors | None:
    return None if levels is None else tuple(tuple((pair[0], pair[1]) for pair in level) for level in levels)


def in_pixels(normalization: Normalization, front: Front | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) in pixel units of what is done to pixels, before the graph and by its front, as one."""
    mean, std = normalization.in_pixels()
    if front is None:
        return mean, std
    # ((p - m) / s - M) / S = (p - (m + M * s)) / (s * S)
    together = zip(mean, std, front.mean, front.std, strict=True)
    pairs = [(_plain(m + M * s), _plain(s * S)) for m, s, M, S in together]
    return tuple(m for m, _ in pairs), tuple(s for _, s in pairs)


def _plain(value: float) -> float:
    """Return a product without the last digits, which are those of the arithmetic (58.394999999999996)."""
    return float(f"{value:.9g}")
