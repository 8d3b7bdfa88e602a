"""The history of a fit, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from culpa.training.accounting import Account

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """What a fit reported, per epoch: ``history["loss"]`` or ``history.loss``.

    Keys: ``loss``, the metric (``accuracy`` or ``r2``), with validation data ``val_loss`` and
    ``val_accuracy`` or ``val_r2``, ``learning_rate`` (the epoch's last), ``seconds`` (with
    validation) and ``examples_per_second`` (training alone); of private training ``epsilon``
    (of all steps of the fit so far, where ``dp-accounting`` is installed; the last one covers those
    of an epoch that was broken off, too). Loss and metric of the training data
    are means over the epoch, while the weights moved and with dropout on.

    Attributes
    ----------
    stopped : str or None
        Why training ended before its last epoch ("early stopping", "callback", "interrupted"), or
        None.
    best_epoch : int or None
        Index of the epoch with the best monitored value.
    privacy : Account or None
        Of private training: its ``steps`` and its ``epsilon``, also where no epoch was completed.
    """

    privacy: Account | None = None

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []  # whole rows: Ctrl-C can never leave a ragged one
        self.stopped: str | None = None
        self.best_epoch: int | None = None

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch."""
        self._rows.append(dict(row))

    def amend(self, values: Mapping[str, float]) -> None:
        """Put values in the place of the last epoch's."""
        self._rows[-1] = {**self._rows[-1], **values}

    def _keys(self) -> list[str]:
        rows = self.__dict__.get("_rows")
        return list(rows[0]) if rows else []

    def __getitem__(self, key: str) -> list[float]:
        if key not in self._keys():
            raise KeyError(f"history has {', '.join(self._keys()) or 'no epochs yet'}, not {key!r}")
        return [row[key] for row in self._rows]

    def __getattr__(self, key: str) -> list[float]:
        if key not in self._keys():
            raise AttributeError(
                f"history has {', '.join(self._keys()) or 'no epochs yet'}, not {key!r}"
            )
        return self[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self._rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v:.4g}" for k, v in self._rows[-1].items()) if self._rows else ""
        return f"<History of {self.epochs} epochs{': ' + last if last else ''}>"
