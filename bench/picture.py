"""Draws what ``culpa bench --json`` wrote: every side's time of a training step over Culpa's.

A panel per file, for instance one thread and two. Bars begin at Culpa's time: those to the right
took longer, those to the left less. A bar ends at the median over the rounds, and the thin line
there joins the quartiles.

    python bench/picture.py one.json two.json --picture bench/step.png

Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # needs no screen

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from culpa.bench.table import digits

CULPA = "Culpa"
# After Okabe and Ito, whose colours all eyes tell apart.
OWN, SLOWER, FASTER = "#D55E00", "#9AAFC2", "#0072B2"
INK, FAINT, GRID = "#1F2933", "#5F6B76", "#E1E6EA"
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
STYLE = {"font.size": 10.5, "text.color": INK, "xtick.color": FAINT, "ytick.color": INK}
HEAD, GAP = 1.2, 0.65  # of a workload and after it, in rows
WIDTH, ROW, TOP, BOTTOM = 12.0, 0.215, 1.8, 0.35  # inches: of all, a row, above and below the rows
LEFT, MARGIN = 1.35, 0.3  # inches: of the names, of all else


def read(path: Path) -> dict[str, Any]:
    """Return what such a file holds."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        complete = all(CULPA in result["sides"] for result in content["results"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: expected what `culpa bench --json` writes; {error!r}") from error
    if not (complete and content["results"]):
        raise SystemExit(f"{path}: expected results, each with a side named {CULPA}")
    return content


def arrange(
    contents: Sequence[dict[str, Any]],
) -> tuple[dict[str, float], dict[tuple[str, str], float], float]:
    """Return the places of workloads' heads and of sides' bars, from the top in rows; their end."""
    heads: dict[str, float] = {}
    rows: dict[tuple[str, str], float] = {}
    at = 0.0
    results = [result for content in contents for result in content["results"]]
    for head, workload in {title(result): result["workload"] for result in results}.items():
        heads[head] = at
        at += HEAD
        own = [result["sides"] for result in results if result["workload"] == workload]
        for side in dict.fromkeys(name for sides in own for name in sides):
            rows[workload, side] = at
            at += 1
        at += GAP
    return heads, rows, at - GAP


def title(result: dict[str, Any]) -> str:
    """Return a workload's name and its network."""
    return f"{result['workload']}  {'-'.join(map(str, result['shape']))}, batch {result['batch']}"


def span(contents: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the ends of all panels' axes."""
    sides = [
        side
        for content in contents
        for result in content["results"]
        for side in result["sides"].values()
    ]
    low, _, high = zip(*(side["ratio_quartiles"] for side in sides), strict=True)
    return min(*low, 0.8) / 1.1, max(*high, 1.5) * 1.8  # room for the figures on the right


def draw(contents: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw all files side by side."""
    heads, rows, end = arrange(contents)
    height = TOP + end * ROW + BOTTOM
    width = (WIDTH - LEFT - MARGIN * (1 + len(contents))) / len(contents)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH, height))
        for i, content in enumerate(contents):
            left = LEFT + MARGIN + i * (width + MARGIN)
            box = (left / WIDTH, BOTTOM / height, width / WIDTH, end * ROW / height)
            panel = figure.add_axes(box)
            panel.set_xlim(*span(contents))
            panel.set_ylim(end - 0.5, -0.5)
            draw_panel(panel, content, rows)
            draw_heads(panel, heads, -(LEFT / width) if i == 0 else 0)
            if i == 0:
                name_sides(panel, rows)
        write_titles(figure, contents, height)
        figure.savefig(path, dpi=100)
        plt.close(figure)
    with Image.open(path) as picture:  # with a palette it takes half the bytes
        picture.convert("RGB").quantize(256).save(path, optimize=True)


def draw_panel(panel: Axes, content: dict[str, Any], rows: dict[tuple[str, str], float]) -> None:
    """Draw one file."""
    threads = content["machine"]["threads"]
    text = f"{threads} thread{'s' if threads != '1' else ''}"
    panel.set_title(text, loc="left", fontsize=13, weight="bold", pad=22)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(TICKS))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.tick_params(axis="x", length=0, labelsize=9.5, labeltop=True)
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    for result in content["results"]:
        places = [rows[result["workload"], side] for side in result["sides"]]
        panel.plot((1, 1), (min(places), max(places) + 0.5), color=OWN, linewidth=1.6, zorder=3)
        for y, (side, figures) in zip(places, result["sides"].items(), strict=True):
            draw_side(panel, side, figures, y)


def draw_side(panel: Axes, side: str, figures: dict[str, Any], y: float) -> None:
    """Draw a side's bar and its figure; of Culpa, the time of a step."""
    if side == CULPA:
        panel.plot(1, y, "D", color=OWN, markersize=6.5, zorder=4)
        write_right(panel, 1, y, format_seconds(figures["seconds_per_step"]), OWN, "bold", 9)
        return
    low, middle, high = figures["ratio_quartiles"]
    text = f"{digits(middle)}x"
    faster = float(digits(middle).replace(",", "")) < 1  # as written: 1.00 is no faster
    color, ink = (FASTER, FASTER) if faster else (SLOWER, INK)
    panel.barh(y, middle - 1, left=1, height=0.72, color=color, linewidth=0, zorder=2)
    panel.plot((low, high), (y, y), color=INK, linewidth=1.1, solid_capstyle="butt", zorder=3.5)
    write_right(panel, max(high, 1), y, text, ink)


def write_right(
    panel: Axes, x: float, y: float, text: str, color: str, weight: str = "normal", shift: float = 6
) -> None:
    """Write to the right of a point."""
    panel.annotate(
        text,
        (x, y),
        (shift, -0.5),
        textcoords="offset points",
        va="center",
        fontsize=9.5,
        color=color,
        weight=weight,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],  # over the grid
        zorder=5,
    )


def draw_heads(panel: Axes, heads: dict[str, float], left: float) -> None:
    """Draw a line above each workload; in the first panel from `left` of it on, and what it is."""
    across = panel.get_yaxis_transform()  # x: 0 to 1 in the panel
    for head, y in heads.items():
        line = (left, 1), (y - 0.5, y - 0.5)
        panel.plot(*line, color=FAINT, linewidth=0.7, transform=across, clip_on=False)
        if left:
            name, _, network = head.partition("  ")
            style = {"va": "center", "transform": across}
            panel.text(left, y + 0.1, name, weight="bold", fontsize=11.5, **style)
            ground = {"facecolor": "white", "linewidth": 0, "pad": 1}  # over the grid
            panel.text(0.01, y + 0.1, network, color=FAINT, fontsize=9.5, bbox=ground, **style)


def name_sides(panel: Axes, rows: dict[tuple[str, str], float]) -> None:
    """Write the sides' names left of their bars."""
    panel.set_yticks(list(rows.values()), [side for _, side in rows])
    panel.tick_params(axis="y", length=0, pad=6)
    for label, (_, side) in zip(panel.get_yticklabels(), rows, strict=True):
        if side == CULPA:
            label.set(color=OWN, weight="bold")


def write_titles(figure: Figure, contents: Sequence[dict[str, Any]], height: float) -> None:
    """Write what this is, how to read it, and on what it was measured."""
    machine, rounds = contents[0]["machine"], contents[0]["rounds"]
    apart = ("culpa", "threads", "CPU", "instruction set", "date")
    versions = ", ".join(f"{name} {text}" for name, text in machine.items() if name not in apart)
    reading = "Bars begin at Culpa's time, 1x: to the right slower, to the left (blue) faster."
    measured = (
        f"float32, Adam; medians and quartiles of {rounds} rounds; "
        f"{machine['CPU']}, {machine['instruction set']}"
    )
    lines = (
        ("Time of a training step over Culpa's", 16, INK, "bold", 0.42),
        (reading, 11, INK, "normal", 0.7),
        (measured, 9, FAINT, "normal", 0.93),
        (versions, 9, FAINT, "normal", 1.1),
    )
    for text, size, color, weight, down in lines:
        x, y = MARGIN / WIDTH, 1 - down / height
        figure.text(x, y, text, fontsize=size, color=color, weight=weight, va="baseline")


def format_seconds(seconds: float) -> str:
    """Return three digits or more and a unit."""
    if seconds < 1e-3:
        return f"{digits(seconds * 1e6)} us"
    return f"{digits(seconds * 1e3)} ms"


def main() -> None:
    """Read and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="that `culpa bench --json` wrote")
    parser.add_argument("--picture", type=Path, required=True, help="draw to this PNG")
    arguments = parser.parse_args()
    draw([read(path) for path in arguments.files], arguments.picture)


if __name__ == "__main__":
    main()
