"""Culpa and another library with threads of its own take turns in a process.

usage: train_beside_a_library.py LIBRARY before|after: whether the library is first
Prints the weights of two trainings, as train_to_the_bit.py does.
"""

import json
import sys


def import_torch():
    import torch

    def work():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
        X, y = torch.randn(600, 20), torch.randint(0, 3, (600,))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        losses = []
        for _ in range(10):
            loss = torch.nn.functional.cross_entropy(net(X), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    return work


def import_sklearn():
    import numpy as np
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression

    def work():
        rng = np.random.default_rng(1)
        X = rng.normal(size=(600, 20))
        assert LogisticRegression().fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) > 0.9
        assert KMeans(3, n_init=1, random_state=0).fit(X).labels_.shape == (600,)

    return work


def import_lightgbm():
    import lightgbm
    import numpy as np

    def work():
        rng = np.random.default_rng(1)
        X = rng.normal(size=(2000, 20))
        y = (X[:, 0] > 0).astype(int)
        options = {"objective": "binary", "num_threads": 2, "verbose": -1}
        trees = lightgbm.train(options, lightgbm.Dataset(X, y), num_boost_round=20)
        assert ((trees.predict(X) > 0.5) == y).mean() > 0.9

    return work


def import_culpa():
    from train_to_the_bit import train

    return train


LIBRARIES = {"torch": import_torch, "sklearn": import_sklearn, "lightgbm": import_lightgbm}
library, order = sys.argv[1:]
imports = [LIBRARIES[library], import_culpa]
if order == "after":
    imports.reverse()
works = [load() for load in imports]
answers = [work() for work in works * 2]
print(json.dumps([answer for answer in answers if answer is not None]))
