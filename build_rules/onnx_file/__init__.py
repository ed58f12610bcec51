"""ONNX files as protobuf messages: read without their weights, walked field by field, written in one pass.

=================  =============================================================
`onnx_files.py`    which files is a model made of? Each is opened once
`field_reader.py`  what does a message hold? Field by field, weights passed over
`skeleton.py`      all of the model but its weights
`extent.py`        how much would that be, parsed?
`weights.py`       where are the bytes of a tensor, and may they be read?
`write.py`         a skeleton as a file, with its weights
=================  =============================================================
"""
