"""What a detector found, and how two of them agree: decoded objects, the unit in which everything here is judged.

========================  ===========================================================================
`found.py`                what was found in one image: boxes, scores, labels
`read_objects.py`         from delivered tensors to objects, and at which places of them objects are
`decode_scale.py`         the maps of one scale; `formulas.py`: what EdgeFirst's decoders compute of them
`suppress.py`             of boxes that cover the same object the best one
`match_objects.py`        which object of one network is which one of another
`average_precision.py`    average precision, by the library that everybody compares with
`measure_agreement.py`    how far what one network finds is what another finds (`agreement.py`: the record)
`paired.py`               whether one network is worse than another, beyond chance
`truth.py`                what people say is in images: `yolo_truth.py`, `coco_truth.py`
========================  ===========================================================================
"""
