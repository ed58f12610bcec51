"""The compiled `edgefirst.json` and its checks: pure functions from what is known to what is written.

`bare.py`                  what is inferred for an export without metadata
`physical.py`              the HEF's output tensors, and which endpoint each carries
`hef_outputs.py`           the outputs of a HEF as tensors of this room
`outputs.py`               the compiled `outputs[]`
`pixels.py`                what the compiled document says of the pixels
`compiled_document.py`     all of these: the compiled document
`serialize.py`             the document as bytes
`checks.py`                the checklist of a compiled document (`output_checks.py`, `problems.py`: its parts)
`compare_with_hef.py`      a document's outputs beside those of a HEF
`examine.py`               a HEF and the metadata it carries, held against each other

What a trainer's document says, and the closed lists of the format, are `trainer/`'s.
"""
