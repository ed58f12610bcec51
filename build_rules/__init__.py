"""Incremental build rules from trained ONNX detectors to Hailo executables with EdgeFirst metadata."""

__version__ = "0.1.0"
