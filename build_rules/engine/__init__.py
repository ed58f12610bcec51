"""What doit lacks: content decides, outputs appear whole, every success is recorded at once, one build at a time.

Knows nothing of ONNX or Hailo. doit stays the program that people type; this room only fills its extension points, the
names of which that are not documented stand in `doit_names.py`. A run, in the order in which it happens:

==============================  =====================================================================================
**declare**                     dodo.py is loaded, and makes tasks
`doit_config.py`                how is doit set up here?
`running/rule.py`               what is a step to doit: its task, its inputs and outputs, its action?
**ask**                         what is wanted, and of whom need nothing be made at all?
`command_line.py`               which models does the command line ask for?
`freshness/current_run.py`      whose files are all as the snapshot of the last run says (`index.py`)?
`running/dispatch.py`           in which order do the others run?
**begin**                       the workspace is ours
`running/session.py`            who has the workspace, and what has a killed run left in it? (`lock.py`, `lock_file.py`)
`interrupt.py`                  what is undone when Ctrl-C comes, or a job is cancelled? (`process_tree.py`: who goes?)
**decide**                      must a step run?
`freshness/decide.py`           why does it run?
`freshness/key.py`              what do its outputs depend on?
`freshness/fingerprint.py`      is a file what it was? (`clock.py`: since when are its times to be trusted?)
**run**                         a step is called
`running/resources.py`          when are the cores, the memory, the licence free that it needs?
`cache/of_step.py`              has another machine made the same already?
`running/isolate.py`            what is its process, where it has one of its own? (`worker.py`: the other side)
`messages.py`                   what does it say meanwhile?
`running/note_reads.py`         which further files does it read?
`running/failure.py`            what becomes of its exceptions?
**publish**                     its outputs appear
`running/publish.py`            are they whole, and where do they lie until they are? (`places.py`: where may they lie?)
`running/kept.py`               and what a failed step leaves to be looked at?
`running/changes.py`            are its inputs what they were when it began?
`running/hand_on.py`            what if an output is an input as it is?
**record**                      the success is not lost any more
`freshness/records.py`          what did it read and write, and where does that stand? (`build_database.py`)
**tell**                        people and programs hear of it
`running/run_state.py`          what has become of the steps so far, and what is the exit code?
`report/`                       what is printed of that?
**end**                         the workspace is left
`running/session.py`            what is to be remembered? (`memory/`: durations, failures; the snapshot)
==============================  =====================================================================================

Beside a run: `cleaning/` removes. Below all of it: sqlite on any disk (`database.py`), what a file system lacks
(`slower.py`), whose a file is (`ownership.py`), what can become of the standard streams (`standard_streams.py`) and of
names of files (`encoding.py`).
"""
