"""Draws the README's pictures of blame, from Fashion-MNIST: a hunt for label errors, one mistake.

    label_errors.png    5 % of the 60,000 labels are flipped at random, and `find_label_errors`
                        ranks them: the first that were flipped, and the first that nobody flipped.
    blame.png           the blame of a test image that a trained network gets wrong.

Needs matplotlib (`pip install ".[plots]"`) and the data (Debian: dataset-fashion-mnist).

    python bench/gallery.py [--threads 2] [--folder bench]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import culpa
from culpa.bench.machine import limit_threads
from label_errors import flip, load, make_model

NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat"]
NAMES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
SHAPE = (28, 28)


def draw_label_errors(path: Path) -> None:
    """Flip labels, hunt them, draw the first of the ranking: flipped ones, and others."""
    X, y = load("fashion_mnist")
    labels, flipped = flip(y, 0.05, 0)
    errors = culpa.find_label_errors(make_model("fashion_mnist"), X, labels)
    first = errors.ranking[: flipped.sum()]
    print(f"precision among the first {len(first):,}: {flipped[first].mean():.4f}")
    rows = np.append(first[flipped[first]][:5], first[~flipped[first]][:5])
    figure = culpa.plots.examples(
        rows, X, labels, errors.guesses, k=10, shape=SHAPE, class_names=NAMES
    )
    figure.suptitle("Above: labels that were flipped. Below: labels that nobody flipped.", x=0.5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_blame(path: Path) -> None:
    """Train, and draw the blame of the test image with the largest loss."""
    X, y, X_test, y_test = culpa.datasets.fashion_mnist()
    model = make_model("fashion_mnist")
    model.fit(X, y, epochs=4, verbose=False)
    blame = model.blame(X_test, y_test, want=("losses", "inputs"))
    example = blame.top_examples(1)[0].example
    print(f"test image {example}: loss {blame.losses[example]:.2f}")
    figure, (image, network, pixels) = plt.subplots(
        1, 3, figsize=(15, 5.4), width_ratios=(0.9, 2.6, 1.1), layout="constrained"
    )
    image.imshow(X_test[example].reshape(SHAPE), cmap="gray_r")
    image.set_title("The image", loc="left")
    image.set_axis_off()
    culpa.plots.network(model, X_test, y_test, example, class_names=NAMES, ax=network)
    culpa.plots.inputs(blame, example, shape=SHAPE, ax=pixels)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    draw_blame(arguments.folder / "blame.png")
    draw_label_errors(arguments.folder / "label_errors.png")


if __name__ == "__main__":
    main()
