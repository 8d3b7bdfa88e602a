"""How a fit shows itself: a rich progress bar, lines, or nothing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from culpa.training import Training

__all__ = ["Reporter", "make_reporter"]


def _summary(row: Mapping[str, float]) -> str:
    shown = [key for key in row if key.removeprefix("val_") in ("loss", "accuracy", "r2")]
    return "  ".join(f"{key.replace('_', ' ')} {row[key]:.4f}" for key in shown)


class Reporter:
    """Says nothing: what verbose=0 gives, and verbose=True where nobody watches."""

    def update(self) -> None:
        """Show the current epoch's state."""

    def epoch_end(self, row: Mapping[str, float]) -> None:
        """Show a completed epoch."""

    def close(self) -> None:
        """Leave the screen as it should be."""


class LineReporter(Reporter):
    """A line an epoch: verbose=2."""

    def __init__(self, training: Training) -> None:
        self._training = training

    def epoch_end(self, row: Mapping[str, float]) -> None:
        """Print the line."""
        t = self._training
        print(
            f"epoch {t.epoch + 1}/{t.epochs}  {_summary(row)}  {row['seconds']:.2f} s", flush=True
        )


class BarReporter(Reporter):
    """One bar for the fit, redrawn at most ten times a second."""

    def __init__(self, training: Training) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._training = training
        self._row: Mapping[str, float] = {}
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[summary]}"),
            TimeRemainingColumn(compact=True),
            auto_refresh=False,
            transient=False,
        )
        self._task = self._bar.add_task(
            "", total=max(training.epochs, 1), epoch=0, epochs=training.epochs, summary=""
        )
        self._bar.start()
        self._shown = 0.0

    def _draw(self, completed: float, summary: str, *, now: bool = False) -> None:
        time = self._bar.get_time()
        if not now and time - self._shown < 0.1:
            return
        self._shown = time
        self._bar.update(
            self._task,
            completed=completed,
            epoch=min(int(completed) + (completed < self._training.epochs), self._training.epochs),
            summary=summary,
        )
        self._bar.refresh()

    def update(self) -> None:
        """Redraw, with the last whole epoch's figures once there are any."""
        t = self._training
        if self._row:
            summary = _summary(self._row)
        else:
            loss, metric = t.running() if t.progress > 0 else (float("nan"), float("nan"))
            summary = f"loss {loss:.4f}  {t.examples.metric} {metric:.4f}" if loss == loss else ""
        self._draw(t.epoch + t.progress, summary)

    def epoch_end(self, row: Mapping[str, float]) -> None:
        """Keep the epoch's figures for the next drawing."""
        self._row = dict(row)

    def close(self) -> None:
        """Draw the last state and leave the bar standing."""
        t = self._training
        self._draw(t.epoch + t.progress, _summary(self._row), now=True)
        self._bar.stop()


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def make_reporter(verbose: bool | int, training: Training) -> Reporter:
    """Return the reporter for fit's `verbose`: 0 nothing, 1 a bar where it is seen, 2 lines."""
    if verbose == 2 and verbose is not True:
        return LineReporter(training)
    notebook = _in_notebook()
    seen = notebook or (sys.stdout is not None and sys.stdout.isatty())
    if not verbose or training.epochs == 0 or not seen:
        return Reporter()
    if notebook and importlib.util.find_spec("ipywidgets") is None:
        return LineReporter(training)  # rich draws there with ipywidgets alone
    try:
        return BarReporter(training)
    except ImportError:  # rich comes with the command line's requirements; fit does not need it
        return LineReporter(training)
