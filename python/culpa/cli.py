"""The command line: ``culpa demo``, ``culpa info``."""

from __future__ import annotations

import typer

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
    import culpa

    culpa.show_config()


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
