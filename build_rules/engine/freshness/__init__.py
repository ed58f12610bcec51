"""Whether a step must run: fingerprints, action keys, records, and the decision with its reason."""
