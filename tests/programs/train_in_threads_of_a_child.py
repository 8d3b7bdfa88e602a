"""Threads of a child train, one after the other, that was forked beside a thread that trains.

Exits with how many of them failed.
"""

import os
import sys
import threading

import numpy as np

import culpa

X, y = np.ones((2000, 64)), np.arange(2000) % 2
model = culpa.Sequential([culpa.Dense(64), culpa.Dense(2)], "cross_entropy", input_size=64)
begun = threading.Event()
options = {"epochs": 10**6, "verbose": False, "callbacks": lambda training: begun.set()}
threading.Thread(target=lambda: model.fit(X, y, **options), daemon=True).start()
begun.wait()
child = os.fork()
if child == 0:
    failed = []

    def work():
        try:
            model.load_state_dict(model.state_dict())
            model.fit(X[:9], y[:9], epochs=1, verbose=False)
        except BaseException as error:
            failed.append(error)

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    work()
    os._exit(len(failed))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
