"""What EdgeFirst's decoders make of endpoints, and whether the graph makes the same of them."""
