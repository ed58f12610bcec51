"""From a trained ONNX to `split.onnx` and the record of its endpoints: the whole job of this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from build_rules.errors import InputError
from build_rules.graph.find.find_endpoints import ModelEndpoints, find_endpoints
from build_rules.graph.front import read_front
from build_rules.graph.load.constants import Array
from build_rules.graph.load.foreign import refuse_foreign_operators, refuse_foreign_types
from build_rules.graph.load.graph_view import GraphView, nodes_before_outputs, view_graph, with_outputs
from build_rules.graph.load.source import Source, check_model, load_source
from build_rules.graph.prove.cut import cut_graph
from build_rules.graph.prove.single_image import mixed_images
from build_rules.graph.tail.attention import find_attention
from build_rules.onnx_file.onnx_files import OnnxFiles, opened
from build_rules.onnx_file.weights import Reading
from build_rules.onnx_file.write import write_model
from build_rules.records.choices import AUTOMATIC, SplitChoice
from build_rules.records.split_json import Anchors, ModelInput, PixelFacts, Proof, Split
from build_rules.regular_file import unwatched
from build_rules.trainer.document import TrainerDocument
from build_rules.trainer.image_size import image_sizes
from build_rules.trainer.read_document import read_document

if TYPE_CHECKING:
    from build_rules.graph.decoders.decoder_check import Decoding

__all__ = ["SplitResult", "split_model"]


@dataclass(frozen=True)
class SplitResult:
    """`split` is the content of `split.json`; `external_files` are the files beside the ONNX that hold its weights.

    `pixels` is what the graph says of the pixels it takes, `warnings` are sentences for the person at the terminal.
    """

    split: Split
    pixels: PixelFacts
    external_files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def split_model(
    onnx_file: Path | OnnxFiles,
    model_name: str,
    output: Path,
    choice: SplitChoice = AUTOMATIC,
    samples: Callable[[ModelInput, PixelFacts], Sequence[Array]] | None = None,
    shape: tuple[int, int] | None = None,
    trainer: TrainerDocument | None = None,
    reading: Reading = unwatched,
) -> SplitResult:
    """Cut a model at its endpoints, write the cut model to `output`, and prove the cut.

    `samples` is asked, once the input is known, for further images for the proof, each in its shape; `shape` is the
    (height, width) that the user wants. `trainer` is what `read_document` gave for the same file (default: it is
    read); `reading` is told of every file beside the model before it is read. Equal graphs give equal files. Raises
    `InputError`, naming the file, for anything that cannot be cut.
    """
    with opened(onnx_file) as files:
        trainer = read_document(files) if trainer is None else trainer
        try:
            return _split(files, model_name, output, choice, samples, shape, trainer, reading)
        except InputError as error:
            raise error.within(files.path) from error


def _split(
    files: OnnxFiles,
    model_name: str,
    output: Path,
    choice: SplitChoice,
    samples: Callable[[ModelInput, PixelFacts], Sequence[Array]] | None,
    shape: tuple[int, int] | None,
    trainer: TrainerDocument,
    reading: Reading,
) -> SplitResult:
    source = load_source(files, image_sizes(trainer), shape, reading)
    view = with_outputs(view_graph(source), choice.outputs)
    refuse_foreign_operators(view, choice.named)
    head = find_endpoints(view, trainer, choice)
    tensors = [endpoint.tensor for endpoint in head.endpoints]
    cut = cut_graph(view, tensors)
    pixels = read_front(view)
    compiled = {node.name for node in nodes_before_outputs(view, given=[pixels.front.start] if pixels.front else ())}
    refuse_foreign_types(view, [node for node in cut.graph.node if node.name in compiled])
    check_model(cut)
    write_model(cut, source.files, output)
    image = replace(source.input, shape=(1, *source.input.shape[1:]))
    shown = samples(image, pixels) if samples and choice.prove else ()
    proof = _proof(view, source, output, tensors, choice, shown)
    anchors = _anchors(view, trainer, head, choice)
    decoding = _decoding(view, trainer, head, anchors, choice)
    split = Split(
        model=model_name,
        input=image,
        endpoints=head.endpoints,
        attention=find_attention(cut.graph.node),
        proof=proof,
        hints=head.hints,
        found_by=head.found_by,
        anchors=anchors,
        decoded=decoding.roles,
        front=pixels.front,
    )
    warnings = (*head.warnings, *_doubts(split, choice), *decoding.warnings)
    return SplitResult(split, pixels, source.external_files, warnings)


def _proof(
    view: GraphView,
    source: Source,
    output: Path,
    head: Sequence[str],
    choice: SplitChoice,
    samples: Sequence[Array],
) -> Proof | None:
    """Prove the cut; that a batch was taken apart rightly is known by the proof alone."""
    if not choice.prove:
        if view.batch > 1:
            raise mixed_images(view, "whether it can be taken apart is told by the proof, which is switched off")
        return None
    from build_rules.graph.prove.proof import prove_cut

    try:
        beside = bool(source.external_files)
        return prove_cut(view, source.files.path, output, head, samples, beside, source.widened)
    except InputError as error:
        if view.batch > 1:
            raise mixed_images(view, f"does not give the same for one ({error})") from error
        raise


def _anchors(view: GraphView, trainer: TrainerDocument, head: ModelEndpoints, choice: SplitChoice) -> Anchors | None:
    if not choice.anchors and not any(endpoint.is_grid for endpoint in head.endpoints):
        return None
    from build_rules.graph.decoders.check_manual import hints_of_grids
    from build_rules.graph.decoders.find_anchors import check_anchors, read_anchors

    hints = hints_of_grids(view, trainer, head.endpoints) if choice.groups else head.hints
    try:
        read = read_anchors(view, head.endpoints, hints)
    except InputError:
        if not choice.groups and not choice.anchors:
            raise
        read = None  # what was said by hand stands where the tail cannot be run
    return check_anchors(choice.anchors, head.endpoints, read) if choice.anchors else read


def _doubts(split: Split, choice: SplitChoice) -> tuple[str, ...]:
    if not choice.anchors or not split.anchors:
        return ()
    from build_rules.graph.decoders.find_anchors import unlikely_anchors

    doubt = unlikely_anchors(split.anchors, split.endpoints)
    return () if doubt is None else (doubt,)


def _decoding(
    view: GraphView, trainer: TrainerDocument, head: ModelEndpoints, anchors: Anchors | None, choice: SplitChoice
) -> Decoding:
    from build_rules.graph.decoders.check_manual import check_by_hand
    from build_rules.graph.decoders.decoder_check import check_decoding, without_unread

    if choice.groups:
        decoding = check_by_hand(view, trainer, head.endpoints)
    else:
        decoding = check_decoding(view, head.endpoints, head.followed, head.picks, anchors, head.classes)
    return without_unread(decoding, head.endpoints)
