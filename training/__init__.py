"""The example models are trained here from nothing: real detectors whose data, weights and licence are our own."""
