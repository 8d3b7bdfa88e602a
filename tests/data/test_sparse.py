"""Sparse inputs: what CSR rows give is what the same rows give as a dense array.

The products and norms of sparse rows leave out the terms that are zero and keep the order of the
others, so the answers have the same bits.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import culpa
import helpers
import reference
from culpa import Dense, Dropout, _core, data
from culpa.answers.blame import QUANTITIES
from culpa.data.sparse import SparseRows
from culpa.training.training import Training

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

PLANS = [(1, "rows"), (2, "rows"), (3, "rows"), (2, "columns"), (3, "columns")]


def draw(
    rows: int, columns: int, density: float, seed: int = 0, dtype: Any = np.float64
) -> np.ndarray:
    """A dense array of small numbers, most of them zero, with an empty row and an empty column."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-8, 9, (rows, columns)) if np.dtype(dtype).kind != "b" else None
    X = rng.random((rows, columns)) < 0.5 if X is None else X
    X = np.where(rng.random((rows, columns)) < density, X, 0)
    if rows > 2:
        X[rows // 2] = 0
    if columns > 2:
        X[:, columns // 3] = 0
    if np.dtype(dtype).kind == "f":
        return np.asarray(X * 0.37, dtype)
    return np.abs(X).astype(dtype) if np.dtype(dtype).kind == "u" else X.astype(dtype)


def labels(rows: int, classes: int = 7) -> np.ndarray:
    return np.random.default_rng(1).integers(0, classes, rows)


def model_for(
    inputs: int,
    dtype: str = "float64",
    widths: tuple[int, ...] = (19, 7),
    rates: tuple[float, ...] = (),
    **options: Any,
) -> culpa.Sequential:
    layers: list[Dense | Dropout] = []
    for i, width in enumerate(widths):
        if i < len(rates) and rates[i]:
            layers.append(Dropout(rates[i]))
        layers.append(Dense(width, "relu" if i + 1 < len(widths) else "identity"))
    options = {"input_scale": 0.75, "seed": 3, **options}
    return culpa.Sequential(
        layers, options.pop("loss", "cross_entropy"), input_size=inputs, dtype=dtype, **options
    )


def same_training(X: Any, dense: np.ndarray, make: Callable[[], culpa.Sequential], **fit: Any):
    """Train on both; the weights have the same bits, the histories the same numbers."""
    y = fit.pop("y", labels(dense.shape[0]))
    fit = {"epochs": 2, "verbose": False, **fit}
    one, two = make(), make()
    got, want = one.fit(X, y, **fit), two.fit(dense, y, **fit)
    assert helpers.parameter_bytes(one) == helpers.parameter_bytes(two)
    assert helpers.parameter_bytes(one) != helpers.parameter_bytes(make())
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-12)
    return one, got, want


# --- The same answers as dense rows --------------------------------------------------------------


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("density", [0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (3, 1), (1, 40), (2, 33), (61, 16), (150, 700), (40, 5000)]
)
def test_every_answer_is_that_of_dense_rows(
    rows: int, columns: int, density: float, dtype: str
) -> None:
    dense = draw(rows, columns, density, seed=rows)
    X, y = sparse.csr_array(dense), labels(rows)
    model = model_for(columns, dtype)
    for name in ("predict", "predict_logits", "predict_proba"):
        np.testing.assert_array_equal(getattr(model, name)(X), getattr(model, name)(dense))
    assert model.evaluate(X, y) == model.evaluate(dense, y)
    weight = np.random.default_rng(2).uniform(0.5, 2, rows)
    got, want = (model.blame(x, y, sample_weight=weight, want=QUANTITIES) for x in (X, dense))
    np.testing.assert_array_equal(got.losses, want.losses)
    np.testing.assert_array_equal(got.inputs, want.inputs)
    assert isinstance(got.inputs, np.ndarray)
    for name in ("nodes", "weights", "biases", "hidden", "slopes"):
        for a, b in zip(getattr(got, name), getattr(want, name), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(got.gradient_norms, want.gradient_norms)
    loss, gradients = model.loss_and_gradients(X, y)
    dense_loss, dense_gradients = model.loss_and_gradients(dense, y)
    assert loss == pytest.approx(dense_loss, rel=1e-14)
    for key, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, dense_gradients[key])


@dataclasses.dataclass
class SparseProblem(helpers.Problem):
    """A problem whose X most of the model's calls see as a sparse matrix."""

    @functools.cached_property
    def walk(self) -> reference.Walk:
        walk = reference.backpropagate(
            self.parameters,
            self.X.toarray() * self.model.input_scale,
            self.y,
            self.activations,
            self.case.loss.name,
            self.case.options,
            self.alphas,
            self.sample_weight,
        )
        return dataclasses.replace(walk, inputs=walk.inputs * self.model.input_scale)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_blame_is_the_oracles(case: helpers.LossCase, dtype: str) -> None:
    dense = helpers.make_problem((37, 21, 5), ["tanh", "identity"], case, 23, dtype, weighted=True)
    # The oracle's numbers for the same problem with most inputs left out.
    rng = np.random.default_rng(5)
    X = np.where(rng.random(dense.X.shape) < 0.3, dense.X, 0.0)
    X[3] = 0.0
    problem = SparseProblem(
        **{**dataclasses.asdict(dense), "model": dense.model, "case": case, "X": X}
    )
    problem.parameters = dense.parameters
    problem.X = sparse.csr_matrix(X)
    helpers.assert_all_blame_agrees(problem)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("rates", [(), (0.4,), (0.0, 0.3), (0.4, 0.3)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_training_has_the_bits_of_dense_rows(
    dtype: str, rates: tuple[float, ...], batch_size: int
) -> None:
    dense = draw(64, 90, 0.1)
    make = functools.partial(model_for, 90, dtype, rates=rates)
    same_training(sparse.csr_array(dense), dense, make, batch_size=batch_size)


OPTIMIZERS = [
    culpa.SGD(0.05),
    culpa.SGD(0.05, momentum=0.9, nesterov=True),
    culpa.Adam(1e-2, weight_decay=1e-3),
    culpa.AdamW(1e-2),
    culpa.RMSprop(1e-3),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_every_optimizer(optimizer: Any) -> None:
    """Weights that no entry touches decay, and their moments, as with dense rows."""
    dense = draw(50, 300, 0.01)
    make = functools.partial(model_for, 300)
    same_training(sparse.csr_array(dense), dense, make, batch_size=8, optimizer=optimizer)


@pytest.mark.parametrize("widths", [(7,), (1, 7), (33, 7), (600, 7), (64, 530, 7)], ids=str)
def test_layers_of_every_width(widths: tuple[int, ...]) -> None:
    """One layer alone, one unit, several units of the weight phase."""
    dense = draw(33, 70, 0.15)
    make = functools.partial(model_for, 70, "float32", widths=widths)
    same_training(sparse.csr_array(dense), dense, make, batch_size=16)


@pytest.mark.parametrize("loss", ["mse", "huber", "poisson"])
def test_regression(loss: str) -> None:
    dense = draw(60, 50, 0.2)
    y = np.abs(np.random.default_rng(0).normal(size=(60, 3)))
    make = functools.partial(model_for, 50, widths=(9, 3), loss=loss)
    model, _, _ = same_training(sparse.csr_array(dense), dense, make, y=y)
    assert model.evaluate(sparse.csr_array(dense), y) == model.evaluate(dense, y)


def test_an_activation_that_keeps_its_slopes() -> None:
    dense = draw(40, 60, 0.2)

    def make() -> culpa.Sequential:
        return culpa.Sequential(
            [Dense(20, "gelu"), Dense(7)], "cross_entropy", input_size=60, dtype="float64"
        )

    same_training(sparse.csr_array(dense), dense, make)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 60),
    columns=st.sampled_from([1, 2, 15, 16, 17, 33, 64, 257, 1000]),
    density=st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.5]),
    width=st.sampled_from([1, 7, 16, 33, 100, 515]),
    batch_size=st.integers(1, 60),
    dtype=st.sampled_from(helpers.DTYPES),
    rate=st.sampled_from([0.0, 0.3]),
    clip_norm=st.sampled_from([None, 0.01]),
    wide=st.booleans(),
    plan=st.sampled_from(PLANS),
    seed=st.integers(0, 1000),
)
def test_any_shape_on_any_plan_has_the_bits_of_dense_rows(
    rows: int,
    columns: int,
    density: float,
    width: int,
    batch_size: int,
    dtype: str,
    rate: float,
    clip_norm: float | None,
    wide: bool,
    plan: tuple[int, str],
    seed: int,
) -> None:
    dense = draw(rows, columns, density, seed)
    X = sparse.csr_array(dense)
    if wide:
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    y = labels(rows)
    options = {
        "epochs": 1, "batch_size": batch_size, "clip_norm": clip_norm, "verbose": False,
    }  # fmt: skip
    one, two = (model_for(columns, dtype, (width, 7), (rate,)) for _ in range(2))
    with helpers.plan(1):
        two.fit(dense, y, **options)
    with helpers.plan(*plan):
        one.fit(X, y, **options)
        assert helpers.parameter_bytes(one) == helpers.parameter_bytes(two)
        np.testing.assert_array_equal(one.predict_logits(X), two.predict_logits(dense))


# --- Forms of a sparse matrix --------------------------------------------------------------------


FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_means_the_same(form: str, kind: str) -> None:
    dense = draw(30, 24, 0.2)
    X = getattr(sparse, f"csr_{kind}")(dense).asformat(form)
    make = functools.partial(model_for, 24)
    model, _, _ = same_training(X, dense, make)
    np.testing.assert_array_equal(model.predict(X), model.predict(dense))


@pytest.mark.parametrize(
    "given",
    [bool, "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">f4", ">i2"],
    ids=str,
)
@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_every_dtype_of_values(given: Any, dtype: str) -> None:
    dense = draw(30, 24, 0.3, dtype=given)
    rows, columns = np.nonzero(dense)
    begins = np.searchsorted(rows, np.arange(31))
    make = functools.partial(model_for, 24, dtype)
    X = Csr(dense[rows, columns], columns, begins, dense.shape)
    same_training(X, dense, make)


def test_half_precision() -> None:
    dense = draw(30, 24, 0.3, dtype=np.float16)
    rows, columns = np.nonzero(dense)
    X = Csr(dense[rows, columns], columns, np.searchsorted(rows, np.arange(31)), dense.shape)
    same_training(X, dense, functools.partial(model_for, 24))


class Csr:
    """The least that a matrix in CSR form needs: no SciPy, and nothing checked."""

    format = "csr"

    def __init__(self, values: Any, indices: Any, begins: Any, shape: tuple[int, ...]) -> None:
        self.data, self.indices, self.indptr = map(np.asarray, (values, indices, begins))
        self.shape = shape

    def tocsr(self) -> Csr:
        return self


@pytest.mark.parametrize("indices", ["i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
@pytest.mark.parametrize("begins", ["i4", "i8", "u1"])
def test_every_dtype_of_indices(indices: str, begins: str) -> None:
    dense = draw(30, 24, 0.2)
    X = sparse.csr_array(dense)
    given = Csr(X.data, X.indices.astype(indices), X.indptr.astype(begins), X.shape)
    same_training(given, dense, functools.partial(model_for, 24))


def test_arrays_that_do_not_lie_side_by_side_or_are_longer_than_the_rows() -> None:
    dense = draw(30, 24, 0.2)
    X = sparse.csr_array(dense)
    stray = np.full(2 * len(X.data) + 6, 99)
    values, indices = stray.astype(float), stray.copy()
    values[: 2 * len(X.data) : 2], indices[: 2 * len(X.data) : 2] = X.data, X.indices
    given = Csr(values[::2], indices[::2], X.indptr, X.shape)
    given.data[-1] = np.nan  # no row's
    same_training(given, dense, functools.partial(model_for, 24))
    first = Csr(X.data, X.indices, X.indptr[10:], (20, 24))  # rows 10 on
    model = model_for(24)
    np.testing.assert_array_equal(model.predict_logits(first), model.predict_logits(dense[10:]))


def test_zeros_among_the_entries_change_nothing() -> None:
    dense = draw(30, 24, 0.2)
    X = sparse.csr_array(np.where(dense == 0, 1e9, dense))
    X.data[X.data == 1e9] = 0
    assert X.nnz == dense.size
    same_training(X, dense, functools.partial(model_for, 24))


def shuffled(X: Any, rng: np.random.Generator) -> Csr:
    """The same matrix with the entries of each row in another order, some of them in two parts."""
    values, indices, begins = [], [], [0]
    for row in range(X.shape[0]):
        which = slice(X.indptr[row], X.indptr[row + 1])
        v, c = X.data[which], X.indices[which]
        split = rng.random(len(v)) < 0.4
        v = np.concatenate([np.where(split, 0.75 * v, v), 0.25 * v[split]])
        c = np.concatenate([c, c[split]])
        order = rng.permutation(len(v))
        values.append(v[order])
        indices.append(c[order])
        begins.append(begins[-1] + len(v))
    return Csr(np.concatenate(values), np.concatenate(indices), begins, X.shape)


@pytest.mark.parametrize("rates", [(), (0.4,)], ids=str)
def test_unsorted_and_repeated_columns_are_added_up(rates: tuple[float, ...]) -> None:
    dense = draw(40, 30, 0.3) / 0.37  # integers: the parts add up to the very number
    X = shuffled(sparse.csr_array(dense), np.random.default_rng(0))
    before = X.data.copy(), X.indices.copy()
    model, _, _ = same_training(X, dense, functools.partial(model_for, 30, rates=rates))
    got, want = model.blame(X, labels(40)), model.blame(dense, labels(40))
    np.testing.assert_array_equal(got.gradient_norms, want.gradient_norms)
    np.testing.assert_array_equal(got.weights[0], want.weights[0])
    assert np.array_equal(X.data, before[0])
    assert np.array_equal(X.indices, before[1])


def test_scipys_own_duplicates() -> None:
    X = sparse.csr_matrix(([1.0, 2.0, 4.0, 8.0], [2, 0, 2, 2], [0, 3, 4]), shape=(2, 3))
    model = model_for(3)
    np.testing.assert_array_equal(model.predict_logits(X), model.predict_logits(X.toarray()))
    assert X.nnz == 4


def test_a_read_only_memory_map_as_joblib_makes_it(tmp_path: Any) -> None:
    dense = draw(40, 30, 0.3)
    X = sparse.csr_array(dense)
    maps = []
    for i, array in enumerate((X.data, X.indices, X.indptr)):
        np.save(tmp_path / f"{i}.npy", array)
        maps.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    given = Csr(*maps, X.shape)
    given.data, given.indices, given.indptr = maps
    same_training(given, dense, functools.partial(model_for, 30))


# --- What fit takes ------------------------------------------------------------------------------


def test_validation_weights_and_early_stopping() -> None:
    dense, more = draw(90, 40, 0.2), draw(30, 40, 0.2, seed=9)
    weight = np.random.default_rng(3).uniform(0, 2, 90)
    make = functools.partial(model_for, 40)
    for options in (
        {"validation_split": 0.25},
        {"sample_weight": weight, "class_weight": {1: 3.0, 2: 0.5}},
        {"class_weight": "balanced", "clip_norm": 0.1, "schedule": culpa.Cosine()},
        {"validation_split": 0.3, "early_stopping": 2, "epochs": 12, "sample_weight": weight},
        {"shuffle": False, "batch_size": 1000},
    ):
        _, got, want = same_training(sparse.csr_array(dense), dense, make, **options)
        assert got.epochs == want.epochs
        if "validation_split" in options:
            np.testing.assert_allclose(got.val_loss, want.val_loss, rtol=1e-12)
            assert got.val_accuracy == want.val_accuracy
    y = labels(30)
    for X in (sparse.csr_array(more), more):  # sparse or dense, whatever X is
        _, got, want = same_training(
            sparse.csr_array(dense), dense, make, validation_data=(X, y, weight[:30])
        )
        np.testing.assert_allclose(got.val_loss, want.val_loss, rtol=1e-12)


def test_fit_many_on_rows_of_a_sparse_matrix() -> None:
    dense, y = draw(80, 40, 0.2), labels(80)
    rows = [np.arange(0, 50), np.arange(20, 80), np.array([3, 3, 70])]
    several = [[model_for(40, seed=seed) for seed in range(3)] for _ in range(2)]
    for models, X in zip(several, (sparse.csc_matrix(dense), dense), strict=True):
        culpa.fit_many(models, X, y, rows=rows, epochs=2, batch_size=9)
    alone = model_for(40, seed=1)
    alone.fit(sparse.csr_array(dense[20:]), y[20:], epochs=2, batch_size=9, verbose=False)
    bits = [list(map(helpers.parameter_bytes, models)) for models in several]
    assert bits[0] == bits[1]
    assert bits[0][1] == helpers.parameter_bytes(alone)


def test_the_input_size_comes_from_a_sparse_matrix() -> None:
    X = sparse.csr_array(draw(20, 11, 0.3))
    model = culpa.Sequential([Dense(7)], "cross_entropy")
    model.fit(X, labels(20), epochs=1, verbose=False)
    assert model.input_size == 11


def test_two_fits_equal_one_twice_as_long_and_kinds_may_alternate() -> None:
    dense = draw(40, 30, 0.2)
    X, y = sparse.csr_array(dense), labels(40)
    options: dict[str, Any] = {"batch_size": 8, "verbose": False}
    once, twice = model_for(30), model_for(30)
    once.fit(X, y, epochs=4, **options)
    for x in (X, dense, X, dense):
        twice.fit(x, y, epochs=1, **options)
    assert helpers.parameter_bytes(once) == helpers.parameter_bytes(twice)


@pytest.mark.parametrize("sampling", ["poisson", "shuffle"])
def test_private_training(sampling: str) -> None:
    dense, y = draw(60, 50, 0.1), labels(60)
    privacy = culpa.Privacy(0.5, 0.7, 1e-5, seed=4, sampling=sampling)
    models = [model_for(50, rates=(0.2,)) for _ in range(2)]
    for model, X in zip(models, (sparse.csr_array(dense), dense), strict=True):
        model.fit(X, y, epochs=3, batch_size=5, privacy=privacy, verbose=False)
    assert helpers.parameter_bytes(models[0]) == helpers.parameter_bytes(models[1])


def test_input_dropout_draws_the_masks_of_dense_rows() -> None:
    dense = draw(12, 45, 0.4)
    dense[5, :] = 1.0
    model = model_for(45, widths=(7,), rates=(0.5,), input_scale=1.0)
    mask = helpers.dropout_masks(model, 12, step=0)[0]
    assert mask is not None
    y = labels(12)
    p = helpers.parameters_of(model)
    walk = reference.backpropagate(p, dense * mask, y, ["identity"], "cross_entropy")
    model.fit(
        sparse.csr_array(dense), y, epochs=1, batch_size=12, shuffle=False, verbose=False,
        optimizer=culpa.SGD(1.0),
    )  # fmt: skip
    helpers.assert_close("step", p[0][0] - model.layers[1].weight, walk.weights[0], 1e-12)


# --- Blocks, chunks, threads ---------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_of_several_blocks(weighted: bool) -> None:
    """Sparse rows make larger blocks than dense ones do, where there are many columns."""
    dense = draw(4500, 300, 0.02)
    y = labels(4500)
    weight = np.random.default_rng(0).uniform(0.1, 1, 4500) if weighted else None
    model = model_for(300)
    X = sparse.csr_array(dense)
    got, want = (model.blame(x, y, sample_weight=weight) for x in (X, dense))
    for name in ("weights", "biases"):
        for a, b in zip(getattr(got, name), getattr(want, name), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(got.inputs, want.inputs)
    np.testing.assert_array_equal(model.blame(X, y, want="losses").losses, want.losses)
    make = functools.partial(model_for, 300)
    same_training(X, dense, make, batch_size=4500, sample_weight=weight, clip_norm=0.5)
    same_training(X, dense, make, batch_size=4400)


@pytest.mark.parametrize("rates", [(), (0.3, 0.2)], ids=str)
def test_same_bits_at_any_thread_count(rates: tuple[float, ...]) -> None:
    X, y = sparse.csr_array(draw(70, 900, 0.05)), labels(70)
    weights, answers = [], []
    for threads, split in [*PLANS, (7, "rows")]:
        model = model_for(900, "float32", (64, 200, 7), rates)
        with helpers.plan(threads, split):
            model.fit(X, y, epochs=2, batch_size=13, verbose=False)
            blame = model.blame(X, y)
        weights.append(helpers.parameter_bytes(model))
        answers.append(
            [blame.losses, blame.inputs, blame.gradient_norms, *blame.weights, *blame.nodes]
        )
    assert len(set(weights)) == 1
    for answer in answers:
        for got, want in zip(answer, answers[0], strict=True):
            np.testing.assert_array_equal(got, want)


def test_where_chunks_end_does_not_show() -> None:
    class EveryStep(culpa.Callback):
        every_steps = 1

        def on_step(self, training: Training) -> None:
            pass

    X, y = sparse.csr_array(draw(70, 50, 0.1)), labels(70)
    bits = []
    for callbacks in (None, EveryStep()):
        model = model_for(50, rates=(0.3,))
        model.fit(X, y, epochs=3, batch_size=9, verbose=False, callbacks=callbacks)
        bits.append(helpers.parameter_bytes(model))
    assert bits[0] == bits[1]


def test_rows_without_any_entry() -> None:
    for rows, columns in ((5, 1), (9, 40)):
        dense = np.zeros((rows, columns))
        X, y = sparse.csr_array(dense), labels(rows)
        assert X.nnz == 0
        model, _, _ = same_training(X, dense, functools.partial(model_for, columns), batch_size=4)
        np.testing.assert_array_equal(model.predict_logits(X), model.predict_logits(dense))
        np.testing.assert_allclose(
            model.blame(X, y).gradient_norms, model.blame(dense, y).gradient_norms, rtol=1e-12
        )


def test_many_threads_ask_at_once() -> None:
    X = sparse.csr_array(draw(300, 200, 0.1))
    model = model_for(200)
    want = model.predict_logits(X)
    found: list[bool] = []

    def ask() -> None:
        found.extend(np.array_equal(model.predict_logits(X), want) for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 40


def test_nothing_is_made_dense() -> None:
    """A batch as a dense array, or a row for each thread and example, would not fit anywhere."""
    columns = 2_000_000
    rng = np.random.default_rng(0)
    begins = np.arange(0, 2001 * 5, 5)
    indices = np.sort(rng.integers(0, columns // 5, (2000, 5)) + np.arange(5) * (columns // 5))
    X = sparse.csr_array((np.ones(10_000), indices.ravel(), begins), shape=(2000, columns))
    model = culpa.Sequential([Dense(2)], "cross_entropy")
    history = model.fit(X, labels(2000, 2), epochs=1, batch_size=1000, verbose=False)
    assert np.isfinite(history.loss[0])
    assert model.predict(X).shape == (2000,)
    blame = model.blame(X, labels(2000, 2), want=("gradient_norms", "weights"))
    assert blame.gradient_norms.shape == (2000,)
    assert model.loss_and_gradients(X, labels(2000, 2))[1]["dense_0.weight"].shape == (columns, 2)


# --- Errors --------------------------------------------------------------------------------------

FINE = {"values": [1.0, 2.0, 3.0], "indices": [0, 2, 1], "begins": [0, 2, 3], "shape": (2, 3)}
BAD: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "column-too-large": ({"indices": [0, 3, 1]}, ValueError, ("X.indices", "0 to 2", "row 0")),
    "column-negative": ({"indices": [0, 2, -1]}, ValueError, ("X.indices", "0 to 2", "row 1")),
    "column-far-out": ({"indices": [0, 2, 2**40]}, ValueError, ("X.indices", "row 1")),
    "begins-fall": ({"begins": [0, 3, 2]}, ValueError, ("X.indptr", "2 after 3")),
    "begins-negative": ({"begins": [-1, 2, 3]}, ValueError, ("X.indptr", "-1")),
    "begins-beyond": ({"begins": [0, 2, 4]}, ValueError, ("X.indptr", "at most 3", "4 after 2")),
    "begins-far-beyond": ({"begins": [0, 2**62, 2**62]}, ValueError, ("X.indptr",)),
    "begins-too-few": ({"begins": [0, 2]}, ValueError, ("X.indptr", "3 positions", "got 2")),
    "begins-too-many": ({"begins": [0, 2, 3, 3]}, ValueError, ("X.indptr", "3 positions")),
    "values-too-few": ({"values": [1.0]}, ValueError, ("X.indptr", "at most 1")),
    "indices-too-few": ({"indices": [0]}, ValueError, ("X.indptr", "at most 1")),
    "indices-float": ({"indices": [0.0, 2.0, 1.0]}, TypeError, ("X", "int32 or int64", "float64")),
    "begins-float": ({"begins": [0.0, 2.0, 3.0]}, TypeError, ("X", "indptr", "float64")),
    "values-complex": ({"values": [1j, 2, 3]}, TypeError, ("X.data", "complex128")),
    "values-object": ({"values": np.array([1, 2, 3], object)}, TypeError, ("X.data", "object")),
    "values-2-d": ({"values": [[1.0], [2.0], [3.0]]}, TypeError, ("X.data", "(3, 1)")),
    "one-dimension": ({"shape": (3,)}, ValueError, ("X", "(n, inputs)", "(3,)")),
    "no-rows": ({"shape": (0, 3), "begins": [0]}, ValueError, ("at least one row",)),
    "no-columns": ({"shape": (2, 0), "begins": [0, 0, 0]}, ValueError, ("at least one row",)),
    "other-columns": ({"shape": (2, 4)}, ValueError, ("expected 3 columns", "(2, 4)")),
    "nan": ({"values": [1.0, np.nan, 3.0]}, ValueError, ("X", "nan in row 0, column 2")),
    "infinite": ({"values": [1.0, 2.0, -np.inf]}, ValueError, ("X", "-inf in row 1, column 1")),
    "too-large": ({"values": [1.0, 2.0, 1e300]}, ValueError, ("X", "float32", "row 1, column 1")),
    "sum-too-large": (
        {"values": [3e38, 3e38, 1.0], "indices": [2, 2, 1]},
        ValueError,
        ("X", "row 0, column 2"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_malformed_matrices_are_refused_before_any_work(name: str) -> None:
    changed, kind, words = BAD[name]
    X = Csr(**{**FINE, **changed})
    y = np.array([0, 1])[: max(X.shape[0], 1)] if X.shape[0] < 3 else np.array([0, 1])
    model = model_for(3, "float32", widths=(4, 2))
    model.fit(Csr(**FINE), np.array([0, 1]), epochs=1, verbose=False)
    before = helpers.parameter_bytes(model)
    calls: list[Callable[[], Any]] = [
        lambda: model.fit(X, y, epochs=1, verbose=False),
        lambda: model.predict(X),
        lambda: model.predict_proba(X),
        lambda: model.evaluate(X, y),
        lambda: model.blame(X, y),
        lambda: model.loss_and_gradients(X, y),
    ]
    for call in calls:
        with pytest.raises(kind) as error:
            call()
        for word in words:
            assert word in str(error.value)
    with pytest.raises(kind, match=r"\(validation\)"):
        model.fit(Csr(**FINE), np.array([0, 1]), validation_data=(X, y), verbose=False)
    assert helpers.parameter_bytes(model) == before


def test_a_model_without_an_input_size_stays_without_one() -> None:
    model = culpa.Sequential([Dense(2)], "cross_entropy")
    with pytest.raises(ValueError, match=r"X: .*nan in row 0, column 2"):
        model.fit(Csr(**{**FINE, "values": [1.0, np.nan, 3.0]}), np.array([0, 1]))
    assert model.input_size is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("value", [-1, 10**9, 30, "repeated"])
def test_columns_that_change_after_they_were_checked_are_never_followed(
    threads: int, value: Any
) -> None:
    dense = draw(40, 30, 0.3)
    X, y = sparse.csr_array(dense), labels(40)
    model = model_for(30)
    before = helpers.parameter_bytes(model)

    class Change(culpa.Callback):
        def on_epoch_end(self, training: Training) -> None:
            row = int(np.flatnonzero(np.diff(X.indptr) > 1)[3])
            at = X.indptr[row]
            X.indices[at] = X.indices[at + 1] if value == "repeated" else value

    with helpers.plan(threads), pytest.raises(ValueError, match=r"X: row \d+ changed while"):
        model.fit(X, y, epochs=3, batch_size=7, verbose=False, callbacks=Change())
    assert helpers.parameter_bytes(model) == before


def test_the_core_itself_refuses_what_is_out_of_order() -> None:
    fine = [np.asarray(FINE[name]) for name in ("values", "indices", "begins")]
    model = _core.Model64(
        stages=[_core.Stage("dense", "dense_0", 3, 2)],
        loss="mse", loss_parameters={}, input_scale=1.0,
        input_dropout=0.0, seed=0, member=0,
    )  # fmt: skip
    rows = _core.SparseRows(*fine, 3, "x")
    assert rows.canonical
    model.predict(rows)
    unsorted = _core.SparseRows(fine[0], np.array([2, 0, 1]), fine[2], 3, "x")
    assert not unsorted.canonical
    for bad in (unsorted, _core.SparseRows(*fine, 4, "x")):
        with pytest.raises(ValueError, match=r"x: expected 3 columns, rising"):
            model.predict(bad)
    with pytest.raises(TypeError, match=r"x\.data: .*contiguous"):
        _core.SparseRows(np.arange(6.0)[::2], fine[1], fine[2], 3, "x")
    with pytest.raises(TypeError, match=r"x: .*indices and indptr"):
        _core.SparseRows(fine[0], np.arange(6)[::2], fine[2], 3, "x")
    with pytest.raises(ValueError, match=r"x\.indptr: .*got none"):
        _core.SparseRows(fine[0], fine[1], np.array([], int), 3, "x")
    with pytest.raises(ValueError, match=r"fewer than 2\*\*32 columns"):
        _core.SparseRows(*fine, 2**32, "x")


def test_attribute_wants_dense_rows() -> None:
    X = sparse.csr_array(draw(5, 30, 0.3))
    with pytest.raises(TypeError) as error:
        model_for(30).attribute(X)
    assert str(error.value) == (
        "X: expected a dense array for attribute, got a sparse matrix; use X.toarray()"
    )


def test_targets_and_weights_must_be_dense() -> None:
    X = sparse.csr_array(draw(5, 30, 0.3))
    with pytest.raises(TypeError, match=r"y: expected a dense array.*y\.toarray\(\)"):
        model_for(30).fit(X, sparse.csr_array(np.eye(5, 7)), verbose=False)


# --- Rows by themselves --------------------------------------------------------------------------


def test_some_rows_of_sparse_rows() -> None:
    dense = draw(20, 9, 0.4)
    X = data.as_rows("X", sparse.csr_array(dense))
    assert isinstance(X, SparseRows)
    assert len(X) == 20
    assert X.dtype == np.float64
    for rows in ([], [0], [19, 0, 10, 10, 3]):
        part = X[np.array(rows, np.int64)]
        assert part.shape == (len(rows), 9)
        for i, row in enumerate(rows):
            columns, values = part.entries(i)
            found = np.zeros(9)
            found[columns] = values
            np.testing.assert_array_equal(found, dense[row])


def test_a_row_as_an_array() -> None:
    dense = draw(20, 9, 0.4)
    X = data.as_rows("X", sparse.csr_array(dense))
    np.testing.assert_array_equal(X[4:7].dense(), dense[4:7])
    np.testing.assert_array_equal(X.dense(), dense)
    assert X[20:].dense().shape == (0, 9)


# --- Answers -------------------------------------------------------------------------------------


@functools.cache
def digits() -> tuple[culpa.Sequential, np.ndarray, np.ndarray]:
    X, y, _, _ = culpa.datasets.digits()
    layers = [Dense(16, "relu"), Dense(10)]
    model = culpa.Sequential(layers, loss="cross_entropy", input_scale=1 / 16)
    model.fit(X, y, epochs=2, verbose=False)
    return model, X[:300], y[:300]


ANSWERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "el2n": culpa.el2n,
    "grand": culpa.grand,
    "label errors": lambda model, X, y: culpa.find_label_errors(model, X, y, epochs=2).losses,
    "diagnose": lambda model, X, y: np.array([x[3:] for x in culpa.diagnose(model, X, y).layers]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_that_of_dense_rows(name: str) -> None:
    model, X, y = digits()
    expected = ANSWERS[name](model, X, y)
    np.testing.assert_array_equal(ANSWERS[name](model, sparse.csr_array(X), y), expected)


def test_the_page_is_that_of_dense_rows() -> None:
    model, X, y = digits()
    assert culpa.page(model, sparse.csr_array(X), y) == culpa.page(model, X, y)


@pytest.mark.parametrize("name", ["X_train", "X_test"])
def test_influence_asks_for_dense_rows(name: str) -> None:
    model, X, y = digits()
    parts = {"X_train": X, "X_test": X, "y_train": y, "y_test": y}
    with pytest.raises(TypeError, match=rf"{name}: expected a dense array .*{name}\.toarray"):
        model.influence(**{**parts, name: sparse.csr_array(X)})
