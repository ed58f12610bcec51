"""One file per step of the chain: read files, let the rooms decide, write files. Steps never import each other.

================  =================================================================
`split.py`        model.onnx -> split.onnx, split.json
`calibration.py`  images or a snapshot -> calibration.safetensors, calibration.json
`parse.py`        split.onnx -> parsed.har
`statistics.py`   parsed.har, calibration.safetensors -> statistics.npz, for compilers that collect them
`mixed.py`        which layers 16 bits are worth -> mixed.json
`alls.py`         what the preset asks for, and those layers -> model.alls, feed.json
`har.py`          parsed.har, model.alls, calibration.safetensors -> model.har
`hef.py`          model.har -> model.hef
`meta.py`         model.hef, labels, metadata -> model+meta.hef
================  =================================================================
"""
