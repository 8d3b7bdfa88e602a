"""The core's own elementary functions: within one unit in the last place, at the edges too.

The truth has 60 digits, from decimal and, for the cosine, from its series.
"""

import math
import sys
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import pytest

import helpers
from culpa import _core

DIGITS = Context(prec=60, Emin=-99999, Emax=99999)
TINY = sys.float_info.min
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")


def off_by(got: float, truth: Decimal) -> Decimal:
    """Return the error in units of the last place of the truth."""
    return abs(Decimal(got) - truth) / Decimal(math.ulp(float(truth)))


def worst(pairs: Iterable[tuple[float, Decimal]]) -> Decimal:
    return max(off_by(got, truth) for got, truth in pairs)


def cosine(turns: float) -> Decimal:
    with localcontext(DIGITS):
        angle = 2 * PI * (Decimal(turns) % 1)
        total, term, k = Decimal(1), Decimal(1), 0
        while abs(term) > Decimal("1e-55"):
            k += 2
            term *= -angle * angle / (k * (k - 1))
            total += term
        return total


def in_decimals(function: Callable[[Decimal], Decimal], values: Any) -> list[Decimal]:
    with localcontext(DIGITS):
        return [function(Decimal(float(value))) for value in values]


def integers(seed: int, n: int) -> Any:
    return np.random.default_rng(seed).integers(1, 2**53, n) * 2.0**-53


UNIT = integers(0, 2000)


@pytest.mark.parametrize(
    "x",
    [
        UNIT,
        1 + (UNIT - 0.5) * 2.0 ** -np.arange(2000).clip(0, 50),
        np.ldexp(UNIT, np.arange(2000) - 1000),
        np.array([5e-324, TINY, math.nextafter(TINY, 0), 0.5, math.sqrt(0.5), 2.0, 1.7e308]),
    ],
    ids=["unit", "near 1", "all sizes", "edges"],
)
def test_logarithm(x: Any) -> None:
    truths = in_decimals(lambda v: v.ln(), x)
    assert worst(zip(_core.natural_log(x), truths, strict=True)) < 1
    assert _core.natural_log(np.ones(1)).tolist() == [0.0]


def test_logarithm_of_one_plus_x() -> None:
    x = np.concatenate([-UNIT, -UNIT * 1e-8, UNIT * 1e-17, UNIT * 1e200, [-(2.0**-1074), 0.0]])
    truths = in_decimals(lambda v: (1 + v).ln(), x[:6000])
    with localcontext(DIGITS) as context:  # 1e-17 + 1 needs more of them
        context.prec = 120
        truths += [(1 + Decimal(float(v))).ln() for v in x[6000:-2]] + [Decimal(-(2.0**-1074)), 0]
    truths[4000:6000] = [
        v - v * v / 2 + v * v * v / 3 for v in in_decimals(lambda v: v, x[4000:6000])
    ]
    assert worst(zip(_core.natural_log_1p(x), map(Decimal, truths), strict=True)) < 1


def test_exponential() -> None:
    edges = [709.782712893384, -708.4, -745.1, 0.0, 1.0, -1e-300, 0.34657359027997264]
    x = np.concatenate([(UNIT - 0.5) * 1416, UNIT - 0.5, edges])
    truths = in_decimals(lambda v: v.exp(), x)
    assert worst(zip(_core.exponential(x), truths, strict=True)) < 1
    beyond = np.array([709.79, 1e300, math.inf, -745.2, -1e300, -math.inf, math.nan])
    np.testing.assert_array_equal(
        _core.exponential(beyond), [math.inf] * 3 + [0.0] * 3 + [math.nan]
    )


@pytest.mark.parametrize("base", [0.9, 0.999, 0.5, 0.1, 1e-300, 1 - 2.0**-53, 1.5, 60000.0, 5e-324])
def test_power(base: float) -> None:
    most = 700 / abs(math.log(base))
    exponents = np.concatenate([UNIT * most, -UNIT * most, np.floor(UNIT * min(most, 2.0**52))])
    with localcontext(DIGITS):
        log = Decimal(base).ln()
    truths = in_decimals(lambda v: (v * log).exp(), exponents)
    assert worst(zip(_core.power(base, exponents), truths, strict=True)) < 1


def test_power_at_the_edges() -> None:
    assert _core.power(0.0, np.array([0.0, 1.0, 0.5])).tolist() == [1.0, 0.0, 0.0]
    assert _core.power(1.0, np.array([0.0, 1e300, -1e300])).tolist() == [1.0, 1.0, 1.0]
    assert _core.power(0.5, np.array([1e300, -1e300, -1.0])).tolist() == [0.0, math.inf, 2.0]
    assert _core.power(2.0, np.array([1023.0, -1074.0, -1076.0])).tolist() == [2.0**1023, 5e-324, 0]
    assert _core.power(3.0, np.array(2.0)).item() == 9.0
    assert _core.power(3.0, np.zeros((2, 0))).shape == (2, 0)
    for base in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="base"):
            _core.power(base, np.ones(1))


def test_cosine() -> None:
    near = (np.array([[0], [0.125], [0.25], [0.375], [0.5], [0.75]]) + UNIT[:200] * 1e-9).ravel()
    turns = np.concatenate([UNIT, -UNIT, UNIT * 1e6, near])
    assert worst(zip(_core.cosine_of_turns(turns), map(cosine, turns), strict=True)) < 1
    quarters = _core.cosine_of_turns(np.arange(9) / 4)
    assert quarters.tolist() == [1, 0, -1, 0, 1, 0, -1, 0, 1]


def test_neither_the_c_library_nor_the_cpu_decides_the_bits() -> None:
    """The C library is asked to leave out what it has for new CPUs."""
    old = "glibc.cpu.hwcaps=-AVX512F,-AVX2_Usable,-AVX2,-FMA_Usable,-FMA,-FMA4_Usable,-FMA4"
    oldest = _core.instruction_sets()[-1]
    program = "hash_scalar_functions.py"
    there = helpers.last_json_of(program, GLIBC_TUNABLES=old, CULPA_FORCE_ISA=oldest)
    assert helpers.last_json_of(program) == there
