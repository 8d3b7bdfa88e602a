"""The baseline's kernels learn digits and blame; prints "it works" at the end."""

import numpy as np

import culpa

assert culpa._core.instruction_set() == "baseline", culpa._core.instruction_set()
X, y, X_test, y_test = culpa.datasets.digits()
for dtype in ("float32", "float64"):
    layers = [culpa.Dense(16, "gelu"), culpa.Dropout(0.1), culpa.Dense(10)]
    model = culpa.Sequential(layers, loss="cross_entropy", input_scale=1 / 16, dtype=dtype)
    model.fit(X, y, epochs=3, verbose=False, optimizer=culpa.Adam(1e-2))
    assert model.evaluate(X_test, y_test)["accuracy"] > 0.8
    assert np.isfinite(model.blame(X_test, y_test).inputs).all()
print("it works")
