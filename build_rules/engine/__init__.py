"""What doit lacks: content fingerprints, action keys, atomic outputs, durable records, one lock per workspace.

Knows nothing of ONNX or Hailo. doit stays the program people type; this room only fills its extension points.
"""
