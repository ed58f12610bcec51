"""The nouns that rooms share: tables of chips and output roles; the records `split.json` and `calibration.json`."""
