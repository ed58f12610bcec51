"""What happens in a run: what it takes and lets go of, and how a step runs, is published and fails.

The run: `session.py` begins and ends it, `dispatch.py` orders its steps, `run_state.py` knows what became of them. A
step: `rule.py` makes doit's task of it and runs it, in this order: `resources.py` are free, `publish.py` calls the step
in a folder of drafts, where needed in a process of its own (`isolate.py` here, `worker.py` there), and makes its
outputs appear, if its inputs have stayed what they were (`changes.py`, `note_reads.py`); `hand_on.py` is for one that
is an input as it is. What a step raises goes through `failure.py`.
"""
