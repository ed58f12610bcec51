"""Hailo's Dataflow Compiler, which runs in an environment of its own; nothing of it is imported here.

=================  ==========================================================================
`dfc_settings.py`  where is it, and how is it run?
`dfc_worker.py`    what is done there: one file that runs in that environment alone
`launch/`          how that is run, and what comes back
=================  ==========================================================================
"""
