"""What a run tells: plain lines, a live view of a terminal, or events for machines.

Nothing here is asked whether anything runs. Only those marked * are imported before a step runs.

==============  ===============================================================================
`base.py` *     from what doit and steps call to the state of the run and what there is to tell
`telling.py` *  what is there to tell? One method per event
`console.py` *  for people: the lines, and below them what runs
`plain.py` *    how do the lines read? (`summary.py`: those at the end)
`heartbeat.py`  and while a step takes long, where no view shows that it runs?
`live.py`       rows at the bottom of a terminal (`terminal.py`: is there one?)
`board.py`      what do they show? (`estimate.py`: how much is left?)
`frame.py`      how are they drawn? (`cells.py`: how wide is a text?)
`capture.py`    which step printed this line?
`events.py`     for programs: JSON lines
==============  ===============================================================================
"""
