"""How a fit shows itself: a rich progress bar, lines, or nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from culpa._terminal import say, stdout

if TYPE_CHECKING:
    from culpa.training.training import Training

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


class SafeReporter(Reporter):
    """Another reporter, for as long as it can show anything: no screen is worth a training."""

    def __init__(self, make: Callable[[], Reporter]) -> None:
        self._reporter = Reporter()
        self._reporter = self._tried(make) or self._reporter

    def _tried(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception:  # a notebook's display, a window that was closed, rich itself
            broken, self._reporter = self._reporter, Reporter()
            with contextlib.suppress(Exception):
                broken.close()
        return None

    def update(self) -> None:
        """Show the current epoch's state."""
        self._tried(self._reporter.update)

    def epoch_end(self, row: Mapping[str, float]) -> None:
        """Show a completed epoch."""
        self._tried(self._reporter.epoch_end, row)

    def close(self) -> None:
        """Leave the screen as it should be."""
        self._tried(self._reporter.close)


class LineReporter(Reporter):
    """A line an epoch: verbose=2."""

    def __init__(self, training: Training) -> None:
        self._training = training

    def epoch_end(self, row: Mapping[str, float]) -> None:
        """Print the line."""
        t = self._training
        say(f"epoch {t.epoch + 1}/{t.epochs}  {_summary(row)}  {row['seconds']:.2f} s")


class BarReporter(Reporter):
    """One bar for the fit, redrawn at most ten times a second."""

    def __init__(self, training: Training) -> None:
        from rich.console import Console
        from rich.file_proxy import FileProxy
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._training = training
        self._row: Mapping[str, float] = {}
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[summary]}"),
            TimeRemainingColumn(compact=True),
            # Within a display of the user's own, which has taken over standard output, below it.
            console=None if isinstance(sys.stdout, FileProxy) else Console(file=stdout()),
            redirect_stderr=getattr(sys, "stderr", None) is not None,  # rich never gives it back
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
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and type(ask()).__name__ == "ZMQInteractiveShell"


def make_reporter(verbose: bool | int, training: Training) -> Reporter:
    """Return the reporter for fit's `verbose`: 0 nothing, 1 a bar where it is seen, 2 lines."""
    return SafeReporter(lambda: _reporter(verbose, training))


def _reporter(verbose: bool | int, training: Training) -> Reporter:
    if verbose == 2 and verbose is not True:
        return LineReporter(training)
    if not verbose or training.epochs == 0:
        return Reporter()
    notebook = _in_notebook()
    if not notebook and not stdout().isatty():
        return Reporter()
    if notebook and importlib.util.find_spec("ipywidgets") is None:
        return LineReporter(training)  # rich draws there with ipywidgets alone
    try:
        return BarReporter(training)
    except ImportError:  # rich comes with the command line's requirements; fit does not need it
        return LineReporter(training)
