"""Model scripts (`.alls`): the compiler's own small language, read, written and composed.

Knows the grammar and the commands, not where layer names come from.

============  ================================================
`script.py`   the grammar: text <-> statements
`compose.py`  from what a preset wants of layers to statements
============  ================================================
"""
