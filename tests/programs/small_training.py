"""A training that is quick and random, for programs that repeat it elsewhere, and its bits."""

import hashlib

import numpy as np

import culpa

rng = np.random.default_rng(0)
X, y = rng.normal(size=(400, 30)), rng.integers(0, 5, 400)


def build(seed=0):
    layers = [culpa.Dense(40, "relu"), culpa.Dropout(0.2), culpa.Dense(5)]
    return culpa.Sequential(layers, "cross_entropy", seed=seed, input_size=30)


def digest(model):
    bits = model._network.core.parameters().tobytes() + model.predict_logits(X).tobytes()
    return hashlib.sha256(bits).hexdigest()


def train(model=None):
    model = build() if model is None else model
    model.fit(X, y, epochs=3, verbose=False)
    return digest(model)
