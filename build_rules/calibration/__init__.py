"""Images or an EdgeFirst snapshot become the one calibration snapshot of a build, checked at every step.

Callers import the modules below; this file imports nothing, so that `import build_rules.calibration` stays free of
numpy and Pillow. From images to a snapshot, in this order:

===========================  ====================================================================================
`pool/`                      which images?
`pool/sources.py`            which files is a calibration made from? (`folders.py`, `list_file.py` find them)
`pool/suffixes.py`           which names are images, and which of those could be decoded?
`pool/look_at.py`            what does each look like? Every image is looked at once (`image_db.py` remembers it)
`pool/select.py`             which images make the calibration set?
`pool/left_out.py`           what has become of the others?
`pixels/`                    which pixels?
`pixels/image_file.py`       is the file an image, within bounds? It is opened once, for digest and pixels
`pixels/images.py`           what are its pixels?
`frames.py`                  which samples does a frame become? (`letterbox.py`, `tiles.py` fit it)
`pixels/adaptor.py`          what are they in the colours that the camera delivers?
`fitted.py`                  from where is a sample had with the least work?
`snapshot/`                  which file?
`snapshot/parameters.py`     what else decides the bytes, and how is the file called?
`produce.py`                 all of it, from a folder to a file (`pool/ordered.py`: on all cores)
`chosen.py`                  what are people told of it? (`sheet.py`: what are they shown?)
*snapshots*                  whoever made them
`snapshot/snapshot_file.py`  what does one say of itself? (`safetensors_file.py`: the layout beneath)
`snapshot/given.py`          which of those that are there is meant, and can it be used as it is?
`snapshot/find_named.py`     which one does the metadata of a model name?
`snapshot/geometry.py`       does it fit the model's input?
`snapshot/from_float.py`     what are the pixels of an older one?
`sample.py`                  what is one sample, for whoever tries a network?
===========================  ====================================================================================

The format is EdgeFirst's calibration snapshot; its public description is the page "Calibration Snapshot" of the
EdgeFirst Studio manual.
"""
