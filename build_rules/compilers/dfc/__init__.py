"""Hailo's Dataflow Compiler, which runs in an environment of its own; nothing of it is imported here.

====================  =======================================================================================
`dfc_settings.py`     where is it, and how is it run?
what it says
`log_text.py`         the logs of a run as plain lines
`log_progress.py`     how far is it, from what it prints while it runs?
`log_facts.py`        what did it do, and how long did each part take?
`asked.py`            what did the model script ask of it?
`log_report.py`       of both: the facts that are reported, and warnings of what is not as it was asked
`profile_facts.py`    what does its profiler say of a HEF?
when it fails
`failure_table.py`    by which words is it known what went wrong, and what helps?
`layer_origins.py`    which ONNX nodes do the layers come from that it names?
`failures.py`         of these: the message for the person at the terminal
`remedies.py`         what is tried next when a network finds no place on the chip?
between two compiles
`allocation.py`       where each layer was placed, kept for the next compile of the same network
====================  =======================================================================================
"""
