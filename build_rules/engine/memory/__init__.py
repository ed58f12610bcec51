"""What is remembered of former runs and decides nothing, in tables beside the records (`table.py`).

`durations.py` is what steps took, for estimates; `failures.py` what failed last time, for `doit status`; `texts.py`
small text files as steps read them, for `doit why`.
"""
