"""Private training: what a model learns from any one example is bounded, and hidden in noise."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from culpa import _checks

__all__ = ["Privacy", "check_examples", "check_privacy"]

ACCOUNTANTS = ("pld", "rdp")
# Of the Renyi divergences. Whole ones: the series of others does not always converge.
ORDERS = [*range(2, 65), 80, 96, 128, 192, 256, 512, 1024]


@dataclass(frozen=True)
class Privacy:
    """DP-SGD (Abadi et al. 2016): pass it to ``fit(privacy=...)``.

    Each example's gradient over all layers is scaled down to norm ``max_grad_norm`` where it is
    longer; normal noise of standard deviation ``noise_multiplier * max_grad_norm`` is added to
    every parameter of their sum; and the sum is divided by the expected batch size, for the real
    one is a secret too. The norms are exact and come from the error signals (Goodfellow 2015), so
    no example's gradient is ever formed.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise, in units of ``max_grad_norm``; at least 0. With 0 nothing
        is private: epsilon is infinite.
    max_grad_norm : float
        Bound on the norm of each example's gradient, positive.
    delta : float
        Probability that the bound epsilon may fail with, in (0, 1); well below one over the number
        of examples.
    seed : int, optional
        Of noise and batches, below 2**64. By default each fit draws 64 bits from the operating
        system (``os.urandom``). **A seed that anybody knows undoes all privacy**: it is for tests.
    sampling : {"poisson", "shuffle"}, default "poisson"
        ``"poisson"``: an epoch has ``ceil(n / batch_size)`` steps, and each example enters each
        batch with probability ``batch_size / n``, independently, as epsilon assumes; batches may
        be empty, and take their noise all the same. ``"shuffle"``: the batches of an ordinary fit,
        whose epsilon is not accounted for: none is reported.

    Notes
    -----
    Neighbouring data sets differ by one example that is added or removed; their size n counts as
    public. ``history.privacy`` counts the steps of one fit, and ``history.privacy.epsilon`` covers
    the weights that they made, and all that is made of these: every step that touched the weights,
    however the fit ended, those of an epoch that was broken off and those after the best epoch
    too. It does not cover several fits on the same data (they add up: of fits that are alike
    :meth:`epsilon` of the sum of their steps), the loss and metric that the history reports of the
    training data, nor any choice made by looking at held-out data.

    The noise comes from Philox4x32-10 (Salmon et al. 2011), a counter-based generator of good
    statistics that is **not cryptographic**: somebody who saw enough of the noise itself might
    recover its 64-bit key. It is made in the model's dtype from 31 (float32) or 52 (float64) random
    bits a radius, so it ends at 6.7 or 8.6 standard deviations, and its low bits are those of
    rounded numbers, not of the ideal distribution (Mironov 2012, "On significance of the least
    significant bits for differential privacy"). Where an adversary of such means is to be feared,
    use a library with a cryptographic generator.

    References
    ----------
    Abadi et al. 2016, "Deep learning with differential privacy"; Goodfellow 2015, "Efficient
    per-example gradient computations".

    Examples
    --------
    >>> import culpa
    >>> X, y, X_test, y_test = culpa.datasets.digits()
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(32, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> privacy = culpa.Privacy(noise_multiplier=1.0, max_grad_norm=1.0, delta=1e-4)
    >>> model.fit(X, y, epochs=2, privacy=privacy, verbose=False).epochs
    2
    """

    noise_multiplier: float
    max_grad_norm: float
    delta: float
    seed: int | None = None
    sampling: str = "poisson"

    def __post_init__(self) -> None:
        _checks.number("noise_multiplier", self.noise_multiplier, 0.0)
        _checks.number("max_grad_norm", self.max_grad_norm, 0.0, open_low=True)
        if not 0.0 < _checks.number("delta", self.delta) < 1.0:
            raise ValueError(
                f"delta: expected a number in (0, 1), got {_checks.describe(self.delta)}; well "
                "below one over the number of examples, such as 1e-5"
            )
        if self.seed is not None and _checks.integer("seed", self.seed, 0) >= 2**64:
            raise ValueError(f"seed: expected an integer below 2**64, got {self.seed!r}")
        _checks.choice("sampling", self.sampling, ("poisson", "shuffle"))

    def epsilon(self, steps: int, sample_rate: float, *, accountant: str = "pld") -> float:
        """Return epsilon after so many steps with Poisson sampling.

        Parameters
        ----------
        steps : int
            Batches trained on, at least 0.
        sample_rate : float
            Probability of an example to be in a batch, ``batch_size / n``; in (0, 1].
        accountant : {"pld", "rdp"}, default "pld"
            How steps are composed: by privacy loss distributions (Koskela et al. 2020), tight, some
            0.3 s a call; or by Renyi divergences (Mironov 2017), an upper bound, some 20 ms. The
            history's ``epsilon`` comes from the former on a coarser grid, which errs upwards, by
            some thousandths (hundredths below 0.01), and takes a few milliseconds an epoch.

        Returns
        -------
        float
            Infinite without noise.

        Raises
        ------
        ImportError
            Where ``dp-accounting`` is not installed (``pip install "culpa[privacy]"``).
        ValueError
            For ``sampling="shuffle"``, which the accountants do not know.
        """
        steps = _checks.integer("steps", steps, 0)
        _checks.number("sample_rate", sample_rate, 0.0, 1.0, open_low=True)
        _checks.choice("accountant", accountant, ACCOUNTANTS)
        if self.sampling != "poisson":
            raise ValueError(
                'sampling: expected "poisson" for an epsilon; batches of shuffled rows are not '
                "what it is computed for"
            )
        if steps == 0:
            return 0.0
        if self.noise_multiplier == 0.0:
            return math.inf
        try:
            import dp_accounting
            from dp_accounting import pld, rdp
        except ImportError as error:
            raise ImportError(
                'epsilon: expected dp-accounting; install it: pip install "culpa[privacy]"'
            ) from error
        event = dp_accounting.PoissonSampledDpEvent(
            float(sample_rate), dp_accounting.GaussianDpEvent(float(self.noise_multiplier))
        )
        chosen = pld.PLDAccountant() if accountant == "pld" else rdp.RdpAccountant(ORDERS)
        composed = chosen.compose(event, steps)
        return float(composed.get_epsilon(self.delta))

    def _seed(self) -> int:
        return int.from_bytes(os.urandom(8), "little") if self.seed is None else int(self.seed)


def check_privacy(
    privacy: Any, sample_weight: Any, class_weight: Any, clip_norm: Any, shuffle: Any
) -> None:
    """Raise where `fit` is asked for what privacy does not go with."""
    if not isinstance(privacy, Privacy):
        raise TypeError(
            "privacy: expected culpa.Privacy(noise_multiplier, max_grad_norm, delta), "
            f"got {_checks.describe(privacy)}"
        )
    others = {"sample_weight": sample_weight, "class_weight": class_weight, "clip_norm": clip_norm}
    for name, value in others.items():
        if value is not None:
            raise ValueError(
                f"{name}: expected None beside privacy, which bounds what each example counts; "
                "leave it out"
            )
    if not shuffle and privacy.sampling == "poisson":
        raise ValueError(
            "shuffle: expected True beside privacy with Poisson sampling, which draws each batch; "
            'leave it out, or use sampling="shuffle"'
        )


def check_examples(rows: Any) -> None:
    """Raise where an example is named more than once: it would count more than the noise hides."""
    named, counts = np.unique(rows, return_counts=True)
    most = int(counts.argmax())
    if counts[most] > 1:
        raise ValueError(
            "rows: expected each row once beside privacy, whose noise hides an example that counts "
            f"once in a batch, got row {named[most]} {counts[most]} times; use numpy.unique(rows)"
        )
