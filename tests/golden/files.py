"""Saved models that every later version must load with the same bits.

    python tests/golden/files.py    writes those files that are not there yet, and what they answer

A file is never written again. A new version of the format adds files of its own.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import culpa
from culpa import Activation, Dense, Dropout

FOLDER = Path(__file__).parent
ANSWERS = FOLDER / "files.json"

sys.path.insert(0, str(FOLDER))
from runs import classes, fractions  # noqa: E402


def classifier() -> culpa.Sequential:
    model = culpa.Sequential(
        [Dense(12, "relu", initializer="he_normal"), Dropout(0.25), Dense(3)],
        loss=culpa.CrossEntropy(label_smoothing=0.05),
        seed=11,
        input_scale=1 / 16,
    )
    X = fractions(300, 6, 9973)
    model.fit(X, classes(X, 3), epochs=3, verbose=False)
    model.feature_names = ["a", "b", "c", "d", "e", 'ü "quoted"']
    return model


def float64_quantile() -> culpa.Sequential:
    model = culpa.Sequential(
        [Dropout(0.1), Dense(7, Activation("elu", 0.5)), Dense(5, Activation("leaky_relu", 0.2)),
         Dense(1)],
        loss=culpa.Quantile(0.9), seed=2**64 - 1, dtype="float64",
    )  # fmt: skip
    X = fractions(300, 6, 9967)
    model.fit(X, X[:, 0] * X[:, 1], epochs=3, verbose=False)
    return model


def counts() -> culpa.Sequential:
    model = culpa.Sequential([Dense(9, "gelu"), Dense(2, "identity")], loss="poisson", seed=13)
    X = fractions(300, 6, 9949)
    model.fit(X, (X[:, :2] > 0).astype(float), epochs=3, verbose=False)
    return model


MODELS = {make.__name__: make for make in (classifier, float64_quantile, counts)}


def hashes(state: Mapping[str, Any]) -> dict[str, str]:
    return {name: hashlib.sha256(a.tobytes()).hexdigest()[:32] for name, a in state.items()}


def answer(model: culpa.Sequential) -> dict[str, Any]:
    """Return all that a file must give back."""
    outputs = model.predict_logits(fractions(5, 6, 9901))
    return {
        "config": model.config(),
        "arrays": hashes(model.state_dict()),
        "logits": outputs.astype(float).tolist(),
    }


if __name__ == "__main__":
    answers = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    for name, make in MODELS.items():
        path = FOLDER / f"{name}.safetensors"
        if not path.exists():
            make().save(path)
            answers[name] = {"version": culpa.__version__, **answer(culpa.load(path))}
    ANSWERS.write_text(json.dumps(answers, indent=2) + "\n")
