"""The graph room: from a trained ONNX to the tensors at which it is cut.

One file per question of the graph:

========================  ===========================================================================
`document.py`             what do the EdgeFirst metadata in the file say? (reads no weights)
`external.py`             may these external weights be read?
`order.py`                in which order can the nodes be computed?
`source.py`               is this an ONNX that we can work on, and what is its image input?
`view.py`, `constants.py` who produces a tensor, what shape has it, what value if it is a constant?
`hints.py`                which channels of which output does the trainer want apart?
`regions.py`              which part of a node's input does a part of its output come from?
`tail.py`                 how does one node of the decode tail lead backwards, or does the tail end here?
`walk.py`                 at which tensors does the tail of some channels begin?
`whole_outputs.py`        what is an output that needs no split?
`endpoints.py`            which endpoints does the model have, in which order?
`attention.py`            where are the attention blocks?
`cut.py`                  the part of the graph between given tensors, as a model of its own
`proof.py`                does the removed tail, fed with the endpoints, give the original outputs?
`split.py`                all of it: `split_model`
========================  ===========================================================================

Nothing here decides by node name, channel count or model family; only by where the data flows.
"""

from __future__ import annotations

from build_rules.graph.document import SourceDocument, read_document
from build_rules.graph.split import SplitResult, split_model

__all__ = ["SourceDocument", "SplitResult", "read_document", "split_model"]
