"""Labels of every kind: missing ones are one group, or are named with their rows."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import culpa
from culpa.data import labels

NAN = float("nan")
BIG = 2**60  # one more than that is another integer, but not another float64
N = 12
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 3)), np.arange(N) % 2


def twice(*values: Any) -> list[Any]:
    """Twelve labels, in the places of: b missing a missing b a."""
    return list(values) * 2


def as_objects(*values: Any) -> np.ndarray:
    array = np.empty(N, object)
    array[:] = twice(*values)
    return array


def blame() -> culpa.Blame:
    model = culpa.Sequential([culpa.Dense(2)], "cross_entropy", input_size=3)
    return model.blame(X, Y, want=("losses",))


def groups_are_those_of_the_places(by: Any) -> culpa.Groups:
    """Three groups of four: a, b, and the missing ones, which come last."""
    answer = blame()
    groups = answer.groups(by)
    assert groups.counts.tolist() == [4, 4, 4]
    places = np.array([1, 2, 0, 2, 1, 0] * 2)
    for place in range(3):
        mean = answer.losses[places == place].mean()
        assert groups.means.losses[place] == pytest.approx(mean, rel=1e-12)
    assert [labels.is_missing(label) for label in groups.labels] == [False, False, True]
    return groups


# --- Missing labels are one group ----------------------------------------------------------------

DATES = [datetime.datetime(2024, 3, day) for day in (1, 2)]
NUMPY: dict[str, Callable[[], Any]] = {
    "a list with None": lambda: twice("b", None, "a", None, "b", "a"),
    "a list of strings with NaN": lambda: twice("b", NAN, "a", NAN, "b", "a"),
    "a list with both": lambda: twice(2, NAN, 1, None, 2, 1),
    "a list of large integers": lambda: twice(BIG + 1, NAN, BIG, NAN, BIG + 1, BIG),
    "a tuple": lambda: tuple(twice(2, None, 1, None, 2, 1)),
    "objects with None": lambda: as_objects("b", None, "a", None, "b", "a"),
    "objects with NaN": lambda: as_objects(1.0, NAN, 0.5, np.float64("nan"), 1.0, 0.5),
    "objects with NaT": lambda: as_objects(
        DATES[1], np.datetime64("NaT"), DATES[0], None, *DATES[::-1]
    ),
    "decimals": lambda: as_objects(*map(Decimal, ("2", "NaN", "1", "sNaN", "2", "1"))),
    "a mask": lambda: np.ma.array(twice(2, 7, 1, 8, 2, 1), mask=twice(0, 1, 0, 1, 0, 0)),
    "strings with a missing value": lambda: np.array(
        twice("b", NAN, "a", NAN, "b", "a"), np.dtypes.StringDType(na_object=NAN)
    ),
}


@pytest.mark.parametrize("kind", NUMPY)
def test_missing_labels_are_one_group_named_none(kind: str) -> None:
    assert groups_are_those_of_the_places(NUMPY[kind]()).labels[-1] is None


def test_missing_labels_keep_their_name_where_the_dtype_has_one() -> None:
    floats = groups_are_those_of_the_places(np.array(twice(1.0, NAN, 0.5, NAN, 1.0, 0.5)))
    assert floats.labels.dtype == np.float64
    days = np.array(twice("2024-03-02", "NaT", "2024-03-01", "NaT", "2024-03-02", "2024-03-01"))
    dates = groups_are_those_of_the_places(days.astype("datetime64[D]"))
    assert np.isnat(dates.labels[-1])


def test_the_text_nan_is_a_label() -> None:
    groups = blame().groups(twice("b", "nan", "a", "nan", "b", "a"))
    assert groups.labels.tolist() == ["a", "b", "nan"]


def test_all_labels_may_be_missing() -> None:
    groups = blame().groups([None] * N)
    assert (groups.labels.tolist(), groups.counts.tolist()) == ([None], [N])


PANDAS: dict[str, Callable[[Any], Any]] = {
    "time zone": lambda pd: pd.Series(
        pd.to_datetime(twice("2024-03-02", None, "2024-03-01", None, "2024-03-02", "2024-03-01"))
    ).dt.tz_localize("UTC"),
    "timestamps as objects": lambda pd: as_objects(
        *(pd.Timestamp(f"2024-03-0{d}") if d else pd.NaT for d in (2, 0, 1, 0, 2, 1))
    ),
    "NA as object": lambda pd: as_objects("b", pd.NA, "a", pd.NaT, "b", "a"),
    "Int64": lambda pd: pd.Series(twice(2, None, 1, None, 2, 1), dtype="Int64"),
    "large Int64": lambda pd: pd.Series(
        twice(BIG + 1, None, BIG, None, BIG + 1, BIG), dtype="Int64"
    ),
    "boolean": lambda pd: pd.Series(twice(True, None, False, None, True, False), dtype="boolean"),
    "string": lambda pd: pd.Series(twice("b", None, "a", None, "b", "a"), dtype="string"),
    "str": lambda pd: pd.Series(twice("b", None, "a", None, "b", "a")),
    "categories": lambda pd: pd.Series(twice("b", None, "a", None, "b", "a"), dtype="category"),
    "intervals": lambda pd: pd.cut(np.array(twice(2, NAN, 1, NAN, 2, 1)), 2),
    "periods": lambda pd: pd.PeriodIndex(
        twice("2024-03", "NaT", "2024-01", "NaT", "2024-03", "2024-01"), freq="M"
    ),
}


@pytest.mark.parametrize("kind", PANDAS)
def test_missing_labels_of_pandas_are_one_group(kind: str) -> None:
    pd = pytest.importorskip("pandas", reason="labels of pandas")
    groups = groups_are_those_of_the_places(PANDAS[kind](pd))
    if kind == "large Int64":
        assert groups.labels.tolist() == [BIG, BIG + 1, None]


POLARS: dict[str, Callable[[Any], Any]] = {
    "Int64": lambda pl: pl.Series(twice(2, None, 1, None, 2, 1)),
    "large Int64": lambda pl: pl.Series(twice(BIG + 1, None, BIG, None, BIG + 1, BIG)),
    "Boolean": lambda pl: pl.Series(twice(True, None, False, None, True, False)),
    "String": lambda pl: pl.Series(twice("b", None, "a", None, "b", "a")),
    "Categorical": lambda pl: pl.Series(
        twice("b", None, "a", None, "b", "a"), dtype=pl.Categorical
    ),
    "null beside NaN": lambda pl: pl.Series(twice(2.0, None, 1.0, NAN, 2.0, 1.0)),
    "Datetime": lambda pl: pl.Series(twice(DATES[1], None, DATES[0], None, *DATES[::-1])),
}


@pytest.mark.parametrize("kind", POLARS)
def test_missing_labels_of_polars_are_one_group(kind: str) -> None:
    pl = pytest.importorskip("polars", reason="labels of polars")
    groups = groups_are_those_of_the_places(POLARS[kind](pl))
    if kind == "large Int64":
        assert groups.labels.tolist() == [BIG, BIG + 1, None]


@pytest.mark.parametrize(
    "by",
    [
        twice(1, None, "a", None, 1, "a"),
        as_objects(1, "n", "a", "n", 1, "a"),
        as_objects(*map(frozenset, ("a", "b", "c", "b", "a", "c"))),
        as_objects((1, NAN), (0, 1), (1, float("nan")), (0, 1), (1, NAN), (2, 0)),
    ],
    ids=["missing among several kinds", "several kinds", "sets", "tuples with NaN"],
)
def test_labels_without_an_order_are_refused(by: Any) -> None:
    with pytest.raises(TypeError, match=r"by: expected labels of one kind.*turn them into strings"):
        blame().groups(by)


def test_several_labels_in_a_row_are_no_group() -> None:
    with pytest.raises(ValueError, match=r"group by one label at a time, such as by\[:, 0\]"):
        blame().groups(RNG.integers(0, 2, (N, 3)))


# --- Missing labels are named with their rows ----------------------------------------------------


class Constant:
    """Guesses two classes as likely as each other."""

    def fit(self, X: Any, y: Any) -> Constant:
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.full((len(X), 2), 0.5)


@pytest.mark.parametrize("kind", NUMPY)
def test_label_errors_say_which_labels_are_missing(kind: str) -> None:
    message = "y: expected a label in every row, got .* in rows 1, 3, 7 and 9; drop such rows or"
    with pytest.raises(ValueError, match=message):
        culpa.find_label_errors(Constant(), X, NUMPY[kind](), folds=2)


@pytest.mark.parametrize("kind", PANDAS)
def test_label_errors_say_which_labels_of_pandas_are_missing(kind: str) -> None:
    pd = pytest.importorskip("pandas", reason="labels of pandas")
    with pytest.raises(ValueError, match=r"y: expected a label .* in rows 1, 3, 7 and 9; drop"):
        culpa.find_label_errors(Constant(), X, PANDAS[kind](pd), folds=2)


def test_an_error_names_a_few_rows_alone() -> None:
    with pytest.raises(ValueError, match="got nan in row 7; drop"):
        culpa.find_label_errors(Constant(), X, np.where(np.arange(N) == 7, NAN, Y), folds=2)
    with pytest.raises(ValueError, match="got None in rows 0, 1, 2, 3, 4 and 6 more; drop"):
        culpa.find_label_errors(Constant(), X, [*[None] * (N - 1), "a"], folds=2)


MISSING_CLASSES = {
    "NaN": np.where(Y == 1, NAN, Y),
    "None": np.where(Y == 1, None, Y),
    "NaN in a list": [NAN if y else 0 for y in Y],
    "None in a list": [None if y else 0 for y in Y],
    "None among words": [None if y else "cat" for y in Y],
}
ASKED = {
    "fit": lambda model, y: model.fit(X, y, verbose=False),
    "evaluate": lambda model, y: model.evaluate(X, y),
    "blame": lambda model, y: model.blame(X, y),
    "find_label_errors": lambda model, y: culpa.find_label_errors(model, X, y),
}


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("kind", MISSING_CLASSES)
def test_missing_classes_are_named_with_their_rows(kind: str, ask: str) -> None:
    model = culpa.Sequential([culpa.Dense(2)], "cross_entropy", input_size=3)
    message = "y: expected a label in every row, got (nan|None) in rows 1, 3, 5, 7, 9 and 1 more;"
    with pytest.raises(ValueError, match=message) as caught:
        ASKED[ask](model, MISSING_CLASSES[kind])
    assert "astype" not in str(caught.value)


def test_missing_classes_of_frames_are_named_with_their_rows() -> None:
    pd = pytest.importorskip("pandas", reason="labels of pandas")
    model = culpa.Sequential([culpa.Dense(2)], "cross_entropy")
    for dtype in ("Int64", "boolean", "Float64"):
        y = pd.Series(Y, dtype=dtype).mask(Y == 1)
        with pytest.raises(ValueError, match=r"y: expected a label .* in rows 1, 3, 5, 7, 9 and 1"):
            model.fit(X, y, verbose=False)
    assert model.input_size is None


def test_missing_numbers_are_named_with_their_rows() -> None:
    model = culpa.Sequential([culpa.Dense(1)], "mse")
    with pytest.raises(ValueError, match=r"y: expected a number in every row, got None in rows 1,"):
        model.fit(X, np.where(Y == 1, None, 1.5), verbose=False)
    both = np.full((N, 2), 1.5, object)
    both[4, 1] = None
    with pytest.raises(ValueError, match="got None in row 4; drop"):
        culpa.Sequential([culpa.Dense(2)], "mse").fit(X, both, verbose=False)


# --- Label errors: labels that are objects, and several labels in a row --------------------------


@pytest.mark.parametrize(
    ("y", "shown"),
    [
        (["cat", "dog"] * 5 + ["emu", "cat"], "'emu'"),
        (np.array(["cat", "dog"] * 5 + ["emu", "cat"], object), "'emu'"),
        (np.array([Decimal(1), Decimal(2)] * 5 + [Decimal(3), Decimal(1)], object), "Decimal"),
        (np.array([1.0, 2.0] * 5 + [3.0, 1.0]), "3.0"),
    ],
)
def test_a_class_of_one_row_is_named_whatever_labels_are(y: Any, shown: str) -> None:
    with pytest.raises(ValueError, match=f"y: expected at least 2 rows of each.*got 1 of {shown}"):
        culpa.find_label_errors(Constant(), X, y, folds=2)


@pytest.mark.parametrize("dtype", [None, "category", "string"])
def test_a_class_of_one_row_is_named_where_labels_are_those_of_pandas(dtype: str | None) -> None:
    pd = pytest.importorskip("pandas", reason="labels of pandas")
    y = pd.Series(["cat", "dog"] * 5 + ["emu", "cat"], dtype=dtype)
    with pytest.raises(ValueError, match=r"y: expected at least 2 rows of each.*got 1 of 'emu'"):
        culpa.find_label_errors(Constant(), X, y, folds=2)


SEVERAL = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]] * 4)


@pytest.mark.parametrize(
    "model",
    [
        Constant(),
        culpa.Sequential([culpa.Dense(3)], "cross_entropy"),
        culpa.Sequential([culpa.Dense(1)], "binary_cross_entropy"),
    ],
    ids=["estimator", "classes", "one output"],
)
@pytest.mark.parametrize("kind", ["integers", "floats", "booleans", "list", "objects"])
def test_several_labels_in_a_row_need_a_model_each(model: Any, kind: str) -> None:
    kinds: dict[str, Any] = {
        "integers": SEVERAL,
        "floats": SEVERAL.astype(float),
        "booleans": SEVERAL > 0,
        "list": SEVERAL.tolist(),
        "objects": SEVERAL.astype(object),
    }
    with pytest.raises(ValueError, match=r"several.*with a model per output: y") as caught:
        culpa.find_label_errors(model, X, kinds[kind], folds=2)
    assert "argmax" not in str(caught.value)


def test_sparse_labels_need_a_model_each() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="sparse labels of SciPy")
    for model in (Constant(), culpa.Sequential([culpa.Dense(3)], "cross_entropy")):
        with pytest.raises(ValueError, match="with a model per output: y"):
            culpa.find_label_errors(model, X, sparse.csr_array(SEVERAL), folds=2)


# --- Frames keep their names ---------------------------------------------------------------------


class Named(Constant):
    """Wants the columns by name, as scikit-learn's column transformers do."""

    def fit(self, X: Any, y: Any) -> Named:
        assert list(X.columns) == ["a", "b", "c"]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        assert list(X.columns) == ["a", "b", "c"]
        return super().predict_proba(X)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_estimators_get_frames_with_their_names(kind: str) -> None:
    frames = pytest.importorskip(kind, reason=f"frames of {kind}")
    table = frames.DataFrame({name: X[:, i] for i, name in enumerate("abc")})
    errors = culpa.find_label_errors(Named(), table, Y, folds=3)
    assert sorted(errors.ranking.tolist()) == list(range(N))
    words = frames.Series(np.array(["ant", "bee"])[Y].tolist())
    frame = culpa.find_label_errors(Named(), table, words, folds=3).to_frame(kind)
    assert set(frame["label"]) == {"ant", "bee"}


# --- Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("ant", "bee"), ("0", "1")])
def test_a_csv_file_without_a_label_in_a_row_is_refused(
    words: tuple[str, str], tmp_path: Path
) -> None:
    from culpa.pages import readers

    path = tmp_path / "table.csv"
    path.write_text("height,kind\n" + "".join(f"1,{word}\n" for word in [*words, "", *words]))
    message = "data: column 'kind': expected a label in every row, got None in row 2; drop"
    with pytest.raises(ValueError, match=message):
        readers.read_table(str(path), culpa.CrossEntropy(), 2)
