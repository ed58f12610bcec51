"""The shared cache: what one machine has built, another restores.

An action (a step with everything that its outputs depend on) has a key (`engine/freshness/key.py` computes it); under
it lie the digests of its outputs, and the outputs under their digests. A place to keep both is a folder, an HTTP server
with Bazel's protocol or a bucket. This file imports nothing, so that a build without a cache loads `of_step.py`
alone, and no network library is loaded before it is asked.

=============  ========================================================================
`of_step.py`   what does the cache have of a step, and what is offered when it has run?
`shared.py`    find, restore, offer, close: all that is read is verified here
`action.py`    what is an entry, as bytes?
`uploads.py`   how are results sent while the build goes on?
`health.py`    is the cache still worth asking?
`location.py`  where is it, as the settings say?
`store.py`     what can every place do?
`folder.py`    a folder (`folder_layout.py`: where its files lie)
`http.py`      a server (`connection.py`: one connection that holds nobody up)
`bucket.py`    a bucket
`upkeep.py`    `doit cache`: how much is in a folder, what may go?
=============  ========================================================================
"""
