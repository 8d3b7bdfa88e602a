"""Estimators for scikit-learn users: change one import, and fits get faster.

``from culpa.sklearn import MLPClassifier, MLPRegressor`` replaces ``from sklearn.neural_network
import ...``: the same parameters, methods and attributes with the same meaning, and one
random_state gives the same weights but for rounding. More than scikit-learn has comes as keyword
parameters, whose defaults change nothing. Needs scikit-learn 1.9: ``pip install "culpa[sklearn]"``.
"""

try:
    import sklearn
except ImportError:
    raise ImportError(
        'culpa.sklearn needs scikit-learn 1.9; install it with pip install "culpa[sklearn]"'
    ) from None
if sklearn.__version__.split(".")[:2] != ["1", "9"]:
    # The estimators replace private parts of scikit-learn's, which change from release to release.
    raise ImportError(
        f"culpa.sklearn needs scikit-learn 1.9, got {sklearn.__version__}; install it with "
        'pip install "culpa[sklearn]"'
    )

from culpa.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
