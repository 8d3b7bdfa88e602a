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


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    if name.startswith("culpa.sklearn"):
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_every_public_name_has_a_docstring() -> None:
    for name in culpa.__all__:
        assert (getattr(culpa, name).__doc__ or "").strip(), name
