"""Text on its way to a terminal, a pipe or a file: it never fails, and cannot steer the terminal.

Standard output may be missing, closed, or no file at all; its encoding may know ASCII alone, and
its reader may be gone. None of that is a reason to lose a training.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, TextIO, cast

__all__ = ["Output", "printable", "say", "stdout", "steady"]

# What is drawn and written with, and what stands for it in ASCII: of the same width.
_ASCII = str.maketrans(
    "░▒▓█▏━╸╺╭╮╰╯─│┌┐└┘├┤┬┴┼·−–—…×“”‘’",  # noqa: RUF001
    ".:*#|---++++-|+++++++++.---.x\"\"''",
)


class Output:
    """A text stream in front of another, that takes everything and raises nothing.

    What the other's encoding lacks is written in ASCII. Where the other is missing or breaks, text
    is dropped from there on.

    Attributes
    ----------
    error : Exception or None
        What it broke of.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: Exception | None = None

    @property
    def encoding(self) -> str:
        """The other's encoding; UTF-8 where it has none."""
        try:
            encoding = self._stream.encoding
        except Exception:
            encoding = None
        return encoding if isinstance(encoding, str) else "utf-8"

    def isatty(self) -> bool:
        """Return whether the other is a terminal, as far as it says."""
        try:
            return bool(self._stream.isatty())
        except Exception:
            return False

    def fileno(self) -> int:
        """Return the other's file descriptor."""
        return int(self._stream.fileno())

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        if not isinstance(text, str):
            raise TypeError(f"text: expected a string, got {type(text).__name__}")
        if self.error is None:
            try:
                try:
                    self._stream.write(_encodable(text, self.encoding))
                except UnicodeError:  # it has another encoding than it says
                    self._stream.write(_encodable(text, "ascii"))
            except BlockingIOError:
                pass  # its reader is slow: this text is lost, not the next
            except Exception as error:
                self.error = error
        return len(text)

    def flush(self) -> None:
        """Bring what was written to the other's end."""
        if self.error is None and hasattr(self._stream, "flush"):
            try:
                self._stream.flush()
            except BlockingIOError:
                pass
            except Exception as error:
                self.error = error


def _encodable(text: str, encoding: str) -> str:
    """Return text as this encoding can write it."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    except LookupError:
        return _encodable(text, "ascii")
    return text


def stdout() -> IO[str]:
    """Return standard output as a stream that raises nothing."""
    stream = getattr(sys, "stdout", None)
    return cast("IO[str]", stream if isinstance(stream, Output) else Output(stream))


def say(text: str) -> None:
    """Print a line, where standard output can take it."""
    out = stdout()
    out.write(f"{text}\n")
    out.flush()


def printable(text: str) -> str:
    r"""Return text that cannot steer the terminal: what comes from a file may hold anything.

    Examples
    --------
    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """Let a command's output raise nothing; end the process in peace where its reader is gone.

    A disk that is full is another matter: the exit status is 1 then.
    """
    before = sys.stdout, sys.stderr
    out, err = (Output(stream) for stream in before)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield
    finally:
        out.flush()
        lost = isinstance(out.error, OSError) and not isinstance(out.error, BrokenPipeError)
        if lost:
            err.write(f"output: {out.error}\n")
        err.flush()
        sys.stdout, sys.stderr = before
        for output in (out, err):
            if output.error is not None:
                _discard(output)
        if lost:
            raise SystemExit(1)


def _discard(output: Output) -> None:
    """Lead a broken stream nowhere: the interpreter would try to write what is left at its end."""
    with contextlib.suppress(Exception):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output.fileno())
        os.close(nowhere)
