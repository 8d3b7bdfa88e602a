"""Who can be measured: each peer, what it needs, and whether that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from culpa.bench.sides import Side
from culpa.bench.workloads import Problem

INSTALL = 'pip install "culpa[bench]"'


@dataclass(frozen=True)
class Peer:
    """A library to measure.

    Parameters
    ----------
    key : str
        What ``--peer`` calls it.
    name : str
        What the table calls it.
    side : str
        The module in ``culpa.bench.sides`` and the class in it; imported only to be measured.
    packages : tuple of str
        The distributions it needs.
    """

    key: str
    name: str
    side: str
    packages: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether all of its packages are here."""
        return all(_version(package) for package in self.packages)

    def build(self, problem: Problem) -> Side:
        """Import the library and return its side for this problem."""
        module, _, name = self.side.partition(".")
        try:
            make = getattr(importlib.import_module(f"culpa.bench.sides.{module}"), name)
        except ImportError as error:
            raise ImportError(
                f"{self.name} is installed but cannot be imported: {error}; mend it with "
                f"{INSTALL}, or leave it out by naming the others with --peer"
            ) from error
        return cast(Side, make(problem))


CULPA = Peer("culpa", "Culpa", "culpa_side.CulpaSide", ("culpa",))
PEERS = {
    peer.key: peer
    for peer in (
        Peer("numpy", "NumPy", "numpy_side.NumpySide", ("numpy",)),
        Peer("scikit-learn", "scikit-learn", "sklearn_side.SklearnSide", ("scikit-learn",)),
        Peer("torch", "PyTorch", "torch_side.TorchSide", ("torch",)),
        Peer("jax", "JAX per step", "jax_sides.JaxSide", ("jax", "optax")),
        Peer("jax-scan", "JAX scan", "jax_sides.JaxScanSide", ("jax", "optax")),
    )
}


def choose_peers(keys: Sequence[str]) -> tuple[list[Peer], list[Peer]]:
    """Return the peers to measure, and those left out because they are not installed.

    Parameters
    ----------
    keys : sequence of str
        Of PEERS; none means all that are installed.

    Raises
    ------
    ValueError
        Where a key is unknown, or a peer named here is not installed.
    """
    for key in keys:
        if key not in PEERS:
            raise ValueError(f"--peer: expected one of {', '.join(PEERS)}; got {key!r}")
        if not PEERS[key].installed:
            missing = [name for name in PEERS[key].packages if _version(name) is None]
            raise ValueError(
                f"--peer: expected a peer that is installed; {key!r} lacks {', '.join(missing)}: "
                f"bring it with {INSTALL}"
            )
    asked = [peer for key, peer in PEERS.items() if key in keys or not keys]
    return [peer for peer in asked if peer.installed], [p for p in asked if not p.installed]


def packages(peers: Iterable[Peer]) -> dict[str, str]:
    """Return all packages of these peers and their versions."""
    names = dict.fromkeys(name for peer in peers for name in peer.packages)
    return {name: _version(name) or "none" for name in names}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
