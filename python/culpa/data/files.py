"""Files that appear whole or not at all, with the owner and the permissions of what was there."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

__all__ = ["check_output", "replacing"]

# Short, whatever the file is called: its name may be as long as the file system allows.
LEFTOVER = re.compile(r"\.culpa-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def replacing(path: Path, name: str = "path") -> Iterator[BinaryIO]:
    """Give a file that takes the place of `path` once it is whole and on disk.

    Where `path` is a symbolic link, what it leads to is replaced. Pipes and devices are written to
    as they are.

    Parameters
    ----------
    path : Path
        Where to.
    name : str, default "path"
        The argument that errors name.

    Raises
    ------
    OSError
        Where it cannot be written; what was there is unharmed.
    """
    try:
        before = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        before = None
    if before is not None and stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(f"{name}: expected a file, got {str(path)!r}, which is a folder")
    if before is not None and not stat.S_ISREG(before.st_mode):
        with open(path, "wb") as special:
            yield special
        return
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{name}: expected a folder that exists, got {folder!r}")
    _sweep(folder)
    # Never more open than what was there, not even while it is written.
    mode = 0o666 if before is None else stat.S_IMODE(before.st_mode) & 0o666
    handle, temporary = _create(folder, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if before is not None:
                _resemble(temporary, target, before)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # what is open cannot be renamed there
            os.replace(temporary, target)  # still locked: no other process takes it for a leftover
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync(folder)


def check_output(
    name: str, path: Path, suffixes: Sequence[str], inputs: Mapping[str, str | Path]
) -> None:
    """Raise where writing to `path` would destroy what was read, or a file of another kind.

    Parameters
    ----------
    name : str
        The argument that errors name.
    path : Path
        The file to write.
    suffixes : sequence of str
        What files of this kind end in; one that exists and ends in anything else is left alone.
    inputs : mapping
        What was read: what it is, and its path.
    """
    for what, source in inputs.items():
        if path.exists() and Path(source).exists() and os.path.samefile(path, source):
            raise FileExistsError(
                f"{name}: expected a file of its own, got {str(path)!r}, which is the {what}; "
                "choose another name"
            )
    suffix = os.path.splitext(os.path.realpath(path))[1]  # a link's own name says nothing
    if path.is_file() and suffix.lower() not in suffixes:
        raise FileExistsError(
            f"{name}: expected a new file, or one that ends in {' or '.join(suffixes)}, got "
            f"{str(path)!r}, which exists and may be something else; choose another name"
        )


def _create(folder: str, mode: int) -> tuple[int, str]:
    """Create a file that no other process removes while this one holds it open."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        temporary = os.path.join(folder, f".culpa-{secrets.token_hex(8)}.tmp")
        handle = os.open(temporary, flags, mode)
        taken = _lock(handle) is False
        # Another process may have come between the two calls.
        with contextlib.suppress(FileNotFoundError):
            if not taken and os.path.samestat(os.stat(temporary), os.fstat(handle)):
                return handle, temporary
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file until it is closed; False: another has, None: it cannot be told.

    The kernel gives the lock back however a process ends. (A process id in the name would not do:
    another container's processes, or another machine's, have ids of their own.)
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _sweep(folder: str) -> None:
    """Remove what processes that died while they were writing have left."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if LEFTOVER.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_if_left(os.path.join(folder, name))


def _remove_if_left(path: str) -> None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
            os.unlink(path)
    finally:
        os.close(handle)


def _resemble(temporary: str, target: str, before: os.stat_result) -> None:
    """Give a file the owner and the permissions of another, as far as this process may."""
    if os.name == "posix":
        for owner in (before.st_uid, -1):  # root may give files away, others choose a group
            with contextlib.suppress(OSError):
                os.chown(temporary, owner, before.st_gid)
                break
    with contextlib.suppress(OSError):
        shutil.copystat(target, temporary)  # access lists too
    if os.stat(temporary).st_gid != before.st_gid:  # what that group might, this one may not
        mode = stat.S_IMODE(before.st_mode)
        os.chmod(temporary, (mode & ~0o070) | ((mode & 0o007) << 3))


def _sync(folder: str) -> None:
    """Bring a rename to the disk: it reaches it with its folder."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to and not be listed
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
