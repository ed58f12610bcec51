"""The graph room: from a trained ONNX to the tensors at which it is cut.

One file per question of the graph:

========================  ===========================================================================
`document.py`             what do the EdgeFirst metadata in the file say? (reads no weights)
`wire.py`                 where do the fields of the file lie?
`extent.py`               how much does it hold, before it is parsed?
`long_lists.py`           which lists of numbers would be too long to be followed?
`skeleton.py`             what is the model without its weights?
`weights.py`              where do the weights lie, and may they be read?
`functions.py`            what is the model without local functions?
`sequences.py`            which splits are written as sequences?
`order.py`                in which order can the nodes be computed?
`source.py`               all of these: is this an ONNX that we can work on, and what is its image input?
`shapes.py`               which shape has each tensor?
`view.py`, `constants.py` who produces a tensor, does it depend on the image, what value has it if it does not?
`sizes.py`                at which size is an export with open dimensions built?
`front.py`, `probes.py`   what do the first layers say about the pixels that the graph takes?
`hints.py`                which channels of which output does the trainer want apart?
`regions.py`              which part of a node's input does a part of its output come from?
`tail/`                   how does one node of the decode tail lead backwards, or does the tail end here?
`walk.py`                 at which tensors does the tail of some channels begin?
`hinted.py`               which maps are the boundaries of a hint?
`infer.py`, `roles.py`    which hints should the trainer have written?
`spare.py`                which outputs say nothing that others do not say?
`several_heads.py`        which outputs belong to which head, where there are several?
`whole_outputs.py`        what is an output that is a map already?
`by_hand.py`              what does `[split]` of `model.toml` say?
`refusals.py`             what is a graph that cannot be cut, and what is to be exported instead?
`candidates.py`           where could a graph be cut that is not understood?
`endpoints.py`            all of these: which endpoints does the model have, in which order?
`attention.py`            where are the attention blocks?
`cut.py`, `batch.py`      the part of the graph between given tensors, as a model of its own, for one image
`write.py`                that model as a file, its weights copied once
`proof.py`                does the removed tail, fed with the endpoints, give the original outputs?
`anchors.py`              which anchors does the graph of an anchor head hold, and are those by hand the same?
`decoder_check.py`        do the EdgeFirst decoders compute from the endpoints what the graph computes?
`decoder_formulas.py`     what do they compute?
`rows.py`                 which rows and channels of an output are which values of which scale?
`agreement.py`            are endpoints named by hand what the graph makes of them?
`costs.py`, `runtime.py`  may a model be run here, and what comes out?
`branches.py`, `work.py`  what do the graphs inside nodes compute, what does one node need besides its outputs?
`split.py`                all of it: `split_model`
========================  ===========================================================================

Nothing here decides by node name, channel count or model family; only by where the data flows.
"""

from __future__ import annotations

from build_rules.graph.cut_model import SplitResult, split_model
from build_rules.trainer.document import SourceDocument, read_document

__all__ = ["SourceDocument", "SplitResult", "read_document", "split_model"]
