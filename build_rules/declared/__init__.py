"""What people declare in TOML: models, where they lie, and what they share.

===================  ========================================================================================
`model_folders.py`   which folders are models, and what are they called?
`model.py`           what does one declare? All of `model.toml`
`settings.py`        `[tool.build_rules]` of `pyproject.toml`: what models use when they do not say otherwise
`split_table.py`     `[split]`: where to cut
`input_table.py`     `[input]`: what the network takes
`metadata_table.py`  `[metadata]`: what the compiled document says
`alls_table.py`      `[alls]`: lines that are appended to the model script
`compare_table.py`   `[compare]`: by which images `doit compare` compares
`faults.py`          what is declared wrongly, and which step does it stop?
===================  ========================================================================================
"""
