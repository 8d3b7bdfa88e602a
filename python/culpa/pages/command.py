"""``culpa blame``: one example's blame, as a few lines or as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from culpa._terminal import printable, say
from culpa.data import columns, files
from culpa.pages import readers
from culpa.pages.page import Story, render_page, tell_example
from culpa.sequential import load

__all__ = ["Options", "run", "summary"]

TOP = 5  # nodes and inputs that the summary names


@dataclass
class Options:
    """What the command line asks for; see ``culpa blame --help``."""

    model: Path
    data: str
    example: int | None = None
    html: Path | None = None
    target: str | None = None
    shape: str | None = None
    learning_rate: float | None = None
    top: int = 16
    title: str | None = None


def run(options: Options) -> None:
    """Print the summary, or write the page."""
    if options.html is not None:
        inputs = {"model": options.model, "data": Path(options.data)}
        files.check_output("html", options.html, (".html", ".htm"), inputs)
    model = load(options.model)
    table = readers.read_table(options.data, model.loss, model.output_size, options.target)
    if model.feature_names is not None and table.feature_names is not None:
        columns.check_names(model.feature_names, table.feature_names, "data")
    shape = table.shape if options.shape is None else parse_shape(options.shape)
    told = tell_example(
        model,
        table.X,
        table.y,
        options.example,
        feature_names=table.feature_names,
        class_names=table.class_names,
        shape=shape,
        learning_rate=options.learning_rate,
        top=options.top,
        title=options.title,
    )
    if options.html is None:
        say(summary(told))
    else:
        with files.replacing(options.html, "html") as file:
            file.write(render_page(told).encode())
        say(f"wrote {printable(str(options.html))}: open it in any browser")


def parse_shape(text: str) -> tuple[int, ...]:
    """Return (8, 8) from "8x8".

    Examples
    --------
    >>> parse_shape("32x32x3")
    (32, 32, 3)
    """
    try:
        return tuple(int(size) for size in text.lower().split("x"))
    except ValueError:
        raise ValueError(
            f"shape: expected HEIGHTxWIDTH, such as 8x8, or HEIGHTxWIDTHx3, got {text!r}"
        ) from None


def summary(told: Story) -> str:
    """Return the story in a few lines for a terminal."""
    guess, columns = told["guess"], told["columns"]
    lines = [
        f"Example {told['example']} of {told['rows']:,} (counted from 0)",
        f"  {guess['sentence']} {guess['wanted']}",
        f"  Loss: {told['lossValue']:.4g}. {told['lossSentences'][0]}",
        "",
        "Most to blame (error signal; + too high, - too low)",
    ]
    layers = [(column["name"], node) for column in columns[1:] for node in column["nodes"]]
    layers.sort(key=lambda pair: -abs(pair[1]["delta"]))
    hidden = [pair for pair in layers if pair[0] != columns[-1]["name"]]
    for name, node in (hidden or layers)[:TOP]:
        lines.append(f"  {node['delta']:+12.4g}  {name}, {node['name']}")
    lines.append("Inputs (gradient)")
    inputs = sorted(columns[0]["nodes"], key=lambda node: -abs(node["delta"]))
    for node in inputs[:TOP]:
        lines.append(f"  {node['delta']:+12.4g}  {node['name']} (value {node['z']:.4g})")
    rate = told["fix"]["rate"]
    lines += ["", f"After one step of SGD on a copy, learning rate {rate:g}:"]
    lines.append(f"  {told['after']['sentence']} {told['after']['change']}")
    return "\n".join(map(printable, lines))
