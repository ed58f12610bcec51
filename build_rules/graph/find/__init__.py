"""Which endpoints a graph has, and what each carries: by hand, by a hint, or by structure."""
