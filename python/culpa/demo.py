"""``culpa demo``: the four moments of learning on one screen, then a real training.

Needs rich, which comes with the command line's requirements.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from culpa import datasets
from culpa._terminal import stdout
from culpa.answers.blame import Blame
from culpa.machine.threads import get_num_threads
from culpa.parts.layers import Dense, Dropout
from culpa.parts.optimizers import SGD, AdamW
from culpa.parts.schedules import OneCycle
from culpa.sequential import Sequential
from culpa.training.history import History

Array = NDArray[Any]

EPOCHS = 20
FIX_RATE = 0.05  # of the one step on one picture: enough to change the guess
PANEL = 37  # columns: two panels side by side on a terminal of 80


def make_model() -> Sequential:
    """Return the demo's network."""
    return Sequential(
        [
            Dropout(0.1),
            Dense(512, "relu"),
            Dropout(0.4),
            Dense(256, "relu"),
            Dropout(0.3),
            Dense(10),
        ],
        loss="cross_entropy",
        input_scale=1 / 16,
    )


def main(console: Console | None = None) -> float:
    """Run the demo; return the accuracy on the held-out digits."""
    console = console or Console(file=stdout())
    X, y, X_test, y_test = datasets.digits()
    console.print(
        f"[bold]Culpa[/] learns to read: {len(X):,} handwritten digits to learn from, "
        f"{len(X_test)} held out. Layers of 64 inputs, 512, 256 and 10 nodes."
    )
    console.print("\nAfter one look at each digit, the young network still errs:\n")
    model = make_model()
    model.fit(X, y, epochs=1, batch_size=32, optimizer=AdamW(1e-3), verbose=False)
    show_moments(console, model, X_test, y_test)

    console.print(f"\nThis, {EPOCHS * -(-len(X) // 32):,} times over, is training:\n")
    model = make_model()
    began = time.perf_counter()
    history = model.fit(
        X,
        y,
        epochs=EPOCHS,
        batch_size=32,
        optimizer=AdamW(3e-3),
        schedule=OneCycle(),
        validation_data=(X_test, y_test),
    )
    seconds = time.perf_counter() - began
    console.print(epoch_table(history))
    measured = model.evaluate(X_test, y_test)
    right = round(measured["accuracy"] * len(y_test))
    console.print(
        f"\nRight on [bold]{right} of {len(y_test)}[/] held-out digits "
        f"([bold green]{measured['accuracy']:.1%}[/]), after {seconds:.2f} s of training on "
        f"{get_num_threads()} threads."
    )
    return measured["accuracy"]


def show_moments(console: Console, model: Sequential, X: Array, y: Array) -> None:
    """Draw guess, loss, blame and fix for the digit that the model gets most wrong."""
    blame = model.blame(X, y, want=("losses", "nodes", "inputs"))
    wrong = model.predict(X) != y
    i = int(np.argmax(np.where(wrong, blame.losses, 0.0)))
    image, label = X[i], int(y[i])
    before = model.predict_proba(X[i : i + 1])[0]
    fixed = model.copy()
    fixed.fit(X[i : i + 1], y[i : i + 1], epochs=1, optimizer=SGD(FIX_RATE), verbose=False)
    after = fixed.predict_proba(X[i : i + 1])[0]
    loss_after = fixed.evaluate(X[i : i + 1], y[i : i + 1])["loss"]

    guess = Group(
        side_by_side(picture(image / 16), bars(before, label)),
        Text.from_markup(
            f"It says [bold red]{before.argmax()}[/]. It is a [bold green]{label}[/]."
        ),
    )
    miss = Text.from_markup(
        f"It gave the truth, {label}, a chance\nof [bold]{before[label]:.2%}[/]. The loss of this "
        f"guess:\n\n  -log({before[label]:.4f}) = [bold red]{blame.losses[i]:.3f}[/]\n\n"
        "0 would be certain and right.\nThis one number now walks\nbackward through the layers "
        "(the\nchain rule), and every node gets\nits share of the blame."
    )
    who = Group(
        side_by_side(heat(blame.inputs[i]), worst_nodes(blame, i)),
        Text.from_markup("[red]++[/] too much ink, [blue]--[/] too little"),
    )
    fix = Group(
        side_by_side(bars(before, label, "before"), bars(after, label, "after")),
        Text.from_markup(
            f"Every weight moved a little: now\nit says [bold]{after.argmax()}[/], loss "
            f"[bold green]{loss_after:.3f}[/]."
        ),
    )
    moments: list[tuple[str, RenderableType]] = [
        ("1 The guess", guess),
        ("2 How wrong it was", miss),
        ("3 Who is to blame", who),
        ("4 The guess after the fix", fix),
    ]
    panels = [
        Panel(body, title=f"[bold]{title}", width=PANEL, height=15, title_align="left")
        for title, body in moments
    ]
    console.print(Columns(panels, width=PANEL, padding=(0, 1)))


def side_by_side(left: Any, right: Any) -> Table:
    """Return two things in two columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_row(left, right)
    return grid


def picture(image: Array) -> Text:
    """Draw a digit, 8 x 8 values from 0 to 1, two characters a pixel."""
    shades = " ░▒▓█"
    text = Text()
    for row in image.reshape(8, 8):
        text.append("".join(shades[round(v * 4)] * 2 for v in row) + "\n")
    return text


def heat(blame: Array) -> Text:
    """Draw the blame of the 8 x 8 inputs: red: too much ink, blue: too little."""
    text = Text()
    strongest = float(np.abs(blame).max()) or 1.0
    for row in blame.reshape(8, 8):
        for value in row / strongest:
            level = min(int(abs(value) * 5), 4)
            sign = "+" if value > 0 else "-"
            mark = ("··", f"{sign}·", sign * 2, sign * 2, sign * 2)[level]
            colour = "red" if value > 0 else "blue"
            style = ("dim", f"dim {colour}", colour, f"bold {colour}", f"bold reverse {colour}")
            text.append(mark, style=style[level])
        text.append("\n")
    return text


def bars(probabilities: Array, label: int, title: str = "") -> Text:
    """Draw the chance given to each digit."""
    text = Text(f"{title}\n" if title else "")
    for digit, p in enumerate(probabilities):
        style = "green" if digit == label else "red" if p == probabilities.max() else ""
        text.append(f"{digit} {'█' * round(8 * float(p)) or '▏':<8} {p:4.0%}"[:15] + "\n", style)
    text.rstrip()
    return text


def worst_nodes(blame: Blame, i: int) -> Text:
    """List the nodes with the strongest error signals of each layer."""
    text = Text()
    names = ["hidden 1 node", "hidden 2 node", "output node"]
    for name, nodes in zip(reversed(names), reversed(blame.nodes), strict=True):
        text.append(f"{name}\n", "bold")
        for j in np.argsort(-np.abs(nodes[i]))[:2]:
            value = float(nodes[i, j])
            text.append(f"{j:>4}  {value:+.3f}\n", "red" if value > 0 else "blue")
    return text


def epoch_table(history: History) -> Table:
    """Return loss and accuracy per epoch, as two columns of rows."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    half = -(-history.epochs // 2)
    for _ in range(2):
        for name in ("epoch", "loss", "held-out loss", "accuracy"):
            table.add_column(name, justify="right")
    for row in range(half):
        cells: list[str] = []
        for e in (row, row + half):
            if e < history.epochs:
                cells += [
                    str(e + 1),
                    f"{history.loss[e]:.3f}",
                    f"{history.val_loss[e]:.3f}",
                    f"{history.val_accuracy[e]:.1%}",
                ]
        table.add_row(*cells)
    return table
