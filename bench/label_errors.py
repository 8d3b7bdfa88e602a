"""Hunts flipped labels in Fashion-MNIST, and ranks the same predictions with cleanlab, too.

Of the 60,000 training labels a share is replaced by another class, drawn at random. culpa's
``find_label_errors`` trains 784-256-128-10 (relu, dropout 0.2) in five folds, with its defaults.
The precision of a ranking is the fraction of flipped labels among as many of its first rows as were
flipped (3,000 for 5 %), which is its recall, too. Fashion-MNIST has errors and doubtful labels of
its own, and a hunter who finds them counts as wrong here.

culpa's row is its own ranking. The other rows rank by other scores of the same held-out models:
culpa's evidence (EL2N, gradient norm), and, where it is installed, cleanlab's three scores and the
list that its ``find_label_issues`` gives by default (all of it, where it is shorter), from the same
probabilities. The lines below judge the labels called suspicious, culpa's ``suspicious`` beside
cleanlab's default filter.

Exits with status 1 where culpa's precision is below 0.85 with 5 % flipped, with 2 where the data
are missing (Debian has them as dataset-fashion-mnist).

    python bench/label_errors.py [--seed 0] [--seeds 3] [--flips 0.05] [--repeats 1] [--threads 2]
        [--data fashion_mnist]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from typing import Any

import numpy as np

import culpa
from culpa.bench.machine import describe, headline, limit_threads

LEAST_PRECISION = 0.85
HIDDEN = {"fashion_mnist": (256, 128), "digits": (64, 32)}
INPUT_SCALE = {"fashion_mnist": 1 / 255, "digits": 1 / 16}
CLEANLAB_SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")

Array = np.ndarray[Any, Any]


def load(name: str) -> tuple[Array, Array]:
    """Return images and labels; say how to get them and exit where they are missing."""
    if name == "digits":
        parts = culpa.datasets.digits()
        X, y = np.vstack([parts.X_train, parts.X_test]), np.append(parts.y_train, parts.y_test)
        return X, y
    try:
        parts = culpa.datasets.fashion_mnist()
    except FileNotFoundError as error:
        print(f"Fashion-MNIST is missing: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    return parts.X_train, parts.y_train


def flip(y: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Return labels of which a share is another class, and which are (n,)."""
    rng = np.random.default_rng(seed)
    classes = int(y.max()) + 1
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    labels, flipped = y.copy(), np.zeros(len(y), dtype=bool)
    labels[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    flipped[rows] = True
    return labels, flipped


def make_model(name: str) -> culpa.Sequential:
    layers: list[culpa.Dense | culpa.Dropout] = []
    for units in HIDDEN[name]:
        layers += [culpa.Dense(units, "relu"), culpa.Dropout(0.2)]
    layers.append(culpa.Dense(10))
    return culpa.Sequential(layers, loss="cross_entropy", input_scale=INPUT_SCALE[name])


def rankings(errors: culpa.LabelErrors) -> dict[str, Array]:
    """Return rows, most suspicious first, by everything that there is to rank by."""
    found = {"culpa": errors.ranking, "culpa: EL2N": np.argsort(-errors.el2n, kind="stable")}
    assert errors.gradient_norms is not None
    found["culpa: gradient norm"] = np.argsort(-errors.gradient_norms, kind="stable")
    if importlib.util.find_spec("cleanlab") is not None:
        from cleanlab.rank import get_label_quality_scores

        for method in CLEANLAB_SCORES:
            scores = get_label_quality_scores(errors.labels, errors.probabilities, method=method)
            found[f"cleanlab: {method}"] = np.argsort(scores, kind="stable")
        found["cleanlab: find_label_issues"] = cleanlab_issues(errors)
    return found


def cleanlab_issues(errors: culpa.LabelErrors) -> Array:
    """Return what cleanlab lists by default, ordered as it advises."""
    from cleanlab.filter import find_label_issues

    issues: Array = find_label_issues(
        errors.labels,
        errors.probabilities,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return issues


def hunt(arguments: argparse.Namespace, seed: int) -> dict[str, float]:
    """Flip, hunt, print; return the precision of every ranking."""
    X, y = load(arguments.data)
    labels, flipped = flip(y, arguments.flips, seed)
    count = int(flipped.sum())
    began = time.perf_counter()
    errors = culpa.find_label_errors(
        make_model(arguments.data), X, labels, seed=seed, repeats=arguments.repeats
    )
    seconds = time.perf_counter() - began
    print(
        f"seed {seed}: {count:,} of {len(y):,} labels flipped; {seconds:.1f} s; held-out guesses "
        f"are {100 * np.mean(errors.guesses == y):.2f} % right"
    )
    ranked = rankings(errors)
    precisions = {name: float(flipped[rows[:count]].mean()) for name, rows in ranked.items()}
    for name, precision in precisions.items():
        print(f"  precision at {count:,}  {precision:.4f}  {name}")
    lists = {"culpa": np.flatnonzero(errors.suspicious)}
    if "cleanlab: find_label_issues" in ranked:
        lists["cleanlab"] = ranked["cleanlab: find_label_issues"]
    for name, rows in lists.items():
        print(
            f"  suspicious {len(rows):>6,}  precision {flipped[rows].mean():.4f}  "
            f"recall {flipped[rows].sum() / count:.4f}  {name}"
        )
    sys.stdout.flush()
    return precisions


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", choices=list(HIDDEN), default="fashion_mnist")
    parser.add_argument("--seed", type=int, default=0, help="of the first hunt")
    parser.add_argument("--seeds", type=int, default=3, help="how many hunts")
    parser.add_argument("--flips", type=float, default=0.05, help="share of labels to flip")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if min(arguments.seeds, arguments.repeats, arguments.threads) < 1 or arguments.seed < 0:
        parser.error(
            "expected --seeds, --repeats and --threads of at least 1, --seed of at least 0"
        )
    if not 0 < arguments.flips < 0.5:
        parser.error("expected --flips above 0 and below 0.5")
    return arguments


def main() -> None:
    """Hunt, compare, judge."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    print(headline(describe()))
    hunts = [hunt(arguments, arguments.seed + i) for i in range(arguments.seeds)]
    print(f"means over {len(hunts)} seed{'s' * (len(hunts) > 1)}, and the least:")
    for name in hunts[0]:
        values = [precisions[name] for precisions in hunts]
        print(f"  {np.mean(values):.4f}  {min(values):.4f}  {name}")
    worst = min(precisions["culpa"] for precisions in hunts)
    if arguments.flips == 0.05 and worst < LEAST_PRECISION:
        raise SystemExit(f"culpa's precision was {worst:.4f}, below {LEAST_PRECISION}")


if __name__ == "__main__":
    main()
