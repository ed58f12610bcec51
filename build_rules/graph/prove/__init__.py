"""The cut, and the proof of it: models are run here, within bounds, and nowhere else in the graph room."""
