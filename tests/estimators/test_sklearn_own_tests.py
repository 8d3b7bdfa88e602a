"""scikit-learn's own tests of its perceptrons, on ours: its source with one import changed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
OURS = "from culpa.sklearn import MLPClassifier, MLPRegressor"

spec = importlib.util.find_spec("sklearn.neural_network")
assert spec is not None
assert spec.origin is not None
path = Path(spec.origin).parent / "tests" / "test_mlp.py"
if not path.exists():
    pytest.skip("scikit-learn is installed without its tests", allow_module_level=True)
source = path.read_text(encoding="utf-8")
assert source.count(THEIRS) == 1

names: dict[str, object] = {"__name__": __name__}
exec(compile(source.replace(THEIRS, OURS), str(path), "exec"), names)

pytestmark = [
    # They leave open which of their fits converge.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


globals().update({name: value for name, value in names.items() if name.startswith("test_")})


@pytest.fixture
def global_random_seed() -> int:
    return 42


def test_their_estimators_are_ours() -> None:
    assert all(
        getattr(names[name], "__module__", "").startswith("culpa.")
        for name in ("MLPClassifier", "MLPRegressor")
    )
