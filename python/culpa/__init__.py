"""Culpa trains dense neural networks on the CPU and can say who is to blame for a mistake.

>>> import culpa
>>> X, y, X_test, y_test = culpa.datasets.digits()
>>> model = culpa.Sequential(
...     [culpa.Dense(100, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
>>> history = model.fit(X, y, epochs=10, verbose=False)
>>> blame = model.blame(X_test, y_test)
>>> blame.nodes[0].shape  # the error signal of every hidden node, for every example
(360, 100)
"""

import importlib
from typing import TYPE_CHECKING, Any

# First: it refuses a subinterpreter, where loading NumPy would keep it from the main one.
from culpa._core import set_num_threads as _set_num_threads  # isort: split

from culpa import datasets
from culpa._version import __version__ as __version__
from culpa.answers.attribution import Attribution
from culpa.answers.blame import Blame
from culpa.answers.influence import Influence
from culpa.data.rounding import RoundingWarning
from culpa.machine.config import show_config
from culpa.machine.thread_limits import follow_threadpoolctl as _follow_threadpoolctl
from culpa.machine.thread_limits import watch_for_threadpoolctl as _watch_for_threadpoolctl
from culpa.machine.threads import default_threads as _default_threads
from culpa.machine.threads import get_num_threads, set_num_threads
from culpa.many import fit_many
from culpa.pages import page
from culpa.parts.activations import Activation
from culpa.parts.layers import Dense, Dropout, Scale
from culpa.parts.losses import (
    MAE,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    Gamma,
    Huber,
    Poisson,
    Quantile,
    Tweedie,
)
from culpa.parts.norm import LayerNorm
from culpa.parts.optimizers import SGD, Adam, AdamW, Lion, RMSprop
from culpa.parts.privacy import Privacy
from culpa.parts.residual import Residual
from culpa.parts.schedules import Constant, Cosine, ExponentialDecay, OneCycle, Schedule, StepDecay
from culpa.sequential import Sequential, load
from culpa.studies.forgetting import Forgetting
from culpa.studies.health import Diagnosis, HealthCheck, diagnose
from culpa.studies.label_errors import LabelError, LabelErrors, find_label_errors
from culpa.studies.scores import el2n, grand
from culpa.training.callbacks import Callback
from culpa.training.history import History
from culpa.training.stopping import EarlyStopping
from culpa.training.training import DivergedError

if TYPE_CHECKING:
    from culpa import plots


_set_num_threads(_default_threads())
_follow_threadpoolctl()
_watch_for_threadpoolctl()

__all__ = [
    "MAE",
    "MSE",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Attribution",
    "BinaryCrossEntropy",
    "Blame",
    "Callback",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "Dense",
    "Diagnosis",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "ExponentialDecay",
    "Forgetting",
    "Gamma",
    "HealthCheck",
    "History",
    "Huber",
    "Influence",
    "LabelError",
    "LabelErrors",
    "LayerNorm",
    "Lion",
    "OneCycle",
    "Poisson",
    "Privacy",
    "Quantile",
    "RMSprop",
    "Residual",
    "RoundingWarning",
    "Scale",
    "Schedule",
    "Sequential",
    "StepDecay",
    "Tweedie",
    "datasets",
    "diagnose",
    "el2n",
    "find_label_errors",
    "fit_many",
    "get_num_threads",
    "grand",
    "load",
    "page",
    "plots",
    "set_num_threads",
    "show_config",
]


def __getattr__(name: str) -> Any:
    """Import ``culpa.plots`` where it is first used."""
    if name == "plots":
        return importlib.import_module("culpa.plots")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
