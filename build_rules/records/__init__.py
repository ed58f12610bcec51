"""The nouns that rooms share: two tables, and the records that lie as files between the steps.

=====================  =============================================================
`roles.py`             one row per role of an output
`hardware.py`          one row per chip
`split_json.py`        `split.json`: endpoints, pixels, the proof
`choices.py`           what the user decides in `model.toml` over metadata and graph
`split_hint.py`        one split hint, whoever says it
`calibration_json.py`  `calibration.json` and `feed.json`
`stage_report.py`      `har.json` and `hef.json`: what a stage of the compiler did, and its warnings
`mixed_json.py`        `mixed.json`: which layers 16 bits are worth, and what they bring
`normalization.py`     what pixels become, as numbers; the others hold it
=====================  =============================================================
"""
