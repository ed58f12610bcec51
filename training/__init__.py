"""The example models are trained here from nothing, so that a fresh checkout has real detectors whose data, weights and licence are its own."""
