"""``culpa bench``: the time of a training step on this machine, beside whichever peers are here.

``workloads`` says what is trained, ``sides`` train it (one file a library), ``peers`` knows which
of those are installed, ``machine`` gives all the same threads, ``measure`` lets them take turns,
``table`` shows what came out, ``command`` puts these together. Importing this imports none of them.
"""
