"""What is remembered of former runs, and may be lost, in tables beside the records (`table.py`).

`durations.py` is what steps took, for estimates; `failures.py` what failed last time, for `doit status`; `texts.py`
small text files as steps read them, for `doit why`; `findings.py` what was found out about an environment outside, so
that nobody asks it again while its files are as they were.
"""
