"""Every example in a public docstring runs and gives what it shows."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import culpa

MODULES = ["culpa"] + [
    f"culpa.{info.name}"
    for info in pkgutil.iter_modules(culpa.__path__)
    if info.name not in ("_core", "cli", "demo")
]
MODULES += ["culpa.bench.table", "culpa.sklearn.estimators"]
PLOTS = [f"culpa.plots._{name}" for name in ("examples", "inputs", "network", "signals")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    if name.startswith("culpa.sklearn"):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("name", PLOTS)
def test_examples_of_pictures_run(name: str) -> None:
    plt = pytest.importorskip(
        "matplotlib.pyplot", reason="matplotlib is not installed: culpa's plots extra"
    )
    plt.switch_backend("Agg")
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    plt.close("all")
    assert (failed, attempted > 0) == (0, True)


def test_every_public_name_has_a_docstring() -> None:
    for name in culpa.__all__:
        assert (getattr(culpa, name).__doc__ or "").strip(), name
