"""Output that is no terminal, or none at all: no training is lost to it, and no command fails."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
from culpa import _terminal

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
X = np.random.default_rng(0).normal(size=(60, 3))
Y = X[:, 0]


class Log:
    """What notebooks' runners, windows and job systems put in place of standard output."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)


class Terminal(Log):
    """A window that calls itself a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        pass


class Unsure(Log):
    def isatty(self) -> bool:
        raise OSError(9, "Bad file descriptor")


class Breaks(Terminal):
    """A window that is closed while a fit is shown in it."""

    def __init__(self, error: Exception, writes: int) -> None:
        super().__init__()
        self.error, self.left = error, writes

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)


class BreaksAtFlush(Terminal):
    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def detached() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    stream.detach()
    return stream


ENCODE = UnicodeEncodeError("ascii", "x", 0, 1, "ordinal not in range")
STREAMS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "an object": object,
    "no isatty, no flush": Log,
    "closed": closed,
    "detached": detached,
    "isatty raises": Unsure,
    "a window": Terminal,
    "write raises": lambda: Breaks(RuntimeError("the window is gone"), 0),
    "a pipe that breaks": lambda: Breaks(BrokenPipeError(32, "Broken pipe"), 3),
    "a disk that fills": lambda: Breaks(OSError(28, "No space left on device"), 3),
    "closed on the way": lambda: Breaks(ValueError("I/O operation on closed file"), 3),
    "an encoding of its own": lambda: Breaks(ENCODE, 3),
    "a full pipe": lambda: Breaks(BlockingIOError(11, "try again"), 3),
    "flush raises": BreaksAtFlush,
}


def bits(model: culpa.Sequential) -> bytes:
    return b"".join(array.tobytes() for array in model.state_dict().values())


def fitted(**options: Any) -> bytes:
    model = culpa.Sequential([culpa.Dense(4, "tanh"), culpa.Dense(1)], loss="mse")
    assert model.fit(X, Y, epochs=6, batch_size=8, validation_split=0.2, **options).epochs == 6
    return bits(model)


@pytest.fixture(autouse=True)
def terminals_are_shown_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize("verbose", [True, 1, 2])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_fit_ends_with_the_same_bits_whatever_output_is(
    stream: str, verbose: bool | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fitted(verbose=False)
    given = STREAMS[stream]()
    monkeypatch.setattr(sys, "stdout", given)
    assert fitted(verbose=verbose) == expected
    assert sys.stdout is given  # what the bar had taken over is given back
    if stream == "a window":
        assert "epoch 6/6" in given.text


def test_a_bar_leaves_a_missing_standard_error_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", None)
    fitted()
    assert sys.stderr is None


def test_a_fit_within_a_display_of_the_users_own_is_drawn_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = pytest.importorskip("rich.progress")
    expected = fitted(verbose=False)
    window = Terminal()
    monkeypatch.setattr(sys, "stdout", window)
    for _ in progress.track([1, 2], description="seeds", auto_refresh=False):
        assert fitted() == expected
    assert "epoch 6/6" in window.text
    assert sys.stdout is window


def test_a_fit_ends_where_there_is_no_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fitted(verbose=False)
    monkeypatch.delattr(sys, "stdout")
    assert fitted(verbose=2) == expected
    assert fitted() == expected


@pytest.mark.parametrize("stream", STREAMS)
def test_the_perceptrons_train_whatever_output_is(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    from culpa.sklearn import MLPRegressor

    options = {"max_iter": 4, "tol": 1.0, "random_state": 0, "learning_rate": "adaptive"}

    def coefs(**shown: Any) -> bytes:
        model = MLPRegressor(**options, solver="sgd", n_iter_no_change=1, **shown)
        with pytest.warns(match="Maximum iterations"):
            model.fit(X, Y, X_val=X, y_val=Y)
        return b"".join(array.tobytes() for array in model.coefs_)

    expected = coefs()
    monkeypatch.setattr(sys, "stdout", STREAMS[stream]())
    assert coefs(progress=True) == expected
    assert coefs(verbose=True) == expected


def test_a_window_that_calls_itself_no_terminal_gets_the_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    monkeypatch.setattr(sys, "stdout", log)
    fitted()
    assert log.text == ""
    fitted(verbose=2)
    assert log.text.count("\n") == 6
    assert log.text.startswith("epoch 1/6  loss ")


@pytest.mark.parametrize("broken", [None, "display", "shell"])
def test_a_notebook_whose_display_fails_loses_no_training(
    broken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fitted(verbose=False)

    class ZMQInteractiveShell:
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the kernel has lost its front end")

    notebook: Any = types.ModuleType("IPython")
    notebook.get_ipython = fail if broken == "shell" else ZMQInteractiveShell
    notebook.display = types.ModuleType("IPython.display")
    notebook.display.display = fail
    widgets: Any = types.ModuleType("ipywidgets")
    widgets.__spec__ = types.SimpleNamespace()
    widgets.Output = fail
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook.display)
    if broken == "display":
        monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    log = Log()
    monkeypatch.setattr(sys, "stdout", log)
    assert fitted() == expected
    assert sys.stdout is log


def test_a_module_that_is_only_called_ipython_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = fitted(verbose=False)
    for module in (None, types.ModuleType("IPython")):
        monkeypatch.setitem(sys.modules, "IPython", module)
        assert fitted() == expected


def test_ctrl_c_in_a_write_is_still_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Log):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        fitted(verbose=2)


# The stream itself


def written(text: str, encoding: str) -> str:
    raw = io.BytesIO()
    output = _terminal.Output(io.TextIOWrapper(raw, encoding, newline=""))
    output.write(text)
    output.flush()
    assert output.error is None
    return raw.getvalue().decode(encoding)


def test_what_an_encoding_lacks_is_written_in_ascii() -> None:
    drawn = "╭─ █░ ─╮ −1 · “café” ‮"
    assert written(drawn, "utf-8") == drawn
    assert written(drawn, "ascii") == '+- #. -+ -1 . "caf?" ?'
    assert written(drawn, "latin-1") == '+- #. -+ -1 . "café" ?'
    assert written("█░", "cp437") == "█░"
    assert written("\udc80", "utf-8") == "?"  # of a file name in another encoding


def test_a_stream_of_bytes_is_not_mistaken_for_one_of_text() -> None:
    with pytest.raises(TypeError, match="expected a string"):
        _terminal.Output(Log()).write(b"")  # type: ignore[arg-type]


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\r", "\n", "\x9b", "\u202e", "\u2028"])
def test_nothing_printable_steers_the_terminal(character: str) -> None:
    assert character not in _terminal.printable(f"a{character}b")
    assert _terminal.printable("plain ü “text”") == "plain ü “text”"


# The command line


def culpa_command(
    *arguments: str, encoding: str = "utf-8", redirect: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a shell, with what it says of its output behind it."""
    command = f'"$0" -m culpa.cli "$@" {redirect}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable, *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        cwd=folder,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    model = culpa.Sequential([culpa.Dense(10)], "cross_entropy", input_size=64)
    model.save(folder / "m.safetensors")
    return folder


COMMANDS = {
    "demo": ("demo",),
    "info": ("info",),
    "blame": ("blame", "m.safetensors", "digits"),
    "page": ("blame", "m.safetensors", "digits", "--html", "page.html"),
    "bench": (
        "bench",
        "--workload",
        "tiny",
        "--peer",
        "numpy",
        "--rounds",
        "1",
        "--seconds",
        "0.01",
    ),
    "help": ("--help",),
}


@needs_bash
@pytest.mark.parametrize(
    ("command", "encoding"),
    [
        *itertools.product(["info", "blame", "page", "help"], ["ascii", "cp1252", "latin-1"]),
        *itertools.product(["demo"], ["ascii", "cp1252"]),
        ("bench", "latin-1"),
    ],
)
def test_commands_are_readable_in_any_encoding(command: str, encoding: str, folder: Path) -> None:
    result = culpa_command(*COMMANDS[command], encoding=encoding, folder=folder)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode(encoding)
    assert len(text) > 20
    assert "?" not in text.replace("Who is to blame?", "")
    assert "\\u" not in text
    assert b"Traceback" not in result.stderr


@needs_bash
@pytest.mark.parametrize(
    ("command", "redirect"),
    [
        *itertools.product(
            ["info", "blame", "page", "help"], [">&-", ">&- 2>&-", "| head -1", "| true"]
        ),
        *itertools.product(["demo"], [">&-", "| head -1"]),
        ("bench", "| head -1"),
    ],
)
def test_commands_end_in_peace_where_output_is_closed(
    command: str, redirect: str, folder: Path
) -> None:
    (folder / "page.html").unlink(missing_ok=True)
    result = culpa_command(*COMMANDS[command], redirect=redirect, folder=folder)
    assert result.returncode == 0, result.stderr
    errors = [line for line in result.stderr.splitlines() if not line.startswith(b"measuring")]
    assert errors == []
    assert (folder / "page.html").exists() == (command == "page")


@needs_bash
def test_a_measurement_is_kept_where_its_table_is_not_read(folder: Path) -> None:
    arguments = (*COMMANDS["bench"], "--workload", "digits", "--json", "times.json")
    assert culpa_command(*arguments, redirect="| true", folder=folder).returncode == 0
    assert len(json.loads((folder / "times.json").read_text())["results"]) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_is_an_error_without_a_traceback(folder: Path) -> None:
    result = culpa_command("info", redirect="> /dev/full", folder=folder)
    assert result.returncode == 1
    assert result.stderr.decode().strip() == "output: [Errno 28] No space left on device"
