"""Trains 784-256-128-10 on Fashion-MNIST with culpa's ``fit``, beside its rivals.

Adam at 1e-3, batches of 128, shuffled; images stay bytes, scaled by 1/255 batch by batch (but
scikit-learn's, which get floats beforehand). The sides take turns, an epoch each, so that a noisy
machine is noisy for all. The seconds of an epoch include its shuffle and the validation on the
10,000 test images; culpa's validation computes the loss too, the others' only the accuracy.

`culpa` is the public ``fit`` with its progress bar on, an epoch per call; `bare` the same steps
through the core in one call, with orders drawn beforehand, and one bare predict of the test images:
the least that it could take, and the same weights bit for bit. NumPy is numpy_net.py, torch a plain
loop with the fused Adam, scikit-learn ``partial_fit``; those two where they are installed.

Exits with status 1 where culpa ends below 87.5 % on the test images, with 2 where the data are
missing (Debian has them as dataset-fashion-mnist).

    python bench/fashion_mnist.py [--threads 1] [--epochs 8] [--seeds 1] [--side NumPy]
        [--json PATH]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import itertools
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import culpa
from culpa import _core
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


class Terminal(io.StringIO):
    """What the progress bar takes for a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class CulpaSide:
    """The public ``fit``, an epoch per call: two fits of one epoch equal one fit of two."""

    name = "culpa"

    def __init__(self, data: culpa.datasets.Dataset, seed: int, epochs: int) -> None:
        self.data = data
        self.model = make_model(SHAPE, seed=seed, input_scale=INPUT_SCALE)

    def epoch(self) -> float:
        """Train for an epoch; return the test accuracy."""
        with contextlib.redirect_stdout(Terminal()) as terminal:
            history = self.model.fit(
                self.data.X_train,
                self.data.y_train,
                epochs=1,
                batch_size=BATCH,
                optimizer=culpa.Adam(LEARNING_RATE),
                validation_data=(self.data.X_test, self.data.y_test),
            )
        if "val accuracy" not in terminal.getvalue():
            raise SystemExit("culpa: no progress bar was drawn; is rich installed?")
        return history["val_accuracy"][-1]


class BareSide:
    """The same steps through the core, without what ``fit`` adds."""

    name = "bare"

    def __init__(self, data: culpa.datasets.Dataset, seed: int, epochs: int) -> None:
        self.data = data
        self.core = make_model(SHAPE, seed=seed, input_scale=INPUT_SCALE)._network.core
        self.core.set_optimizer(culpa.Adam(LEARNING_RATE).for_core())
        n = len(data.X_train)
        labels = data.y_train.astype(np.int32)
        offsets = np.append(np.arange(0, n, BATCH), n)
        rates = np.full(len(offsets) - 1, LEARNING_RATE)
        self.jobs = [
            _core.Job(
                _core.ExampleArrays(
                    data.X_train, labels=labels, order=_core.permutation(n, seed, 0, epoch)
                ),
                offsets=offsets,
                learning_rates=rates,
            )
            for epoch in range(epochs)
        ]

    def epoch(self) -> float:
        """Train for an epoch; return the test accuracy."""
        self.core.train(self.jobs.pop(0))
        classes, _ = self.core.predict(self.data.X_test, classes=True)
        return float(np.mean(classes == self.data.y_test))


class NumpySide:
    """The same in NumPy, with weights and shuffles of its own."""

    name = "NumPy"

    def __init__(self, data: culpa.datasets.Dataset, seed: int, epochs: int) -> None:
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


class TorchSide:
    """PyTorch, without its DataLoader, which only costs time here."""

    name = "torch"

    def __init__(self, data: culpa.datasets.Dataset, seed: int, epochs: int) -> None:
        import torch

        self.torch = torch
        torch.manual_seed(seed)
        torch.set_num_threads(culpa.get_num_threads())
        layers: list[Any] = []
        for inputs, outputs in itertools.pairwise(SHAPE):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.Adam(self.net.parameters(), LEARNING_RATE, fused=True)
        arrays = (data.X_train, data.y_train.astype(np.int64), data.X_test, data.y_test)
        self.data = [torch.from_numpy(np.array(array)) for array in arrays]

    def epoch(self) -> float:
        """Train for an epoch; return the test accuracy."""
        torch = self.torch
        X, y, X_test, y_test = self.data
        for rows in torch.randperm(len(X)).split(BATCH):
            logits = self.net(X[rows] * INPUT_SCALE)
            loss = torch.nn.functional.cross_entropy(logits, y[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with torch.inference_mode():
            right = sum(
                int((self.net(x * INPUT_SCALE).argmax(1) == labels).sum())
                for x, labels in zip(X_test.split(1000), y_test.split(1000), strict=True)
            )
        return right / len(X_test)


class SklearnSide:
    """scikit-learn, which computes in float32 where X is."""

    name = "sklearn"

    def __init__(self, data: culpa.datasets.Dataset, seed: int, epochs: int) -> None:
        from sklearn.neural_network import MLPClassifier

        self.model = MLPClassifier(
            SHAPE[1:-1],
            alpha=0,
            batch_size=BATCH,
            learning_rate_init=LEARNING_RATE,
            random_state=seed,
        )
        scale = np.float32(INPUT_SCALE)
        self.X, self.X_test = data.X_train * scale, data.X_test * scale
        self.y, self.y_test = data.y_train, data.y_test

    def epoch(self) -> float:
        """Train for an epoch; return the test accuracy."""
        self.model.partial_fit(self.X, self.y, classes=np.arange(SHAPE[-1]))
        return float(np.mean(self.model.predict(self.X_test) == self.y_test))


SIDES = (CulpaSide, BareSide, NumpySide, TorchSide, SklearnSide)


def installed_sides() -> list[Any]:
    """Return those that can run here."""
    return [
        side
        for side in SIDES
        if side.name not in ("torch", "sklearn") or importlib.util.find_spec(side.name)
    ]


def take_turns(
    sides: list[Any], data: culpa.datasets.Dataset, seed: int, epochs: int
) -> dict[str, Record]:
    """Train all sides, an epoch each in turn; print and return what each took and reached."""
    contestants = [side(data, seed, epochs) for side in sides]
    records = {side.name: Record() for side in sides}
    for epoch in range(epochs):
        for side in contestants if epoch % 2 == 0 else reversed(contestants):
            settle()
            began = time.perf_counter()
            accuracy = side.epoch()
            records[side.name].seconds.append(time.perf_counter() - began)
            records[side.name].accuracy.append(accuracy)
        print_epoch(seed, epoch, records)
    return records


def print_head(sides: list[Any]) -> None:
    """Print the head of the table, two columns a side."""
    columns = [f"{side.name + ' s':>9}  {'%':>5}" for side in sides]
    print("  ".join([f"{'seed':>4}  {'epoch':>5}", *columns]))


def print_epoch(seed: int, epoch: int, records: dict[str, Record]) -> None:
    """Print a row of it."""
    columns = [f"{r.seconds[-1]:>9.3f}  {100 * r.accuracy[-1]:>5.2f}" for r in records.values()]
    print("  ".join([f"{seed:>4}  {epoch + 1:>5}", *columns]), flush=True)


def print_summary(runs: list[dict[str, Record]]) -> None:
    """Print each side's final accuracies and median seconds over all seeds, and the ratios."""
    reference = [s for run in runs for s in run[CulpaSide.name].seconds]
    for name in runs[0]:
        final = [100 * run[name].accuracy[-1] for run in runs]
        seconds = [s for run in runs for s in run[name].seconds]
        spread = ""
        if len(final) > 1:
            spread = f" ({min(final):.2f} to {max(final):.2f} over {len(final)} seeds)"
        ratio = statistics.median(a / b for a, b in zip(seconds, reference, strict=True))
        print(
            f"{name}: final test accuracy {statistics.mean(final):.2f} %{spread}, "
            f"median epoch {statistics.median(seconds):.3f} s, {ratio:.2f} of culpa's"
        )


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
    names = [side.name for side in SIDES if side is not CulpaSide]
    parser.add_argument("--side", action="append", choices=names, help="default: all installed")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    arguments = parser.parse_args()
    if min(arguments.threads, arguments.epochs, arguments.seeds) < 1:
        parser.error("expected --threads, --epochs and --seeds of at least 1")
    return arguments


def main() -> None:
    """Train, print, judge."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    data = load_data()
    machine = describe()
    print(headline(machine))
    chosen = [CulpaSide.name, *(arguments.side or [side.name for side in SIDES])]
    sides = [side for side in installed_sides() if side.name in chosen]
    print_head(sides)
    runs = [take_turns(sides, data, seed, arguments.epochs) for seed in range(arguments.seeds)]
    print_summary(runs)
    if arguments.json is not None:
        records = [{name: asdict(record) for name, record in run.items()} for run in runs]
        content = {"machine": machine, "runs": records}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    worst = min(run[CulpaSide.name].accuracy[-1] for run in runs)
    if worst < LEAST_ACCURACY:
        raise SystemExit(f"culpa ended at {100 * worst:.2f} %, below {100 * LEAST_ACCURACY} %")


if __name__ == "__main__":
    main()
