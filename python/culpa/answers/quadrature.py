"""Points and weights of the integrals along a path, in time that grows with their number."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["gauss_legendre", "midpoints"]

Points = tuple[NDArray[np.float64], NDArray[np.float64]]

LARGEST = 128
"""Points of one Gauss-Legendre rule: NumPy takes O(n^3) to find n of them, here some 10 ms."""


def midpoints(n: int) -> Points:
    """Return the midpoint rule on [0, 1]: points and weights, (n,) each.

    Its error falls with the square of n.
    """
    return (np.arange(n) + 0.5) / n, np.full(n, 1.0 / n)


def gauss_legendre(n: int) -> Points:
    """Return Gauss-Legendre quadrature on [0, 1]: points in (0, 1) and weights, (n,) each.

    More than 128 points are a composite rule: [0, 1] is cut into the fewest equal parts that need
    no more each, and the points are shared out among them, the first parts one more where they do
    not come out even. A rule of 64 points or more is exact to rounding for polynomials of degree
    127, so smooth integrands lose nothing by it, and those with kinks (relu) gain: a kink spoils
    one part alone.
    """
    parts = -(-n // LARGEST)
    least, more = divmod(n, parts)
    points, weights = [], []
    for part in range(parts):
        x, w = _rule(least + (part < more))
        points.append((part + x) / parts)
        weights.append(w / parts)
    return np.concatenate(points), np.concatenate(weights)


@lru_cache(maxsize=32)
def _rule(n: int) -> Points:
    points, weights = np.polynomial.legendre.leggauss(n)
    return (points + 1.0) / 2.0, weights / 2.0
