"""How strong the error signals are, layer by layer, while a network trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from culpa import _checks
from culpa.plots import _style
from culpa.studies.health.healthcheck import HealthCheck

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["signals"]

LINE_HEIGHT = 1.5  # of a label, in font sizes


def signals(health_check: HealthCheck, *, ax: Axes | None = None) -> Axes:
    """Draw the norm of each layer's error signals over the epochs, on a logarithmic scale.

    Lines close together mean that mistakes reach all layers alike; a line far below the others is
    a layer that hardly learns.

    Parameters
    ----------
    health_check : HealthCheck
        After a fit with it.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        Where matplotlib is not installed.
    ValueError, TypeError
        Where an argument is not as described, or no epoch was looked at.

    Examples
    --------
    >>> import culpa
    >>> X, y, _, _ = culpa.datasets.digits()
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(32, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> check = culpa.HealthCheck()
    >>> history = model.fit(X, y, epochs=5, callbacks=check, verbose=False)
    >>> ax = culpa.plots.signals(check)
    >>> ax.get_yscale()
    'log'
    """
    if not isinstance(health_check, HealthCheck):
        raise TypeError(
            "health_check: expected a culpa.HealthCheck that fit was given, got "
            f"{_checks.describe(health_check)}"
        )
    norms = health_check.signal_norms
    if not len(norms):
        raise ValueError(
            "health_check: expected at least one epoch looked at, got none; pass it to fit as "
            "callbacks= first"
        )
    height = max(3.6, 0.21 * norms.shape[1] + 1.2)
    ax = _style.axes(ax, 7.2, height)
    epochs = np.array(health_check.epochs) + 1
    shown = np.where((norms > 0) & np.isfinite(norms), norms, np.nan)
    colours = _depth_colours(norms.shape[1])
    ax.set_yscale("log")
    for values, colour in zip(shown.T, colours, strict=True):
        marker = "o" if len(epochs) == 1 else None
        ax.plot(epochs, values, color=colour, linewidth=1.8, marker=marker, markersize=5)
    ax.set_title(
        "How strongly mistakes are felt in each layer",
        loc="left",
        fontsize=_style.TITLE,
        color=_style.INK,
        pad=12,
    )
    ax.set_xlabel("epoch", color=_style.QUIET, fontsize=_style.TEXT)
    ax.set_ylabel("norm of the error signal (RMS)", color=_style.QUIET, fontsize=_style.TEXT)
    ax.tick_params(labelsize=_style.SMALL, colors=_style.QUIET, which="both")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(_style.PALE)
    ax.grid(axis="y", color=_style.PALE, linewidth=0.6, alpha=0.7)
    _whole_epochs(ax, epochs)
    _plain_powers(ax, shown)
    _label_ends(ax, epochs, shown, list(health_check.layer_names), colours)
    return ax


def _depth_colours(layers: int) -> list[Any]:
    """Return a colour per layer: dark near the inputs, light near the outputs."""
    _style.matplotlib()
    from matplotlib import colormaps

    return [colormaps["viridis"](x) for x in np.linspace(0.05, 0.78, layers)]


def _whole_epochs(ax: Axes, epochs: NDArray[np.int64]) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    if len(epochs) == 1:
        ax.set_xlim(epochs[0] - 0.5, epochs[0] + 0.1)
        ax.set_xticks(epochs)
    else:
        ax.set_xlim(epochs[0], epochs[-1])


def _plain_powers(ax: Axes, values: NDArray[np.float64]) -> None:
    """Write 0.02 rather than 2 x 10^-2, on a scale of at least a factor of 4."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    logs = np.log10(values[np.isfinite(values)]) if np.isfinite(values).any() else np.zeros(1)
    low, high = float(logs.min()), float(logs.max())
    margin = max(0.06 * (high - low), (np.log10(4.0) - (high - low)) / 2.0)
    ax.set_ylim(10.0 ** (low - margin), 10.0 ** (high + margin))
    decades = high - low + 2.0 * margin
    subs: tuple[float, ...] = (
        (1.0, 2.0, 5.0) if decades > 1.0 else (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    if decades > 2.5:
        subs = (1.0,)
    ax.yaxis.set_major_locator(LogLocator(10.0, subs, numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _label_ends(
    ax: Axes,
    epochs: NDArray[np.int64],
    values: NDArray[np.float64],
    names: list[str],
    colours: list[Any],
) -> None:
    """Write each layer's name beside the end of its line, moved apart where they would touch."""
    known = [i for i in range(len(names)) if np.isfinite(values[:, i]).any()]
    if not known:
        ax.text(
            0.5,
            0.5,
            "no error signal in any layer",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=_style.QUIET,
            fontsize=_style.TEXT,
        )
        return
    inches = ax.get_position().height * ax.get_figure(root=True).get_size_inches()[1]
    gap = _style.SMALL * LINE_HEIGHT / 72 / inches
    most = max(2, int(1.1 / gap) + 1)  # names that there is room for
    if len(known) > most:
        known = [known[i] for i in np.linspace(0, len(known) - 1, most).round().astype(int)]
    lasts = [int(np.flatnonzero(np.isfinite(values[:, i]))[-1]) for i in known]
    ends = np.array([values[last, i] for last, i in zip(lasts, known, strict=True)])
    low, high = np.log10(ax.get_ylim())
    heights = _spread((np.log10(ends) - low) / (high - low), gap)
    for i, last, end, height in zip(known, lasts, ends, heights, strict=True):
        ax.annotate(
            names[i],
            xy=(float(epochs[last]), end),
            xytext=(1.035, height),
            textcoords="axes fraction",
            va="center",
            ha="left",
            fontsize=_style.SMALL,
            color=colours[i],
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[i], "linewidth": 0.6, "shrinkB": 0},
            parse_math=False,
        )


def _spread(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Return heights at least `gap` apart, each as near to the wanted one as the others allow.

    Blocks of labels that would touch are centred together (pool adjacent violators).
    """
    order = np.argsort(wanted, kind="stable")
    blocks: list[list[float]] = []  # sum of (wanted - offset in the block's own frame), count
    for at, i in enumerate(order):
        blocks.append([float(wanted[i]) - at * gap, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    placed = np.repeat([b[0] / b[1] for b in blocks], [int(b[1]) for b in blocks])
    heights = np.empty(len(wanted))
    heights[order] = placed + gap * np.arange(len(wanted))
    return heights
