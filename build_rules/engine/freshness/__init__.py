"""Whether a step must run, and why.

On the way of a step, one file per question:

1. mark: `fingerprint.py` asks the file system for a file's marks (size, times, inode), `clock.py` whether a later write
   would show in them.
2. fingerprint: `fingerprint.py` reads the content where marks cannot tell; a file is read once in a run.
3. key: `key.py` says what the outputs depend on besides. The record key is for the next run here, the cache key for any
   other machine.
4. decide: `decide.py` compares key, inputs and outputs with the record of the last run and yields causes; the first is
   the reason why the step runs. doit, `why`, `status`, `plan` and `because` take it from there.
5. record: `records.py` keeps the key and all fingerprints, written the moment the step succeeds.
6. index: `index.py` holds the marks of all files of everybody who was up to date at the end of a run, `current_run.py`
   compares them when the next begins: a run with nothing to do ends here, before a single step has been made.

How a step runs is in `engine/running/`, what the shared cache has under a cache key in `engine/cache/of_step.py`.
"""
