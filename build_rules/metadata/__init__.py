"""The compiled `edgefirst.json` and its checks: pure functions from what is known to what is written.

`vocabulary.py`     the closed lists of the format
`physical.py`       the HEF's output tensors, and which endpoint each carries
`anchors.py`        the anchors of a classic anchor head
`outputs.py`        the compiled `outputs[]`
`bare.py`           what is inferred for an export without metadata
`document.py`       the compiled document
`checks.py`         the checklist of a compiled document (`output_checks.py`, `problems.py`: its parts)
`agreement.py`      a document's outputs beside those of a HEF
`embedded.py`       a HEF and the metadata it carries, held against each other
`hef_outputs.py`    the outputs of a HEF as tensors of this room
`labels.py`         `labels.txt`
`tiling.py`         the `tiling` section
`serialize.py`      the document as bytes
"""
