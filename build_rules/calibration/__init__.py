"""Images or an EdgeFirst snapshot become the one calibration snapshot of a build, checked at every step.

Callers import the modules below; this file imports nothing, so that `import build_rules.calibration` stays free of
numpy and Pillow.

From images to a snapshot, in this order:

* `sources`: which files a calibration is made from (`folders` and `list_file` find them)
* `look_at`: every image looked at once (`image_file` opens it, `images` decodes it, `image_db` remembers it, `left_out`
  says what became of the others)
* `select`: which images make the calibration set
* `fitted`: the samples of a selected image, from wherever they are had with the least work
* `frames`: one frame becomes its samples (`letterbox` and `tiles` fit it, `adaptor` gives it a camera's colours)
* `parameters`: everything else that decides the bytes, and the file's name
* `produce`: all of it, from a folder to a file (`ordered` runs it on all cores)
* `chosen`, `sheet`: what people are told and shown of it

Snapshots themselves:

* `snapshot_file`: open, verify, read and write one (`safetensors_file` holds the layout beneath it)
* `geometry`: does it fit the model's input?
* `find_named`: the one that a model's metadata names; `from_float`: an older one as pixels; `sample`: one for a trial

The format is EdgeFirst's calibration snapshot; its public description is the page "Calibration Snapshot" of the
EdgeFirst Studio manual.
"""
