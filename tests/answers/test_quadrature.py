"""Points and weights of path integrals."""

import numpy as np
import pytest

import culpa
from culpa.answers import quadrature


@pytest.mark.parametrize("n", [1, 2, 3, 50, 127, 128, 129, 130, 255, 257, 1000, 4099])
def test_gauss_legendre_is_exact_for_polynomials(n: int) -> None:
    points, weights = quadrature.gauss_legendre(n)
    assert points.shape == weights.shape == (n,)
    assert np.all(np.diff(points) > 0)
    assert 0 < points[0] <= points[-1] < 1
    assert np.all(weights > 0)
    for degree in range(0, min(2 * n, 100), 7):
        assert (weights * points**degree).sum() == pytest.approx(1 / (degree + 1), rel=1e-12)


@pytest.mark.parametrize("n", [1, 50, 128])
def test_few_points_are_numpys_rule(n: int) -> None:
    points, weights = np.polynomial.legendre.leggauss(n)
    ours = quadrature.gauss_legendre(n)
    assert np.array_equal(ours[0], (points + 1) / 2)
    assert np.array_equal(ours[1], weights / 2)


def test_no_rule_is_found_for_many_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy takes O(n^3), and no signal stops it."""
    asked = []
    rule = np.polynomial.legendre.leggauss

    def note(n: int) -> object:
        asked.append(n)
        return rule(n)

    monkeypatch.setattr(np.polynomial.legendre, "leggauss", note)
    quadrature._rule.cache_clear()
    model = culpa.Sequential([culpa.Dense(4, "tanh"), culpa.Dense(1)], "mse", input_size=3)
    answer = model.attribute(np.ones((1, 3)), steps=5000)
    model.attribute(np.ones((1, 3)), steps=5000)
    assert len(asked) <= 2
    assert max(asked) <= 128
    assert answer.completeness_error.max() < 1e-5
