"""The command line, as a newcomer meets it."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest


def run(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "culpa.cli", *arguments], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_demo_reads_97_percent_of_the_held_out_digits() -> None:
    rich_console = pytest.importorskip("rich.console")
    from culpa.demo import main

    screen = io.StringIO()
    accuracy = main(rich_console.Console(file=screen, width=80))
    assert accuracy >= 0.97
    shown = screen.getvalue()
    for moment in ("The guess", "How wrong it was", "Who is to blame", "after the fix"):
        assert moment in shown
    assert re.search(r"Right on \d+ of 360", shown)


def test_demo_fits_a_terminal_of_80_columns() -> None:
    rich_console = pytest.importorskip("rich.console")
    from culpa.demo import main

    screen = io.StringIO()
    main(rich_console.Console(file=screen, width=80))
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_demo_shows_that_the_fix_lowers_the_loss() -> None:
    shown = run("demo")
    before = re.search(r"-log\(.*\) = ([0-9.]+)", shown)
    after = re.search(r"loss ([0-9.]+)\.", shown)
    assert before
    assert after
    assert float(after[1]) < float(before[1])


def test_info_names_version_instruction_set_and_threads() -> None:
    import culpa

    shown = run("info")
    assert culpa.__version__ in shown
    for key in ("CPU", "instruction set", "threads"):
        assert key in shown


def test_an_unknown_command_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "culpa.cli", "dance"], capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "dance" in result.stderr
