"""Children train that are forked while other threads are in the core; prints JSON.

That is: the first child that went wrong, in a list, and whether the parent's bits are the same.
"""

import json
import os
import signal
import threading
import warnings

import numpy as np

from culpa import _core
from small_training import X, build, train, y

_core.force_plan(3, "rows")
expected = train()
over = False
trained, other, read = (build(seed=seed) for seed in (1, 2, 3))
wanted = read.predict(X).tobytes()


def fit_on():
    while not over:
        trained.fit(X, y, epochs=20, batch_size=400, verbose=False)


def fit_another():
    while not over:
        other.fit(X, y, epochs=20, verbose=False)


def blame_on():
    while not over:
        read.blame(X, y)


def answer_of_the_child():
    # What other threads were just working on is free here.
    same = train() == expected and read.predict(X).tobytes() == wanted
    trained.fit(X, y, epochs=1, verbose=False)
    same = same and bool(np.isfinite(trained.predict_logits(X)).all())
    return b"same" if same else b"other bits"


threads = [threading.Thread(target=work) for work in (fit_on, fit_another, blame_on)]
for thread in threads:
    thread.start()
bad = []
for generation in range(20):
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads at a fork: here is the proof
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that hangs is ended
        try:
            os.write(into, answer_of_the_child())
        except BaseException as error:
            os.write(into, repr(error).encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as answer:
        said = answer.read()
    status = os.waitpid(child, 0)[1]
    if (said, status) != ("same", 0):
        bad.append([generation, said, status])
        break
over = True
for thread in threads:
    thread.join()
print(json.dumps([bad, train() == expected]))
