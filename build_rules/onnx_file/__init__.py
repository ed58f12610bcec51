"""ONNX files as protobuf messages: read without their weights, walked field by field, written in one pass."""
