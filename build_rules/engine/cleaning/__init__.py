"""What may be removed, and how: outputs that nobody declares, and `doit clean`."""
