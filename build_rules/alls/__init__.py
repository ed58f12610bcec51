"""Model scripts (`.alls`): the compiler's own small language, read, written and composed.

Knows the grammar and the commands, not where layer names come from.

================ ===================================================================================
`script.py`      the grammar: text <-> statements and their comments
`commands.py`    what is known of each command: its stage, its layers, its features, its options
`values.py`      what kinds of values do options take?
`check.py`       is a statement one that a compiler takes?
`layers.py`      which layers does a value mean?
`own_lines.py`   the lines that users append: parsed, translated, checked, completed
`wide_layers.py` which kinds of layers may work in 16 bits, and which never?
`wide_lines.py`  is one of the latter put into 16 bits by a script?
`compose.py`     from what a preset wants of layers, and the user's lines, to the statements of both
================ ===================================================================================
"""
