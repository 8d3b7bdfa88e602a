"""Trains 784-256-128-10 on Fashion-MNIST with culpa's ``fit``, beside the pure-NumPy network.

Adam at 1e-3, batches of 128, shuffled; images stay bytes, scaled by 1/255 batch by batch. The two
take turns, an epoch each, so that a noisy machine is noisy for both. The seconds of an epoch
include its shuffle and the validation on the 10,000 test images; culpa's validation computes the
loss too, NumPy's only the accuracy. Exits with status 1 where culpa ends below 87.5 % on the test
images, with 2 where the data are missing (Debian has them as dataset-fashion-mnist).

    python bench/fashion_mnist.py [--threads 1] [--epochs 8] [--seeds 1]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field

import numpy as np

import culpa
from culpa.bench.machine import describe, headline, limit_threads, settle
from culpa.bench.numpy_net import NumpyNet
from culpa.bench.sides.culpa_side import make_model

SHAPE = (784, 256, 128, 10)
BATCH, EPOCHS = 128, 8
LEARNING_RATE = 1e-3
INPUT_SCALE = 1 / 255
LEAST_ACCURACY = 0.875


@dataclass
class Record:
    """What a side took and reached, per epoch."""

    seconds: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)


class CulpaSide:
    """The public ``fit``, an epoch per call: two fits of one epoch equal one fit of two."""

    name = "culpa"

    def __init__(self, data: culpa.datasets.Dataset, seed: int) -> None:
        self.data = data
        self.model = make_model(SHAPE, seed=seed, input_scale=INPUT_SCALE)

    def epoch(self) -> float:
        """Train for an epoch; return the test accuracy."""
        history = self.model.fit(
            self.data.X_train,
            self.data.y_train,
            epochs=1,
            batch_size=BATCH,
            optimizer=culpa.Adam(LEARNING_RATE),
            validation_data=(self.data.X_test, self.data.y_test),
            verbose=False,
        )
        return history["val_accuracy"][-1]


class NumpySide:
    """The same in NumPy, with weights and shuffles of its own."""

    name = "NumPy"

    def __init__(self, data: culpa.datasets.Dataset, seed: int) -> None:
        self.data = data
        self.net = NumpyNet(SHAPE, seed, LEARNING_RATE, INPUT_SCALE)
        self.generator = np.random.default_rng(seed)

    def epoch(self) -> float:
        """Train for an epoch; return the test accuracy."""
        X, y, X_test, y_test = self.data
        order = self.generator.permutation(len(X))
        for at in range(0, len(X), BATCH):
            self.net.step(X, y, order[at : at + BATCH])
        return float(np.mean(self.net.predict(X_test) == y_test))


SIDES = (CulpaSide, NumpySide)


def take_turns(data: culpa.datasets.Dataset, seed: int, epochs: int) -> dict[str, Record]:
    """Train both sides, an epoch each in turn; print and return what each took and reached."""
    sides = [side(data, seed) for side in SIDES]
    records = {side.name: Record() for side in sides}
    for epoch in range(epochs):
        for side in sides if epoch % 2 == 0 else reversed(sides):
            settle()
            began = time.perf_counter()
            accuracy = side.epoch()
            records[side.name].seconds.append(time.perf_counter() - began)
            records[side.name].accuracy.append(accuracy)
        print_epoch(seed, epoch, records)
    return records


def print_head() -> None:
    """Print the head of the table, two columns a side."""
    columns = [f"{side.name + ' s':>8}  {side.name + ' %':>8}" for side in SIDES]
    print("  ".join([f"{'seed':>4}  {'epoch':>5}", *columns]))


def print_epoch(seed: int, epoch: int, records: dict[str, Record]) -> None:
    """Print a row of it."""
    columns = [f"{r.seconds[-1]:>8.3f}  {100 * r.accuracy[-1]:>8.2f}" for r in records.values()]
    print("  ".join([f"{seed:>4}  {epoch + 1:>5}", *columns]), flush=True)


def print_summary(runs: list[dict[str, Record]]) -> None:
    """Print each side's final accuracies and median seconds over all seeds, and their ratio."""
    medians = []
    for side in SIDES:
        final = [100 * run[side.name].accuracy[-1] for run in runs]
        medians.append(statistics.median(s for run in runs for s in run[side.name].seconds))
        spread = ""
        if len(final) > 1:
            spread = f" ({min(final):.2f} to {max(final):.2f} over {len(final)} seeds)"
        print(
            f"{side.name}: final test accuracy {statistics.mean(final):.2f} %{spread}, "
            f"median epoch {medians[-1]:.3f} s"
        )
    print(f"ratio of the median epochs, NumPy over culpa: {medians[1] / medians[0]:.2f}")


def load_data() -> culpa.datasets.Dataset:
    """Return Fashion-MNIST, or say how to get it and exit."""
    try:
        return culpa.datasets.fashion_mnist()
    except FileNotFoundError as error:
        print(f"Fashion-MNIST is missing: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to train with")
    arguments = parser.parse_args()
    if min(arguments.threads, arguments.epochs, arguments.seeds) < 1:
        parser.error("expected --threads, --epochs and --seeds of at least 1")
    return arguments


def main() -> None:
    """Train, print, judge."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    data = load_data()
    print(headline(describe()))
    print_head()
    runs = [take_turns(data, seed, arguments.epochs) for seed in range(arguments.seeds)]
    print_summary(runs)
    worst = min(run[CulpaSide.name].accuracy[-1] for run in runs)
    if worst < LEAST_ACCURACY:
        raise SystemExit(f"culpa ended at {100 * worst:.2f} %, below {100 * LEAST_ACCURACY} %")


if __name__ == "__main__":
    main()
