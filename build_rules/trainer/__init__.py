"""The trainer's document: what whoever trained a model says of it, in the metadata of the ONNX file.

`read_document.py` reads it, once in each step, and gives a `TrainerDocument` (`document.py`): the document as it is,
for whoever copies it, and its parts as records. A part is read when it is asked for, so each step refuses what it needs
and no more; nobody outside this room looks into the JSON.

========================  ===========================================================================
`read_document.py`        which metadata are in the file? `read_document(onnx, metadata) -> TrainerDocument`
`class_names.py`          which classes does `names` of a plain Ultralytics export list?
`document.py`             what does the document say, part by part?
`vocabulary.py`           which words does the format know?
`hints.py`                which channels of which output does the trainer (or `model.toml`) want apart?
`tiling.py`               how does the runtime cut frames into tiles?
`image_size.py`           at which size does the network take images, where the export leaves it open?
`preprocessing.py`        what was done to pixels in training?
`decide_pixels.py`        what is done to them here: `[input]` of `model.toml`, the document and the graph together
`anchors.py`              which anchors has each level of an anchor head?
`labels.py`               `labels.txt`, whoever wrote the labels
========================  ===========================================================================

The compiled `edgefirst.json` that is made of all this is `metadata/`'s.
"""
