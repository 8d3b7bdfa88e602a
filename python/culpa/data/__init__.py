"""Data on their way in: checked completely before anything is touched, and not copied."""

from culpa.data.arrays import (
    as_array,
    as_rows,
    check_dense,
    check_finite,
    check_x,
    dense,
    for_core,
    not_finite,
    refuse_sparse,
)
from culpa.data.targets import (
    Targets,
    check_targets,
    check_trained,
    check_weights,
    class_weights,
)

__all__ = [
    "Targets",
    "as_array",
    "as_rows",
    "check_dense",
    "check_finite",
    "check_targets",
    "check_trained",
    "check_weights",
    "check_x",
    "class_weights",
    "dense",
    "for_core",
    "not_finite",
    "refuse_sparse",
]
