"""One seed, one result: to the last bit, at any thread count, wherever chunks end, side by side."""

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import culpa
import helpers
import reference
from culpa import _core
from culpa.answers.blame import QUANTITIES
from culpa.training.training import Training

PLANS = [(1, "rows"), (2, "rows"), (3, "rows"), (7, "rows")]
PLANS += [(2, "columns"), (3, "columns"), (7, "columns")]
PATIENCE = 300.0  # seconds after which a thread that should have answered counts as hung


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = culpa.get_num_threads()
    yield
    _core.force_plan(0)
    culpa.set_num_threads(before)


# --- Threads -------------------------------------------------------------------------------------


class Case:
    """A model to train and data to train it on."""

    def __init__(
        self,
        layers: Sequence[culpa.Dense | culpa.Dropout],
        loss: str,
        rows: int,
        inputs: int,
        *,
        dtype: str = "float32",
        weighted: bool = False,
        **options: Any,
    ) -> None:
        self.layers, self.loss, self.dtype = layers, loss, dtype
        rng = np.random.default_rng(rows)
        outputs = layers[-1].units  # type: ignore[union-attr]
        self.X = rng.normal(size=(rows, inputs)).astype(dtype)
        if loss == "cross_entropy":
            self.y = rng.integers(0, outputs, rows)
        else:
            self.y = rng.normal(size=(rows, outputs))
        self.weight = rng.uniform(0.1, 2.0, rows) if weighted else None
        self.options = {"optimizer": culpa.Adam(1e-2), "epochs": 2, "verbose": False, **options}

    def model(self, seed: int = 5) -> culpa.Sequential:
        return culpa.Sequential(
            self.layers, self.loss, seed=seed, input_size=self.X.shape[1], dtype=self.dtype
        )

    def trained(self, **options: Any) -> culpa.Sequential:
        model = self.model()
        model.fit(self.X, self.y, sample_weight=self.weight, **{**self.options, **options})
        return model

    def answers(self, model: culpa.Sequential) -> dict[str, np.ndarray]:
        """Everything that can be asked of a model without changing it."""
        blame = model.blame(self.X, self.y, sample_weight=self.weight, want=QUANTITIES)
        loss, _ = model.loss_and_gradients(self.X, self.y, sample_weight=self.weight)
        measured = model.evaluate(self.X, self.y, sample_weight=self.weight)
        arrays = {
            "logits": model.predict_logits(self.X),
            "predictions": model.predict(self.X),
            "losses": blame.losses,
            "inputs": blame.inputs,
            "gradient_norms": blame.gradient_norms,
            "loss": np.array([loss, *measured.values()]),
        }
        for name in ("nodes", "weights", "biases", "hidden", "slopes"):
            arrays |= {f"{name}[{i}]": array for i, array in enumerate(getattr(blame, name))}
        return arrays


Dense, Dropout = culpa.Dense, culpa.Dropout
CASES = {
    "plain": Case([Dense(33, "relu"), Dense(5)], "cross_entropy", 96, 20, batch_size=32),
    "everything": Case(
        [Dropout(0.2), Dense(65, "gelu"), Dropout(0.5), Dense(17, "relu"), Dense(3)],
        "mse",
        90,
        31,
        weighted=True,
        clip_norm=0.1,
        batch_size=25,
        schedule=culpa.Cosine(),
    ),
    "float64": Case(
        [Dense(20, "silu"), Dropout(0.3), Dense(20, "mish"), Dense(2)],
        "huber",
        70,
        9,
        dtype="float64",
        weighted=True,
        optimizer=culpa.RMSprop(1e-3, momentum=0.9, weight_decay=0.01),
        batch_size=33,
    ),
    "several blocks": Case(
        [Dense(6, "tanh"), Dropout(0.25), Dense(2)],
        "cross_entropy",
        4096 + 1000,
        5,
        clip_norm=0.5,
        weighted=True,
        batch_size=10_000,
    ),
    "few rows and wide layers": Case(
        [Dense(700, "relu"), Dropout(0.1), Dense(530, "tanh"), Dense(515)],
        "mse",
        5,
        40,
        batch_size=3,
        optimizer=culpa.SGD(0.1, momentum=0.9, nesterov=True),
    ),
    "a last batch of one row": Case(
        [Dense(300, "relu"), Dense(10)], "cross_entropy", 129, 150, batch_size=64
    ),
    "one row at a time": Case(
        [Dense(70, "elu"), Dense(1)],
        "mae",
        7,
        500,
        dtype="float64",
        clip_norm=1.0,
        batch_size=1,
        optimizer=culpa.AdamW(1e-3),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_same_weights_at_any_thread_count(case: Case) -> None:
    weights = []
    for threads, split in PLANS:
        with helpers.plan(threads, split):
            weights.append(helpers.parameter_bytes(case.trained()))
    weights.append(helpers.parameter_bytes(case.trained()))  # by the plan that culpa chooses
    assert len(set(weights)) == 1
    assert weights[0] != helpers.parameter_bytes(case.model())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_same_answers_at_any_thread_count(case: Case) -> None:
    model = case.model()
    want = case.answers(model)
    for threads, split in PLANS:
        with helpers.plan(threads, split):
            for name, got in case.answers(model).items():
                np.testing.assert_array_equal(got, want[name], f"{name}, {threads} {split}")


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_same_weights_where_culpa_chooses_among_so_many_threads(threads: int) -> None:
    """Enough work for threads to pay, and a last batch with fewer rows than there are threads."""
    case = Case([Dense(512, "relu"), Dense(257, "relu"), Dense(10)], "mse", 257, 400)
    with helpers.plan(1):
        want = helpers.parameter_bytes(case.trained())
    culpa.set_num_threads(threads)
    assert helpers.parameter_bytes(case.trained()) == want


WIDTHS = st.sampled_from([1, 2, 7, 16, 31, 33, 64, 65, 129, 200, 515])


@settings(deadline=None, max_examples=80)
@given(
    widths=st.lists(WIDTHS, min_size=2, max_size=4),
    rows=st.integers(1, 70),
    batch_size=st.integers(1, 70),
    dtype=st.sampled_from(helpers.DTYPES),
    rate=st.sampled_from([0.0, 0.0, 0.3]),
    clip_norm=st.sampled_from([None, 0.01]),
    weighted=st.booleans(),
    plan=st.sampled_from(PLANS[1:]),
)
def test_any_network_trains_to_the_same_weights_on_any_plan(
    widths: list[int],
    rows: int,
    batch_size: int,
    dtype: str,
    rate: float,
    clip_norm: float | None,
    weighted: bool,
    plan: tuple[int, str],
) -> None:
    layers: list[Dense | Dropout] = [Dropout(rate)]
    for i, width in enumerate(widths[1:]):
        layers += [Dense(width, ["relu", "tanh", "gelu"][i % 3]), Dropout(rate)]
    case = Case(
        layers[:-1],
        "mse",
        rows,
        widths[0],
        dtype=dtype,
        weighted=weighted,
        clip_norm=clip_norm,
        batch_size=batch_size,
        epochs=1,
    )
    with helpers.plan(1):
        alone = case.trained()
        answers = case.answers(alone)
    with helpers.plan(*plan):
        together = case.trained()
        assert helpers.parameter_bytes(alone) == helpers.parameter_bytes(together)
        for name, got in case.answers(together).items():
            np.testing.assert_array_equal(got, answers[name], name)


# --- Chunks --------------------------------------------------------------------------------------


class EveryStep(culpa.Callback):
    every_steps = 1

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_step(self, training: Training) -> None:
        self.steps.append(training.step)


@pytest.mark.parametrize("name", ["plain", "everything", "float64"])
def test_where_chunks_end_does_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    watch = EveryStep()
    weights = [helpers.parameter_bytes(case.trained(callbacks=watch))]
    assert watch.steps == list(range(1, len(watch.steps) + 1))
    assert len(watch.steps) > 5
    watch.every_steps, watch.steps = 3, []
    weights.append(helpers.parameter_bytes(case.trained(callbacks=watch)))
    for seconds in (1e-9, 1e9):
        monkeypatch.setattr(culpa.training.run, "CHUNK_SECONDS", seconds)
        weights.append(helpers.parameter_bytes(case.trained()))
    assert len(set(weights)) == 1


def test_what_a_callback_asks_of_the_model_does_not_show() -> None:
    case = CASES["everything"]

    class Curious(culpa.Callback):
        every_steps = 1

        def on_step(self, training: Training) -> None:
            case.answers(training.model)

    asked = case.trained(callbacks=Curious())
    assert helpers.parameter_bytes(asked) == helpers.parameter_bytes(case.trained())


# --- Dropout -------------------------------------------------------------------------------------

RATE = 0.3
ROWS = 64


def seen_masks(
    step: int = 0, seed: int = 0, hidden: bool = False, rate: float = RATE, width: int = 50
) -> np.ndarray:
    """The factors that dropout put on ROWS rows of ones at one step, read off the update.

    With W = 0, L = mean((z - y)^2) and y = -ROWS / 2 on the diagonal, dL_i/dz is 1 on the diagonal
    and 0 beside it; so at learning rate ROWS the step is W[:, i] -= h_i: minus the masked row i.
    """
    layers: list[Dense | Dropout] = [Dropout(rate), Dense(ROWS, initializer="zeros")]
    if hidden:
        layers.insert(0, Dense(width, initializer="zeros"))
    model = culpa.Sequential(layers, "mse", seed=seed, input_size=width, dtype="float64")
    if hidden:
        model.layers[0].bias = np.ones(width)
    model._network.core.steps = step
    model.fit(
        np.ones((ROWS, width)),
        np.diag(np.full(ROWS, -ROWS / 2.0)),
        epochs=1,
        batch_size=ROWS,
        optimizer=culpa.SGD(float(ROWS)),
        shuffle=False,
        verbose=False,
    )
    return -model.layers[-1].weight.T


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_dropout_keeps_its_fraction_and_scales_what_it_keeps(rate: float) -> None:
    mask = seen_masks(rate=rate, width=400)
    kept = mask != 0.0
    np.testing.assert_allclose(mask[kept], 1.0 / (1.0 - rate), rtol=1e-12)
    deviation = np.sqrt(rate * (1.0 - rate) / mask.size)
    assert abs(kept.mean() - (1.0 - rate)) < 5.0 * deviation
    for axis in (0, 1):  # no row and no unit is favoured
        spread = np.sqrt(rate * (1.0 - rate) / mask.shape[axis])
        assert np.abs(kept.mean(axis=axis) - (1.0 - rate)).max() < 5.0 * spread


def test_dropout_differs_by_step_layer_and_seed() -> None:
    masks = [seen_masks(), seen_masks(step=1), seen_masks(hidden=True), seen_masks(seed=1)]
    masks.append(seen_masks(seed=2**40))
    for i, one in enumerate(masks):
        for other in masks[:i]:
            same = ((one != 0) == (other != 0)).mean()
            independent = RATE**2 + (1 - RATE) ** 2
            assert abs(same - independent) < 5.0 / (2.0 * np.sqrt(one.size))


@pytest.mark.parametrize("width", [1, 3, 31, 32, 33, 130])
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(("seed", "step"), [(0, 0), (7, 3), (2**63 + 12345, 2**32 - 1)])
def test_masks_are_those_of_philox(seed: int, step: int, hidden: bool, width: int) -> None:
    layers: list[Dense | Dropout] = [Dense(width), Dropout(RATE), Dense(ROWS)]
    model = culpa.Sequential(layers[not hidden :], "mse", seed=seed, input_size=width)
    want = helpers.dropout_masks(model, ROWS, step)[-1]
    got = seen_masks(step=step, seed=seed, hidden=hidden, width=width)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 45, 4096 + 333])
@pytest.mark.parametrize(("threads", "split"), [(1, "rows"), (3, "rows"), (3, "columns")])
def test_training_with_dropout_follows_the_oracle(rows: int, threads: int, split: str) -> None:
    """Forward and back, over several steps and fits, and over blocks of one batch."""
    rng = np.random.default_rng(rows)
    names = ["relu", "gelu", "identity", "identity"]
    parameters = helpers.random_parameters((6, 35, 9, 4, 2), rng)
    model = helpers.make_model(
        parameters, names, "mse", dropout=[0.1, 0.5, 0.25, 0.75], dtype="float64", seed=99
    )
    X, y = rng.normal(size=(2 * rows, 6)), rng.normal(size=(2 * rows, 2))
    parts = [slice(0, rows), slice(rows, None)] * 2
    batches = [
        reference.Batch(X[part], y[part], None, helpers.dropout_masks(model, rows, step))
        for step, part in enumerate(parts)
    ]
    losses, want = reference.training_steps(
        parameters, batches, 4, reference.Adam(0.01), names, "mse"
    )
    seen = []
    with helpers.plan(threads, split):
        for _ in range(2):
            history = model.fit(
                X,
                y,
                optimizer=culpa.Adam(0.01),
                batch_size=rows,
                shuffle=False,
                epochs=1,
                verbose=False,
            )
            seen += history.loss
    helpers.assert_close("loss", seen, np.reshape(losses, (2, 2)).mean(axis=1), 1e-10)
    state = model.state_dict()
    for name, array in helpers.state(want).items():
        helpers.assert_close(name, state[name], array, 1e-10)


def test_dropout_acts_in_training_alone() -> None:
    model = culpa.Sequential(
        [Dropout(0.5), Dense(6, "tanh"), Dropout(0.5), Dense(2)], "mse", input_size=4
    )
    without = culpa.Sequential([Dense(6, "tanh"), Dense(2)], "mse", input_size=4)
    without.load_state_dict(model.state_dict())
    X, y = np.random.default_rng(0).normal(size=(2, 30, 4))
    y = y[:, :2]
    np.testing.assert_array_equal(model.predict(X), without.predict(X))
    assert model.evaluate(X, y) == without.evaluate(X, y)
    np.testing.assert_array_equal(model.blame(X, y).weights[0], without.blame(X, y).weights[0])


# --- Random numbers ------------------------------------------------------------------------------


def test_philox_is_the_oracles() -> None:
    rng = np.random.default_rng(0)
    counters = rng.integers(0, 2**32, (50, 4), dtype=np.uint32)
    counters[:2] = [[0] * 4, [2**32 - 1] * 4]
    for key in (0, 1, 2**32 - 1, 2**32, 2**64 - 1, 0x0123456789ABCDEF):
        want = reference.philox(counters, np.array([key & 0xFFFFFFFF, key >> 32], np.uint32))
        got = [_core.philox(counter.tolist(), key) for counter in counters]
        assert got == want.tolist()


def test_an_order_is_a_permutation_and_reproducible() -> None:
    for n in (0, 1, 2, 3, 10, 1000, 65_537):
        order = _core.permutation(n, 3, 0, 2)
        assert np.array_equal(np.sort(order), np.arange(n))
        assert np.array_equal(order, _core.permutation(n, 3, 0, 2))
    first = _core.permutation(1000, 3, 0, 0)
    for other in ((4, 0, 0), (3, 1, 0), (3, 0, 1)):
        order = _core.permutation(1000, *other)
        assert (order == first).mean() < 0.02


def test_a_validation_split_takes_rows_in_an_order_of_its_own() -> None:
    order = _core.validation_order(1000, 3)
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert np.array_equal(order, _core.validation_order(1000, 3))
    assert (order == _core.validation_order(1000, 4)).mean() < 0.02
    for epoch in (0, 1, 2**32 - 1):
        assert (order == _core.permutation(1000, 3, 0, epoch)).mean() < 0.02


def test_orders_are_uniform() -> None:
    """Every place sees every row equally often, and so do all orders of three."""
    draws, n = 6000, 6
    orders = np.array([_core.permutation(n, 11, 0, epoch) for epoch in range(draws)])
    counts = np.array([np.bincount(orders[:, place], minlength=n) for place in range(n)])
    chi_squared = ((counts - draws / n) ** 2 / (draws / n)).sum()
    assert chi_squared < 70.0  # 25 degrees of freedom: exceeded once in 250,000
    of_three = np.array([_core.permutation(3, 12, 0, epoch) for epoch in range(draws)])
    counts = np.bincount(of_three @ [9, 3, 1], minlength=27)
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - draws / 6) ** 2 / (draws / 6)).sum() < 35.0  # 5 degrees of freedom


def test_every_epoch_sees_every_row_once_in_an_order_of_its_own() -> None:
    """Rows are one-hot, and batches single rows: the weight that a step moves names its row."""
    n, seen = 30, []

    class Watch(culpa.Callback):
        every_steps = 1
        before = np.zeros((n, 1))

        def on_step(self, training: Training) -> None:
            after = np.array(training.model.layers[0].weight)
            seen.extend(np.flatnonzero(after != self.before).tolist())
            self.before = after

    model = culpa.Sequential([Dense(1, initializer="zeros")], "mse", seed=6, dtype="float64")
    watch = Watch()
    for _ in range(2):
        model.fit(
            np.eye(n),
            np.ones(n),
            batch_size=1,
            epochs=2,
            optimizer=culpa.SGD(0.1),
            callbacks=watch,
            verbose=False,
        )
    want = [_core.permutation(n, 6, 0, epoch) for epoch in range(4)]
    assert seen == np.concatenate(want).tolist()
    assert len({tuple(order.tolist()) for order in want}) == 4


# --- Initial weights -----------------------------------------------------------------------------

INPUTS, UNITS = 300, 200
VARIANCE = {
    "glorot_uniform": 2.0 / (INPUTS + UNITS),
    "glorot_normal": 2.0 / (INPUTS + UNITS),
    "he_uniform": 2.0 / INPUTS,
    "he_normal": 2.0 / INPUTS,
    "lecun_uniform": 1.0 / INPUTS,
    "lecun_normal": 1.0 / INPUTS,
}


def initial(name: str, seed: int | None = 0) -> culpa.Sequential:
    layers = [Dense(UNITS, initializer=name), Dense(INPUTS, initializer=name)]
    return culpa.Sequential(layers, "mse", seed=seed, input_size=INPUTS)


@pytest.mark.parametrize("name", VARIANCE)
def test_initial_weights_have_the_variance_and_the_bounds_of_their_name(name: str) -> None:
    model = initial(name)
    W = model.layers[0].weight.astype(np.float64) / np.sqrt(VARIANCE[name])
    assert abs(W.mean()) < 5.0 / np.sqrt(W.size)
    assert W.var() == pytest.approx(1.0, abs=5.0 * np.sqrt(2.0 / W.size))
    if name.endswith("uniform"):
        assert 0.999 * np.sqrt(3.0) < np.abs(W).max() <= np.sqrt(3.0) * (1.0 + 1e-6)
        parts, _ = np.histogram(W, 10, (-1.7320509, 1.7320509))
        assert ((parts - W.size / 10) ** 2 / (W.size / 10)).sum() < 40.0  # 9 degrees of freedom
    else:
        assert 3.5 < np.abs(W).max() < 6.0
        within = (np.abs(W) < 1.0).mean()
        assert within == pytest.approx(0.6827, abs=5.0 * 0.466 / np.sqrt(W.size))
    assert not model.layers[0].bias.any()


def test_initial_weights_may_be_zeros() -> None:
    assert not initial("zeros").layers[0].weight.any()


@pytest.mark.parametrize("name", VARIANCE)
def test_initial_weights_are_reproducible_and_differ_by_layer_and_seed(name: str) -> None:
    first = initial(name)
    assert helpers.parameter_bytes(first) == helpers.parameter_bytes(initial(name))
    others = [initial(name, 1), initial(name, 2**32), initial(name, None)]
    weights = [first.layers[1].weight, *(model.layers[0].weight for model in others)]
    for other in weights:
        correlation = np.corrcoef(first.layers[0].weight.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5.0 / np.sqrt(other.size)


def test_float64_and_float32_models_begin_alike() -> None:
    for name in VARIANCE:
        wide = culpa.Sequential(
            [Dense(9, initializer=name)], "mse", seed=1, input_size=5, dtype="float64"
        )
        narrow = culpa.Sequential([Dense(9, initializer=name)], "mse", seed=1, input_size=5)
        np.testing.assert_array_equal(
            wide.layers[0].weight.astype(np.float32), narrow.layers[0].weight
        )


# --- Side by side --------------------------------------------------------------------------------


def several_models() -> list[culpa.Sequential]:
    layers: list[list[Dense | Dropout]] = [
        [Dense(4)],
        [Dense(33, "relu"), Dense(4)],
        [Dropout(0.2), Dense(17, "tanh"), Dropout(0.5), Dense(9, "gelu"), Dense(4)],
        [Dense(33, "relu"), Dense(4)],
    ]
    return [culpa.Sequential(each, "cross_entropy", seed=seed) for seed, each in enumerate(layers)]


def labelled(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 4, rows)
    return rng.normal(size=(rows, 6)) + y[:, None], y


OPTIONS_OF_MANY: list[dict[str, Any]] = [
    {"optimizer": culpa.SGD(0.1, momentum=0.9)},
    {"optimizer": culpa.Adam(1e-2), "clip_norm": 0.5, "schedule": culpa.OneCycle()},
    {"sample_weight": np.linspace(0.0, 2.0, 120), "shuffle": False},
    {"validation_split": 0.25, "early_stopping": 2, "optimizer": culpa.SGD(2.0)},
]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("options", OPTIONS_OF_MANY, ids=lambda o: "-".join(o))
def test_fit_many_gives_each_model_the_bits_of_its_own_fit(
    options: dict[str, Any], threads: int
) -> None:
    X, y = labelled()
    options = {"epochs": 4, "batch_size": 16, "verbose": False, **options}
    alone = several_models()
    losses = [model.fit(X, y, **options).loss for model in alone]
    together = several_models()
    culpa.set_num_threads(threads)
    histories = culpa.fit_many(together, X, y, **options)
    for i, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert helpers.parameter_bytes(one) == helpers.parameter_bytes(other)
        assert histories[i].loss == losses[i]


@pytest.mark.parametrize("seconds", [1e-9, 0.05])
def test_fit_many_on_folds_is_fit_on_each_fold(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(culpa.training.run, "CHUNK_SECONDS", seconds)
    X, y = labelled()
    folds = [np.flatnonzero(np.arange(120) % 4 != k) for k in range(3)] + [np.arange(7)]
    options = {"epochs": 3, "batch_size": 16, "verbose": False}
    alone = several_models()
    for model, rows in zip(alone, folds, strict=True):
        model.fit(X[rows], y[rows], **options)
    together = several_models()
    culpa.fit_many(together, X, y, rows=folds, **options)
    for one, other in zip(alone, together, strict=True):
        assert helpers.parameter_bytes(one) == helpers.parameter_bytes(other)


def in_threads(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run tasks in a Python thread each, all beginning at once; give their answers."""
    gate = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        gate.wait(PATIENCE)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, task) for task in tasks]]


def test_two_models_train_at_once_with_the_right_bits() -> None:
    cases = [CASES["everything"], CASES["float64"], CASES["few rows and wide layers"]]
    want = [helpers.parameter_bytes(case.trained(epochs=4)) for case in cases]
    with helpers.plan(2):
        models = in_threads([lambda case=case: case.trained(epochs=4) for case in cases])
    assert [helpers.parameter_bytes(model) for model in models] == want


@pytest.mark.parametrize("name", ["everything", "several blocks"])
def test_many_threads_ask_one_model_at_once_and_agree(name: str) -> None:
    case = CASES[name]
    model = case.model()
    want = case.answers(model)
    with helpers.plan(2):
        for answers in in_threads([lambda: case.answers(model)] * 8):
            for key, got in answers.items():
                np.testing.assert_array_equal(got, want[key], key)


def test_models_are_asked_while_another_trains() -> None:
    case = CASES["everything"]
    model = case.model()
    want = case.answers(model)
    trained = helpers.parameter_bytes(case.trained(epochs=10))
    with helpers.plan(3):
        first, *answers = in_threads(
            [lambda: case.trained(epochs=10), *[lambda: case.answers(model)] * 3]
        )
    assert helpers.parameter_bytes(first) == trained
    for answer in answers:
        for key, got in answer.items():
            np.testing.assert_array_equal(got, want[key], key)


def test_a_model_in_training_is_asked_from_other_threads() -> None:
    """Which weights they see is chance; that they see whole steps and finite numbers is not."""
    case = CASES["everything"]
    model = case.model()

    def ask() -> bool:
        return all(np.isfinite(model.predict(case.X)).all() for _ in range(20))

    def train() -> bool:
        model.fit(case.X, case.y, sample_weight=case.weight, **{**case.options, "epochs": 10})
        return True

    with helpers.plan(2):
        assert all(in_threads([train, ask, ask, ask]))
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(case.trained(epochs=10))


def while_training(case: Case, other: Callable[[culpa.Sequential], Any]) -> culpa.Sequential:
    """Train; at the end of the first epoch let another thread do something, and wait for it."""
    done = []

    def callback(training: Training) -> None:
        if not done:
            done.append(in_threads([lambda: other(training.model)]))

    model = case.trained(callbacks=callback)
    assert done
    return model


def test_a_second_fit_from_another_thread_is_refused_and_harms_nothing() -> None:
    case = CASES["plain"]

    def second(model: culpa.Sequential) -> None:
        with pytest.raises(RuntimeError, match="being trained"):
            model.fit(case.X, case.y, verbose=False)

    model = while_training(case, second)
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(case.trained())


def test_fit_many_of_a_model_in_training_is_refused_and_harms_nothing() -> None:
    case = CASES["plain"]

    def second(model: culpa.Sequential) -> None:
        with pytest.raises(RuntimeError, match="being trained"):
            culpa.fit_many([case.model(), model], case.X, case.y, epochs=1)

    model = while_training(case, second)
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(case.trained())


def test_loading_from_another_thread_while_training_is_refused_and_harms_nothing() -> None:
    case = CASES["plain"]

    def load(model: culpa.Sequential) -> None:
        with pytest.raises(RuntimeError, match="being trained"):
            model.load_state_dict(model.state_dict())
        with pytest.raises(RuntimeError, match="being trained"):
            model.layers[0].bias = np.zeros(33)

    model = while_training(case, load)
    assert helpers.parameter_bytes(model) == helpers.parameter_bytes(case.trained())


# --- Forks and the float mode --------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_trains_and_so_does_its_parent_afterwards() -> None:
    digests = helpers.last_json_of("train_in_forks.py")
    assert len(digests) == 6
    assert len(set(digests)) == 1
    assert len(digests[0]) == len(hashlib.sha256().hexdigest())


def denormals_live() -> bool:
    half = np.array([sys.float_info.min]) / 2.0
    return sys.float_info.min / 2.0 != 0.0 and bool((half * 2.0 == sys.float_info.min).all())


def test_denormals_live_on_after_everything_that_culpa_does() -> None:
    assert denormals_live()
    case = CASES["everything"]
    seen = []
    with helpers.plan(3):
        model = case.trained(callbacks=lambda training: seen.append(denormals_live()))
        case.answers(model)
        assert denormals_live()
        with pytest.raises(ValueError, match="X"):
            model.predict(np.full_like(case.X, np.nan))
        assert denormals_live()
        seen += in_threads([lambda: (case.trained(), denormals_live())[1]] * 2)
    assert seen == [True] * len(seen)


def test_denormals_live_on_after_import() -> None:
    code = (
        "import sys, json, culpa; from culpa import _core;"
        "print(json.dumps(sys.float_info.min / 2 != 0))"
    )
    assert helpers.last_json(code) is True
