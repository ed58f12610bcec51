"""What a run tells: plain lines, a live view of a terminal, or events for machines.

`base` keeps the state of a run and obeys doit; `model`, `estimate`, `frame`, `plain` and `summary` are pure; `live`,
`capture` and `events` write. Only `base`, `run_state`, `plain` and `events` are imported before a step runs.
"""
