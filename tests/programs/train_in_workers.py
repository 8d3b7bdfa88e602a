"""Workers of multiprocessing train, go on with a model and answer, as their parent does.

usage: train_in_workers.py spawn|forkserver|fork; prints JSON
"""

import json
import multiprocessing
import sys

from small_training import build, digest, train


def work(task):
    kind, model = task
    if kind == "train":
        return train()
    if kind == "go on":
        return train(model)
    return digest(model)


if __name__ == "__main__":
    first = train()  # the team of this process has begun
    model = build(seed=1)
    train(model)
    tasks = [("train", None), ("go on", model), ("answer", model), ("train", None)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        answers = pool.map_async(work, tasks).get(timeout=200)
    there = digest(model)
    print(json.dumps([answers, [first, train(model), there, first]]))
