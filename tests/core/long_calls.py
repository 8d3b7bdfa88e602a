"""Every public call that may last: test_interrupts.py sends Ctrl-C into each.

``python -m long_calls`` reads the name of a call and how often to make it. It prints a line just
before each and, after the KeyboardInterrupt, a line of JSON: when that came, by the clock that all
processes share, and what was wrong afterwards.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import culpa
from culpa.answers.blame import QUANTITIES

INPUTS = 200


@dataclass
class LongCall:
    """A call that takes far longer than a test waits, and the models that must survive it."""

    call: Callable[[], Any]
    models: list[Any]


def model(*, width: int = 1024, loss: str = "cross_entropy", **options: Any) -> culpa.Sequential:
    layers = [culpa.Dense(width, "relu"), culpa.Dense(width, "relu"), culpa.Dense(10)]
    return culpa.Sequential(layers, loss=loss, input_size=INPUTS, **options)


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n examples that take the memory of one: where they come from does not matter."""
    row = np.random.default_rng(0).normal(size=INPUTS).astype(np.float32)
    return np.broadcast_to(row, (n, INPUTS)), np.broadcast_to(np.int64(3), n)


def _fit(n: int, batch_size: int, **options: Any) -> LongCall:
    X, y = rows(n)
    given = {"epochs": 10**6, "batch_size": batch_size, "verbose": False, **options}
    one = model(width=32 if batch_size < 1000 else 1024)
    return LongCall(lambda: one.fit(X, y, **given), [one])


def _validation() -> LongCall:
    one = model()
    X, y = rows(200)
    return LongCall(
        lambda: one.fit(X, y, epochs=10**6, validation_data=rows(200_000), verbose=False), [one]
    )


def _fit_many(models: int, batch_size: int) -> LongCall:
    X, y = rows(20_000)
    many = [model(seed=seed) for seed in range(models)]
    return LongCall(
        lambda: culpa.fit_many(many, X, y, epochs=10**6, batch_size=batch_size, verbose=False), many
    )


def _sparse() -> LongCall:
    import scipy.sparse

    X = scipy.sparse.random(20_000, INPUTS, 0.1, "csr", np.float32, np.random.default_rng(0))
    one = model()
    y = rows(20_000)[1]
    return LongCall(lambda: one.fit(X, y, epochs=10**6, batch_size=5000, verbose=False), [one])


def _draw(n: int, **options: Any) -> LongCall:
    # One column: drawing the order takes most of an epoch's beginning.
    one = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=1)
    X, y = np.broadcast_to(np.float32(1), (n, 1)), np.broadcast_to(np.float32(1), n)
    given = {"epochs": 10**6, "batch_size": 4096, "verbose": False, **options}
    return LongCall(lambda: one.fit(X, y, **given), [one])


def _answer(name: str, n: int, *, labels: bool = True, **options: Any) -> LongCall:
    one, (X, y) = model(), rows(n)
    return LongCall(lambda: getattr(one, name)(X, *([y] if labels else []), **options), [one])


def _attribute(method: str, n: int, **options: Any) -> LongCall:
    if method == "expected_gradients":
        options["background"] = rows(100)[0]
    return _answer("attribute", n, labels=False, method=method, target=3, **options)


def _influence(**options: Any) -> LongCall:
    one = model()
    return LongCall(lambda: one.influence(*rows(60_000), *rows(2000), **options), [one])


def _scores(score: Callable[..., Any]) -> LongCall:
    one = model()
    return LongCall(lambda: score([one, one], *rows(200_000)), [one])


def _label_errors() -> LongCall:
    one = model()
    X = rows(20_000)[0]
    y = np.arange(20_000) % 10
    return LongCall(
        lambda: culpa.find_label_errors(one, X, y, folds=2, epochs=10**6, batch_size=5000), [one]
    )


def _diagnose() -> LongCall:
    one = model()
    return LongCall(lambda: culpa.diagnose(one, *rows(100_000), max_examples=100_000), [one])


def _estimator(solver: str, batch_size: int, width: int) -> LongCall:
    from culpa.sklearn import MLPClassifier

    X = np.random.default_rng(0).normal(size=(20_000, INPUTS)).astype(np.float32)
    y = np.arange(20_000) % 10
    one = MLPClassifier(
        (width, width),
        solver=solver,
        batch_size=batch_size,
        max_iter=10**6,
        n_iter_no_change=10**6,
        max_fun=10**9,
        tol=0.0,
    )

    def call() -> None:
        with warnings.catch_warnings():
            # As scikit-learn's own, it keeps what was learnt and says so.
            warnings.filterwarnings("error", message="Training interrupted by user")
            try:
                one.fit(X, y)
            except UserWarning as warning:
                raise KeyboardInterrupt from warning

    return LongCall(call, [])


CALLS: dict[str, Callable[[], LongCall]] = {
    "fit, short steps": lambda: _fit(20_000, 32),
    "fit, long steps": lambda: _fit(20_000, 5000),
    "fit, one huge batch": lambda: _fit(200_000, 200_000),
    "fit, validation": _validation,
    "fit, sparse rows": _sparse,
    "fit, private": lambda: _fit(20_000, 5000, privacy=culpa.Privacy(1.0, 1.0, delta=1e-5)),
    "fit, order of 20 million rows": lambda: _draw(20_000_000),
    "fit, Poisson batches of 20 million rows": lambda: _draw(
        20_000_000, privacy=culpa.Privacy(1.0, 1.0, delta=1e-9)
    ),
    "fit_many, 1 model": lambda: _fit_many(1, 5000),
    "fit_many, 2 models": lambda: _fit_many(2, 5000),
    "fit_many, 4 models": lambda: _fit_many(4, 5000),
    "fit_many, 4 models, whole epochs": lambda: _fit_many(4, 20_000),
    "predict": lambda: _answer("predict", 400_000, labels=False),
    "predict_proba": lambda: _answer("predict_proba", 400_000, labels=False),
    "evaluate": lambda: _answer("evaluate", 400_000),
    "loss_and_gradients": lambda: _answer("loss_and_gradients", 200_000),
    **{
        f"blame, {want}": lambda want=want: _answer("blame", 100_000, want=[want])  # type: ignore[misc]
        for want in QUANTITIES
    },
    "influence": _influence,
    "influence, top": lambda: _influence(top=5),
    **{
        f"attribute, {method}": lambda method=method: _attribute(method, 200_000)  # type: ignore[misc]
        for method in ("gradient", "input_x_gradient", "deeplift", "lrp")
    },
    **{
        f"attribute, {method}": lambda method=method, more=more: _attribute(method, 2000, **more)  # type: ignore[misc]
        for method, more in {
            "integrated_gradients": {"steps": 500, "rule": "riemann"},
            "conductance": {"steps": 500, "rule": "riemann"},
            "smooth_grad": {"samples": 500, "noise": 0.1},
            "expected_gradients": {"samples": 500},
        }.items()
    },
    "attribute, points of Gauss and Legendre": lambda: _attribute(
        "integrated_gradients", 200, steps=3000
    ),
    "el2n": lambda: _scores(culpa.el2n),
    "grand": lambda: _scores(culpa.grand),
    "find_label_errors": _label_errors,
    "diagnose": _diagnose,
    "MLPClassifier.fit, adam": lambda: _estimator("adam", 200, 100),
    "MLPClassifier.fit, adam, long steps": lambda: _estimator("adam", 20_000, 1024),
    "MLPClassifier.fit, lbfgs": lambda: _estimator("lbfgs", 200, 100),
    "MLPClassifier.fit, lbfgs, long steps": lambda: _estimator("lbfgs", 200, 1024),
}


def unusable(models: list[Any]) -> str:
    """Return what is wrong with models after a call was broken off, or nothing."""
    if len({one._network.core.steps for one in models}) > 1:
        return f"the models took {[one._network.core.steps for one in models]} steps"
    for one in models:
        X = np.ones((20, one.input_size), np.float32)
        y = np.arange(20) % 10 if one.loss.task == "classes" else np.ones(20, np.float32)
        steps = one._network.core.steps
        if len(one.predict(X)) != 20 or not np.isfinite(one.predict_logits(X)).all():
            return "predict gives no numbers"
        if one.fit(X, y, epochs=1, batch_size=20, verbose=False).epochs != 1:
            return "fit does not train"
        if one._network.core.steps != steps + 1 and one.history.stopped is not None:
            return f"fit took {one._network.core.steps - steps} steps of 1"
    return ""


def main() -> None:
    for line in sys.stdin:
        name, rounds = json.loads(line)
        long = CALLS[name]()
        for _ in range(rounds):
            print(json.dumps(interrupted(long)), flush=True)


def interrupted(long: LongCall) -> dict[str, Any]:
    """Make the call, until Ctrl-C."""
    ended = False
    try:
        print("calling", flush=True)
        long.call()
        ended = True
        time.sleep(60)
    except KeyboardInterrupt:
        stopped = time.monotonic()
    return {
        "stopped": stopped,
        "wrong": "it ended before the signal" if ended else unusable(long.models),
    }


if __name__ == "__main__":
    main()
