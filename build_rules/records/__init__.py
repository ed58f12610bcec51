"""The records that cross rooms, as files: `split.json` and `calibration.json`."""
