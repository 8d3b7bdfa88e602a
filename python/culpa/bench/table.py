"""What came out, as a table: a block per workload. Needs rich, as the command line does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from culpa._terminal import Output, stdout
from culpa.bench import cpu_use
from culpa.bench.measure import CHECKED_STEPS, Result, Row

LEAST_WIDTH = 80  # of what is printed, even where a pipe or a narrow terminal suggests less
COLUMNS = (("", 14), ("us/step", 9), ("GFLOP/s", 8), ("% of peak", 9), ("ratio", 6))
QUARTILES = ("quartiles", 13)
CPUS = ("CPUs", 6)
DISTURBED = "!"


def make_console() -> Console:
    """Return a console for the table: colours on a terminal, plain text elsewhere."""
    console = Console(file=stdout(), highlight=False, markup=False, emoji=False)
    console.width = max(console.width, LEAST_WIDTH)
    return console


def print_line(console: Console, text: str, style: str = "") -> None:
    """Print a line; only a terminal wraps it."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)


def print_head(console: Console) -> None:
    """Print the names of the columns."""
    table = _grid()
    table.add_row(*(name for name, _ in (*COLUMNS, QUARTILES, CPUS)), style="dim")
    console.print(table)


def print_result(console: Console, result: Result) -> None:
    """Print a workload's block: its name, a row per side, and the peak."""
    console.print(str(result.workload), style="bold")
    console.print(_block(result))


def _block(result: Result) -> Table:
    table = _grid()
    peak = float(np.median(result.peak))
    for row in result.rows:
        first = row is result.rows[0]
        table.add_row(
            f"  {row.name}",
            *_cells(result, row.seconds, peak),
            "" if first else _quartiles(result, row.seconds),
            f"{row.cpus:.2f}" + (f" {DISTURBED}" if cpu_use.was_disturbed(row.uses) else "  "),
            style="bold green" if first else "",
        )
    at_peak = result.seconds_at_peak
    cells = _cells(result, at_peak, peak)
    table.add_row("  FMA peak", *cells, _quartiles(result, at_peak), style="dim")
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, width in (*COLUMNS, QUARTILES, CPUS):
        justify = "right" if name else "left"
        table.add_column(width=width, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    return table


def _cells(result: Result, seconds: Sequence[float], peak: float) -> list[str]:
    speed = result.speed(seconds)
    return [
        digits(float(np.median(seconds)) * 1e6),
        digits(speed / 1e9),
        percent(speed / peak),
        digits(result.ratios(seconds)[1]),
    ]


def _quartiles(result: Result, seconds: Sequence[float]) -> str:
    low, _, high = result.ratios(seconds)
    return f"{digits(low)} - {digits(high)}"


def digits(value: float) -> str:
    """Return a number with three digits or more.

    Examples
    --------
    >>> digits(4.856), digits(48.56), digits(4856.2)
    ('4.86', '48.6', '4,856')
    """
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def percent(part: float) -> str:
    """Return a part of 1 as percent, with about two digits.

    Examples
    --------
    >>> percent(0.0034), percent(0.456)
    ('0.34%', '46%')
    """
    return f"{part:.{2 if part < 0.00995 else 1 if part < 0.0995 else 0}%}"


def footnotes(results: Sequence[Result]) -> list[str]:
    """Return what the figures mean, and how far the losses agreed."""
    rows = [row for result in results for row in result.rows]
    rounds = len(rows[0].seconds)
    lines = [
        f"ratio: a side's time over {rows[0].name}'s in the same round, median and quartiles of "
        f"{rounds} round{'s' if rounds > 1 else ''}; above 1, {rows[0].name} is faster."
    ]
    most = max(row.loss_difference for row in rows)
    agreed = f"losses: the same on all sides in the first {CHECKED_STEPS} steps, to {most:.0e}"
    fewer = [
        f"{row.name} on {result.workload.name}"
        for result in results
        for row in result.rows
        if len(row.losses) < CHECKED_STEPS
    ]
    if fewer:
        agreed += f" ({', '.join(fewer)}: in the first, for it trains two classes as one output)"
    return [*lines, f"{agreed}.", *cpu_lines(results)]


def cpu_lines(results: Sequence[Result]) -> list[str]:
    """Return on which CPUs the sides ran, and which of them had to share these with other work."""
    by_name: dict[str, list[Row]] = {}
    for result in results:
        for row in result.rows:
            by_name.setdefault(row.name, []).append(row)
    used = {
        name: cpu_use.busy_cpus([use for row in rows for use in row.uses])
        for name, rows in by_name.items()
    }
    where = ", ".join(
        f"{name} on {' '.join(map(str, cpus))}" for name, cpus in used.items() if cpus
    )
    lines = [f"CPUs: CPU time over wall time, the median{f'; {where}' if where else ''}."]
    disturbed = [
        f"{row.name} on {result.workload.name} {cpu_use.share(row.uses):.2f}"
        for result in results
        for row in result.rows
        if cpu_use.was_disturbed(row.uses)
    ]
    if disturbed:
        lines.append(
            f"{DISTURBED} got less than {cpu_use.LEAST_SHARE} of the CPU time that it asked for "
            f"({', '.join(disturbed)}): other work had these CPUs meanwhile. Do not trust these "
            "times; measure again on a quiet machine, or with fewer --threads."
        )
    return lines


class Progress:
    """One line on standard error that says what is going on."""

    def __init__(self) -> None:
        self.stream = Output(sys.stderr)
        self.terminal = self.stream.isatty()
        self.last = ""

    def __call__(self, text: str) -> None:
        """Show this: over the line before on a terminal; elsewhere only a workload's name."""
        if self.terminal:
            self.stream.write(f"\r\x1b[K{text}")
        elif text.partition(":")[0] != self.last:
            self.last = text.partition(":")[0]
            self.stream.write(f"measuring {self.last} ...\n")
        self.stream.flush()

    def clear(self) -> None:
        """Leave nothing on a terminal."""
        if self.terminal:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
