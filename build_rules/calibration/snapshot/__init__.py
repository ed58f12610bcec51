"""The calibration snapshot as a file: its container, what it says of itself, whether it fits a model."""
