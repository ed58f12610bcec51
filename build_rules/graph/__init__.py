"""The graph room: from a trained ONNX to the tensors at which it is cut.

One file per question of the graph:

==============================  ===========================================================================
`load/source.py`                is this an ONNX that we can work on, and what is its image input? All of:
`load/inline_functions.py`      what is the model without local functions?
`load/replace_sequences.py`     which splits are written as sequences?
`load/node_order.py`            in which order can the nodes be computed?
`load/open_sizes.py`            at which size is an export with open dimensions built?
`load/widen_halves.py`          what is a model of half precision in float?
`load/foreign.py`               which operators and types are nobody's here?
`load/branches.py`              what do the graphs inside nodes compute?
`load/long_lists.py`            which lists of numbers would be too long to be followed?
`load/shapes.py`                which shape has each tensor?
`load/graph_view.py`            who produces a tensor, does it depend on the image? (`constants.py`: its value if not)
`front.py`, `probes.py`         what do the first layers say about the pixels that the graph takes?
`tail/`                         how does one node of the decode tail lead backwards, or does the tail end here?
`tail/index_boxes.py`           which part of a node's input does a part of its output come from?
`tail/walk.py`                  at which tensors does the tail of some channels begin?
`tail/uncuttable.py`            what is a graph that cannot be cut, and what is to be exported instead?
`tail/attention.py`             where are the attention blocks?
`find/find_endpoints.py`        which endpoints does the model have, in which order? All of:
`find/follow_hint.py`           which maps are the boundaries of a hint?
`find/infer_hints.py`           which hints should the trainer have written? (`find_roles.py`)
`find/spare_outputs.py`         which outputs say nothing that others do not say?
`find/several_heads.py`         which outputs belong to which head, where there are several?
`find/whole_outputs.py`         what is an output that is a map already?
`find/manual.py`                what does `[split]` of `model.toml` say?
`find/propose.py`               where could a graph be cut that is not understood?
`prove/cut.py`                  the part of the graph between given tensors, as a model of its own
`prove/single_image.py`         what is it for one image?
`prove/check_halves.py`         does a graph that was widened compute what its file does in half precision?
`prove/proof.py`                does the removed tail, fed with the endpoints, give the original outputs?
`prove/check_halves.py`         does a half-precision export mean the same in float?
`prove/run_limits.py`           may a model be run here? (`runtime.py`: what comes out; `node_work.py`: at what cost)
`decoders/decoder_check.py`     do the EdgeFirst decoders compute from the endpoints what the graph computes?
`decoders/match_rows.py`        which rows and channels of an output are which values of which scale?
`decoders/find_anchors.py`      which anchors does the graph of an anchor head hold, and are those by hand the same?
`decoders/check_manual.py`      are endpoints named by hand what the graph makes of them?
`cut_model.py`                  all of it: `split_model`
==============================  ===========================================================================

What the file holds is `onnx_file/`'s to say, and what its trainer says is `trainer/`'s. Nothing here decides by node
name, channel count or model family; only by where the data flows.
"""

from __future__ import annotations

from build_rules.graph.cut_model import SplitResult, split_model

__all__ = ["SplitResult", "split_model"]
