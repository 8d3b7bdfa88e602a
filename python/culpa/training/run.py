"""Fits: trainings worked through chunk by chunk, with nothing left behind where one breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from culpa import _core
from culpa.data import rounding
from culpa.network.network import Network
from culpa.training.history import History
from culpa.training.options import Options
from culpa.training.training import CHUNK_SECONDS, MOST_ROWS, Training

__all__ = ["fit", "fit_side_by_side"]


def fit(network: Network, model: Any, X: Any, y: Any, options: Options) -> History:
    """Train a network; `model` is its face, which callbacks see."""
    with _core.claim([network.claim], "fit", trains=True), rounding.once():
        return run(Training(network, model, X, y, options))


def fit_side_by_side(
    networks: Sequence[Network], models: Sequence[Any], X: Any, y: Any, options: Sequence[Options]
) -> list[History]:
    """Train several networks on the same data at once."""
    claims = [network.claim for network in networks]
    with _core.claim(claims, "fit_many", trains=True), rounding.once():
        return run_side_by_side(
            [
                Training(network, model, X, y, own)
                for network, model, own in zip(networks, models, options, strict=True)
            ]
        )


def run(training: Training) -> History:
    """Work through a training's chunks."""
    try:
        training.begin()
        while (job := training.next_job(CHUNK_SECONDS)) is not None:
            training.take_result(training.core.train(job))
    except KeyboardInterrupt:
        training.history.stopped = "interrupted"
        raise
    except (RuntimeError, MemoryError):
        training.take_back()
        raise
    else:
        return training.finish()
    finally:
        training.close()


def run_side_by_side(trainings: Sequence[Training]) -> list[History]:
    """Work through the chunks of several trainings at once."""
    most_rows = MOST_ROWS // len(trainings)
    with ExitStack() as begun:
        try:
            for training in trainings:
                begun.callback(training.close)
                training.begin()
            while jobs := [
                (training, job)
                for training in trainings
                if (job := training.next_job(CHUNK_SECONDS, most_rows)) is not None
            ]:
                cores: list[Any] = [training.core for training, _ in jobs]
                results = _core.train_side_by_side(cores, [job for _, job in jobs])
                # What raises comes last: the others have done their steps, too.
                failed = ("diverged", "not_finite")
                for (training, _), result in sorted(
                    zip(jobs, results, strict=True), key=lambda pair: pair[1][1] in failed
                ):
                    training.take_result(result)
        except KeyboardInterrupt:
            for training in trainings:
                training.history.stopped = "interrupted"
            raise
        except (RuntimeError, MemoryError):
            for training in trainings:
                training.take_back()
            raise
        return [training.finish() for training in trainings]
