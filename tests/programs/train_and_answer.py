"""Trainings and answers of both dtypes, for a comparison of instruction sets; prints JSON.

Under "exact" is what no instruction set may change: random weights and masks.
"""

import json

import numpy as np

import culpa
from culpa import _core

answers = {"name": _core.instruction_set()}
rng = np.random.default_rng(0)
X, y = rng.normal(size=(150, 35)), rng.integers(0, 5, 150)
answers["order"] = _core.permutation(50, 1, 0, 2).tolist()
for dtype in ("float32", "float64"):
    model = culpa.Sequential(
        [culpa.Dense(65, "gelu"), culpa.Dropout(0.4), culpa.Dense(33, "tanh"), culpa.Dense(5)],
        "cross_entropy",
        seed=3,
        input_size=35,
        dtype=dtype,
    )
    exact = [model.state_dict()[f"dense_{i}.weight"].tolist() for i in range(3)]
    masked = culpa.Sequential(
        [culpa.Dropout(0.3), culpa.Dense(64, initializer="zeros")],
        "mse",
        input_size=40,
        dtype=dtype,
    )
    masked.fit(
        np.ones((64, 40)),
        np.diag(np.full(64, -32.0)),
        epochs=1,
        batch_size=64,
        optimizer=culpa.SGD(64.0),
        shuffle=False,
        verbose=False,
    )
    exact.append((masked.layers[1].weight != 0).tolist())
    history = model.fit(
        X,
        y,
        epochs=3,
        batch_size=32,
        optimizer=culpa.RMSprop(1e-3, momentum=0.9),
        clip_norm=0.5,
        verbose=False,
    )
    blame = model.blame(X, y)
    answers[dtype] = {
        "exact": exact,
        "loss": history.loss,
        "weights": [array.tolist() for array in model.state_dict().values()],
        "logits": model.predict_logits(X).tolist(),
        "inputs": blame.inputs.tolist(),
        "gradient_norms": blame.gradient_norms.tolist(),
    }
print(json.dumps(answers))
