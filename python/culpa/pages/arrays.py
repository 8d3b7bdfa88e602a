"""Arrays from ``.npz`` files of unknown origin: only those wanted, and no more than is declared.

``numpy.load`` believes a header: a file of 2 MB can announce, and unpack to, gigabytes. Here the
sizes in the archive and in the array's header are compared before anything of it is read.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_arrays"]

ALWAYS_WELCOME = 64 << 20
"""Bytes of an array that may take any packed size."""

MOST_RATIO = 250
"""Beyond that, bytes for each packed one. Deflate reaches 1,032, of zeros alone; images of digits
reach 5 to 10, a hundred one-hot columns in float64 some 130."""

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes


def read_arrays(path: Path, wanted: Collection[str]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read some arrays of a ``.npz`` file.

    Parameters
    ----------
    path : Path
        The file.
    wanted : collection of str
        Names of arrays; those that the file lacks are left out, and no others are read.

    Returns
    -------
    arrays : dict
        By name.
    names : list of str
        Of all arrays in the file.

    Raises
    ------
    ValueError
        Where the file is damaged, or an array holds objects or announces more than it should.
        Nothing in it is ever executed.
    OSError
        Where it cannot be read.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                member.filename.removesuffix(".npy"): member for member in archive.infolist()
            }
            for name in members:
                if name in wanted:
                    arrays[name] = _read(archive, members[name], name)
    except MemoryError:
        raise ValueError("it does not fit into memory") from None
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        raise ValueError(str(error) or type(error).__name__) from None
    return arrays, list(members)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    if member.compress_type not in PACKINGS:
        raise ValueError(f"{name} is packed in a way that NumPy does not write")
    declared, packed = member.file_size, member.compress_size
    if declared > max(ALWAYS_WELCOME, MOST_RATIO * packed):
        raise ValueError(
            f"{name} would take {declared:,} bytes, of {packed:,} in the file: too many for data"
        )
    with archive.open(member) as file, warnings.catch_warnings():
        warnings.simplefilter("error")  # a header of Python 2, or what damage makes look like one
        if np.lib.format.read_magic(file) != (1, 0):  # others are for long lists of columns
            raise ValueError(f"{name} is no plain array")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects, which are never unpacked")
        if dtype.kind not in "biufcSU" or dtype.itemsize == 0:
            raise ValueError(f"{name} holds neither numbers nor text")
        needed = file.tell() + math.prod(shape) * dtype.itemsize
        if needed != declared:
            raise ValueError(f"{name} announces {needed:,} bytes and has {declared:,}")
        file.seek(0)  # an array of its own, in the layout that the header says
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
