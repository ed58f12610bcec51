"""What happens in a run: what it takes and lets go of (`session.py`), and how a step runs, is published and fails."""
