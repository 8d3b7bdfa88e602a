"""The command line: ``culpa demo``, ``culpa info``, ``culpa bench``, ``culpa blame``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from culpa import _terminal

app = typer.Typer(
    help="Culpa trains dense neural networks on the CPU and can say who is to blame for a mistake.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def demo() -> None:
    """Learn to read handwritten digits in about a second, and show how."""
    from culpa.demo import main as run

    run()


@app.command()
def info() -> None:
    """Print version, CPU, instruction set and threads."""
    from culpa.machine.config import show_config

    show_config()


@app.command()
def bench(
    threads: Annotated[int, typer.Option(help="For every side.")] = 1,
    workload: Annotated[
        list[str] | None,
        typer.Option(help="tiny, digits, mnist, tab or large; repeat for several. None: all."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Turns of every side.")] = 15,
    seconds: Annotated[float, typer.Option(help="Of a turn.")] = 0.2,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="numpy, scikit-learn, torch, jax or jax-scan; repeat for several. "
            "None: all that are installed."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
) -> None:
    """Measure a training step on this machine, beside NumPy and whichever peers are installed.

    A step: gather a shuffled batch, forward, softmax cross-entropy, backward,
    Adam, in float32. All sides start from the same weights, see the same batches,
    and are first checked to compute the same losses; then they take turns.
    """
    from culpa.bench.command import Options, run
    from culpa.bench.measure import Disagreement

    try:
        options = Options(threads, workload or (), rounds, seconds, peer or (), json)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    try:
        run(options)
    except (Disagreement, ImportError, OSError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


@app.command()
def blame(
    model: Annotated[Path, typer.Argument(help="A model that model.save wrote.")],
    data: Annotated[str, typer.Argument(help="A .npz with X and y, a .csv, or digits.")],
    example: Annotated[
        int | None, typer.Option(help="Row of the data, from 0. None: the largest loss.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to step through, to this file.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The .csv column to guess. None: the last.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Of inputs that form an image: 8x8, or 32x32x3.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the fix. None: one that lowers the loss.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many nodes of a layer the page shows.")] = 16,
    title: Annotated[str | None, typer.Option(help="What the page is headed.")] = None,
) -> None:
    """Say who is to blame for one guess: which nodes, which inputs.

    Prints a summary, or writes a page (--html) that shows anybody how the guess, its loss,
    the blame and the fix come about, with the actual numbers.
    """
    from culpa.pages.command import Options, run

    try:
        run(Options(model, data, example, html, target, shape, learning_rate, top, title))
    except (ValueError, TypeError, OSError) as error:
        for line in str(error).split("\n"):
            typer.echo(_terminal.printable(line), err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command line."""
    with _terminal.steady():
        app()


if __name__ == "__main__":
    main()
