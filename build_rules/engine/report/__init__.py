"""What a run tells: plain lines, a live view of a terminal, or events for machines.

`base` obeys doit and keeps the state of the run; `telling` names what there is to tell; `estimate`, `frame`, `cells`,
`plain` and `summary` are pure; `console`, `live`, `capture` and `events` write. Only `base`, `telling`, `console`,
`plain` and `events` are imported before a step runs. Nothing here is asked whether anything runs.
"""
