"""One file per step of the chain: read files, let the rooms decide, write files. Steps never import each other."""
