"""Images or an EdgeFirst snapshot become the one calibration snapshot of a build, checked at every step.

Callers import the modules below; this file imports nothing, so that `import build_rules.calibration` stays free of
numpy and Pillow.

* `snapshot`: open, verify, read and write snapshot files (`container` holds the safetensors layout beneath it)
* `named`: the snapshot that a model's metadata names; `convert`: an older one as pixels
* `geometry`: does a snapshot fit the model's input?
* `letterbox`: pixels to the model's input size, and boxes back
* `sources`: which files a calibration is made from (`folders` and `list_file` find them)
* `tiles`: the grid in which a tiled model sees a frame
* `adaptor`: RGB to the colours that a camera delivers
* `frames`: one frame becomes its samples
* `images`: decode photographs
* `outcomes`: what became of each file, in words
* `select`: which images make the calibration set
* `parameters`: the parameter set and the file name
* `produce`: all of it in order, from a folder to a file

The format is EdgeFirst's calibration snapshot; its public description is the page "Calibration Snapshot" of the
EdgeFirst Studio manual.
"""
