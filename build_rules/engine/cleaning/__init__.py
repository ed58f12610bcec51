"""What may be removed, and how.

`leftovers.py` finds outputs that nobody declares any more; `removal.py` removes these, and those that `doit clean`
names.
"""
