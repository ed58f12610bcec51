"""The shared cache: what one machine has built, another restores.

An action (a step with everything that its outputs depend on) has a key; under it lie the digests of its outputs, and
the outputs under their digests. A place to keep both is a folder, an HTTP server with Bazel's protocol or a bucket.
Nothing of this package is imported when no cache is configured, and no network library before it is asked.
"""
