"""A diagnosis: its numbers equal the oracle's, and it names what nets were built to suffer from."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import culpa
import helpers
import reference
from culpa.studies.health import vitals
from culpa.training.training import Training

X, Y, X_TEST, Y_TEST = culpa.datasets.digits()


def net(*layers: tuple[int, str], **options: Any) -> culpa.Sequential:
    options = {"loss": "cross_entropy", "input_size": 64, "input_scale": 1 / 16, **options}
    return culpa.Sequential([culpa.Dense(units, name) for units, name in layers], **options)


def scaled(model: culpa.Sequential, factor: float) -> culpa.Sequential:
    for layer in model.layers:
        layer.weight = layer.weight * factor
    return model


def kinds(found: culpa.Diagnosis) -> list[str]:
    return [finding.kind for finding in found.findings]


def only(found: culpa.Diagnosis, kind: str) -> Any:
    matching = [finding for finding in found.findings if finding.kind == kind]
    assert len(matching) == 1, found
    return matching[0]


# The numbers


def oracle(problem: helpers.Problem, optimizer: Any) -> list[dict[str, float]]:
    """The table by its definitions."""
    X, scale = problem.X, problem.model.input_scale
    z, h = reference.forward(problem.parameters, X * scale, problem.activations, problem.alphas)
    walk = problem.walk
    vector, mask = reference.flatten(problem.parameters), reference.weight_mask(problem.parameters)
    gradient = reference.flatten(list(zip(walk.weights, walk.biases, strict=True)))
    after = reference.unflatten(optimizer.step(vector, gradient, mask), problem.parameters)
    rows = []
    for layer, name in enumerate(problem.activations):
        alpha = problem.alphas[layer]
        alpha = reference.DEFAULT_ALPHA.get(name, 0.0) if alpha is None else alpha
        slopes = reference.ACTIVATIONS[name][1](z[layer], alpha)
        flat = np.abs(slopes) < 0.05 * {"tanh": 1.0, "sigmoid": 0.25}.get(name, 0.0)
        W = problem.parameters[layer][0]
        rows.append(
            {
                "dead": (np.abs(slopes).max(axis=0) < 1e-6).mean(),
                "saturated": (flat.mean(axis=0) >= 0.95).mean(),
                "mean": h[layer + 1].mean(),
                "spread": h[layer + 1].std(),
                "signal_norm": np.sqrt((walk.nodes[layer] ** 2).sum(axis=1).mean()),
                "gradient_norm": np.linalg.norm(walk.weights[layer]),
                "weight_norm": np.linalg.norm(W),
                "update_ratio": np.linalg.norm(after[layer][0] - W) / np.linalg.norm(W),
            }
        )
    return rows


def assert_table(problem: helpers.Problem, optimizer: Any, found: culpa.Diagnosis) -> None:
    tolerance = helpers.TOLERANCE[problem.model.dtype]
    rows = oracle(problem, optimizer)
    assert len(rows) == len(found.layers)
    for want, got in zip(rows, found.layers, strict=True):
        for name, value in want.items():
            helpers.assert_close(f"{got.layer} {name}", getattr(got, name), value, 10 * tolerance)
    helpers.assert_close("loss", found.loss, problem.walk.loss, tolerance)


@pytest.mark.parametrize("dtype", helpers.DTYPES)
@pytest.mark.parametrize("activation", helpers.ACTIVATIONS)
def test_numbers_are_the_oracles(activation: str, dtype: str) -> None:
    problem = helpers.make_problem(
        (5, 7, 1, 4), [activation, activation, "identity"], helpers.LOSSES[0], 23, dtype
    )
    found = culpa.diagnose(problem.model, problem.X, problem.y)
    assert_table(problem, reference.Adam(), found)
    assert [x[:3] for x in found.layers] == [
        ("dense_0", 7, activation),
        ("dense_1", 1, activation),
        ("dense_2", 4, "identity"),
    ]
    assert found.examples == 23


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_numbers_are_the_oracles_for_every_loss(case: helpers.LossCase) -> None:
    problem = helpers.make_problem((3, 4, 2), ["tanh", "identity"], case, 9, input_scale=0.25)
    found = culpa.diagnose(problem.model, problem.X, problem.y)
    assert_table(problem, reference.Adam(), found)


def test_one_example_and_width_1() -> None:
    problem = helpers.make_problem((1, 1, 1), ["tanh", "identity"], helpers.LOSSES[5], 1)
    assert_table(problem, reference.Adam(), culpa.diagnose(problem.model, problem.X, problem.y))


def test_batches_and_alphas_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "BATCH_VALUES", 20)  # two rows at a time
    problem = helpers.make_problem(
        (5, 9, 3), ["leaky_relu", "identity"], helpers.LOSSES[0], 23, alphas=[0.2, None]
    )
    assert_table(problem, reference.Adam(), culpa.diagnose(problem.model, problem.X, problem.y))


def test_the_step_is_the_next_one_of_the_models_optimizer() -> None:
    problem = helpers.make_problem((5, 7, 3), ["tanh", "identity"], helpers.LOSSES[0], 23)
    model, sgd = problem.model, reference.SGD(learning_rate=0.3, momentum=0.9)
    batch = [reference.Batch(problem.X, problem.y)]
    options = {"optimizer": culpa.SGD(0.3, momentum=0.9), "shuffle": False, "verbose": False}
    model.fit(problem.X, problem.y, epochs=2, batch_size=23, **options)
    _, parameters = reference.training_steps(
        problem.parameters, batch, 2, sgd, problem.activations, "cross_entropy"
    )
    moved = dataclasses.replace(problem, parameters=parameters)
    assert_table(moved, sgd, culpa.diagnose(model, problem.X, problem.y))


def test_dropout_takes_no_part() -> None:
    plain = net((20, "relu"), (10, "identity"))
    dropping = culpa.Sequential(
        [culpa.Dropout(0.5), culpa.Dense(20, "relu"), culpa.Dropout(0.5), culpa.Dense(10)],
        "cross_entropy",
        input_size=64,
        input_scale=1 / 16,
    )
    assert culpa.diagnose(dropping, X, Y).layers == culpa.diagnose(plain, X, Y).layers


def test_spread_does_not_cancel() -> None:
    """Activations around 1e6 that differ by 1."""
    model = helpers.make_model(
        [(np.ones((1, 1)), np.array([1e6]))], ["identity"], "mse", dtype="float64"
    )
    found = culpa.diagnose(model, [[0.0], [1.0]], [0.0, 1.0])
    assert found.layers[0].spread == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("case", helpers.LOSSES, ids=str)
def test_chance_is_the_least_loss_of_a_constant(case: helpers.LossCase) -> None:
    problem = helpers.make_problem((3, 2), ["identity"], case, 31)
    found = culpa.diagnose(problem.model, problem.X, problem.y)
    best = case.loss.best_constant(problem.y, outputs=2)

    def mean_loss(outputs: np.ndarray) -> float:
        losses, _ = reference.LOSSES[case.loss.name](
            np.tile(outputs, (31, 1)), problem.y, **case.options
        )
        return float(losses.mean())

    assert found.chance_loss == pytest.approx(mean_loss(best), rel=1e-9)
    for size in (1e-3, 0.1, 1.0):
        for step in size * np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1], [1, -1]]):
            assert mean_loss(best + step) >= found.chance_loss - 1e-12


def test_examples_are_drawn_alike_each_time_and_thread_counts_do_not_show() -> None:
    model = net((20, "relu"), (10, "identity"))
    answers = []
    for threads in (1, 2, 3):
        with helpers.plan(threads):
            answers.append(culpa.diagnose(model, X, Y, max_examples=100))
    assert answers[0].examples == 100
    assert answers[0].layers == answers[1].layers == answers[2].layers
    assert answers[0].loss != culpa.diagnose(model, X, Y).loss


def test_any_array_will_do() -> None:
    model = net((20, "tanh"), (10, "identity"))
    want = culpa.diagnose(model, X, Y, max_examples=50)
    for other in (
        X.astype(np.float64),
        np.asfortranarray(X),
        X.tolist(),
        np.repeat(X, 2, 1)[:, ::2],
    ):
        assert culpa.diagnose(model, other, list(Y), max_examples=50).layers == want.layers


def test_the_model_stays_as_it_is() -> None:
    for model in (net((20, "relu"), (10, "identity")), net((20, "relu"), (10, "identity"))):
        twin = model.copy()
        culpa.diagnose(model, X, Y)
        for each in (model, twin):
            each.fit(X, Y, epochs=2, verbose=False)
        assert helpers.parameter_bytes(model) == helpers.parameter_bytes(twin)
        culpa.diagnose(model, X, Y)
        for each in (model, twin):
            each.fit(X, Y, epochs=1, verbose=False)
        assert helpers.parameter_bytes(model) == helpers.parameter_bytes(twin)


# The findings


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "leaky_relu"])
def test_a_trained_net_is_healthy(activation: str) -> None:
    model = net((64, activation), (32, activation), (10, "identity"))
    model.fit(X, Y, epochs=20, verbose=False)
    found = culpa.diagnose(model, X, Y)
    assert found.findings == []
    assert found.healthy
    assert "looks healthy" in repr(found)


def test_a_fresh_net_is_only_untrained() -> None:
    found = culpa.diagnose(net((64, "relu"), (10, "identity")), X, Y)
    assert kinds(found) == ["chance_loss"]
    assert "Before training, that is to be expected" in found.findings[0].sentence


def test_a_regression_that_is_learned_is_healthy() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(500, 4))
    y = np.sin(inputs[:, 0]) + inputs[:, 1]
    model = net((32, "tanh"), (1, "identity"), loss="mse", input_size=4, input_scale=1)
    model.fit(inputs, y, epochs=60, verbose=False)
    assert culpa.diagnose(model, inputs, y).findings == []


@pytest.mark.parametrize("activation", ["relu", "elu", "gelu", "silu", "softplus"])
def test_dead_layer(activation: str) -> None:
    model = net((20, activation), (8, "relu"), (10, "identity"))
    model.layers[0].bias = np.full(20, -100.0)
    model.layers[1].bias = np.full(8, 20.0)
    found = culpa.diagnose(model, X, Y)
    dead = only(found, "dead_nodes")
    assert (dead.layer, dead.value) == ("dense_0", 1.0)
    assert "All 20 nodes of dense_0 never respond" in dead.sentence
    assert "Nothing before them" in dead.sentence
    assert "vanishing_signal" not in kinds(found)  # named once, by its cause


def test_some_dead_nodes() -> None:
    model = net((20, "relu"), (10, "identity"))
    for dead, expected in ((4, False), (7, True)):
        model.layers[0].bias = np.where(np.arange(20) < dead, -100.0, 1.0)
        found = culpa.diagnose(model, X, Y)
        assert found.layers[0].dead == dead / 20
        assert ("dead_nodes" in kinds(found)) == expected
    assert "7 of the 20 nodes of dense_0 never respond to any" in only(found, "dead_nodes").sentence


def test_one_dead_node_alone() -> None:
    model = net((1, "relu"), (10, "identity"))
    model.layers[0].bias = [-100.0]
    sentence = only(culpa.diagnose(model, X, Y), "dead_nodes").sentence
    assert sentence.startswith("The one node of dense_0 never responds to any of the 1,437")


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_saturated_layer(activation: str) -> None:
    model = net((20, activation), (10, "identity"))
    model.layers[0].weight = model.layers[0].weight * 1000
    found = culpa.diagnose(model, X, Y)
    saturated = only(found, "saturated_nodes")
    assert (saturated.layer, found.layers[0].dead) == ("dense_0", 0.0)
    assert saturated.value == found.layers[0].saturated > 0.9


def test_vanishing_signal_of_a_deep_sigmoid_net() -> None:
    found = culpa.diagnose(net(*[(30, "sigmoid")] * 7, (10, "identity")), X, Y)
    vanishing = only(found, "vanishing_signal")
    signals = [layer.signal_norm for layer in found.layers]
    where = int(vanishing.layer.removeprefix("dense_"))
    assert vanishing.value == signals[where] / signals[-1] < 1e-3 < signals[where + 1] / signals[-1]
    assert "exploding_signal" not in kinds(found)


def test_exploding_signal_of_large_weights() -> None:
    found = culpa.diagnose(scaled(net(*[(30, "relu")] * 5, (10, "identity")), 30), X, Y)
    exploding = only(found, "exploding_signal")
    signals = [layer.signal_norm for layer in found.layers]
    where = int(exploding.layer.removeprefix("dense_"))
    assert exploding.value == signals[where] / signals[-1] > 1e3 > signals[where + 1] / signals[-1]


def test_overflow() -> None:
    found = culpa.diagnose(scaled(net(*[(30, "relu")] * 4, (10, "identity")), 1e12), X, Y)
    assert kinds(found) == ["overflow"]
    assert found.findings[0].layer == "dense_3"
    assert "float32" in found.findings[0].sentence
    assert "nan" not in repr(found).replace("loss nan", "")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_weights(bad: float) -> None:
    model = net((20, "relu"), (10, "identity"))
    core = model._network.core
    flat = core.copy_parameters()
    flat[{name: offset for name, offset, *_ in core.arrays()}["dense_1.weight"]] = bad
    core.set_parameters(flat)
    found = culpa.diagnose(model, X, Y)
    assert kinds(found) == ["bad_weights"]
    assert (found.findings[0].layer, found.findings[0].value) == ("dense_1", 1.0)


def test_learning_rates_beyond_reason() -> None:
    model = net((20, "relu"), (10, "identity"))
    model.fit(X, Y, epochs=1, optimizer=culpa.SGD(1e-9), verbose=False)
    small = only(culpa.diagnose(model, X, Y), "update_too_small")
    assert small.value < 1e-5
    assert "1e-09" in small.advice
    model.fit(X, Y, epochs=0, optimizer=culpa.Adam(1.0), verbose=False)
    large = only(culpa.diagnose(model, X, Y), "update_too_large")
    assert large.value > 0.1
    model.fit(X, Y, epochs=0, optimizer=culpa.SGD(0.0), verbose=False)
    still = only(culpa.diagnose(model, X, Y), "update_too_small")
    assert (still.value, "not at all" in still.sentence) == (0.0, True)


def test_small_steps_of_a_net_that_has_learned_are_no_fault() -> None:
    model = net((64, "relu"), (10, "identity"))
    model.fit(X, Y, epochs=20, verbose=False)
    model.fit(X, Y, epochs=0, optimizer=culpa.SGD(1e-6), verbose=False)
    found = culpa.diagnose(model, X, Y)
    assert max(layer.update_ratio for layer in found.layers) < 1e-5
    assert found.healthy


def test_constant_outputs() -> None:
    model = net((20, "relu"), (10, "identity"))
    model.layers[1].weight = np.zeros((20, 10))
    model.layers[1].bias = np.arange(10.0)
    found = culpa.diagnose(model, X, Y)
    assert only(found, "constant_outputs").layer == "dense_1"
    assert np.isnan(found.layers[1].update_ratio)  # of weights of no size
    assert "constant_outputs" not in kinds(culpa.diagnose(model, X[:1], Y[:1]))
    assert "constant_outputs" not in kinds(culpa.diagnose(model, X[[0, 0]], Y[:2]))


def test_loss_at_chance_of_wrong_labels() -> None:
    model = net((32, "relu"), (10, "identity"))
    model.fit(X, Y, epochs=5, verbose=False)
    shuffled = np.random.default_rng(0).permutation(Y)
    chance = only(culpa.diagnose(model, X, shuffled), "chance_loss")
    assert chance.value > 1
    assert "Before training" not in chance.sentence


def test_nothing_to_learn_is_no_fault() -> None:
    model = net((1, "identity"), loss="mse")
    model.layers[0].weight = np.zeros((64, 1))
    found = culpa.diagnose(model, X, np.zeros(len(X)))
    assert (found.loss, found.chance_loss) == (0.0, 0.0)
    assert "chance_loss" not in kinds(found)
    assert "vanishing_signal" not in kinds(found)


def test_inputs_of_wild_scale() -> None:
    def inputs(scale: float, data: Any = X) -> Any:
        model = net((20, "relu"), (10, "identity"), input_scale=scale)
        return [f for f in culpa.diagnose(model, data, Y).findings if f.kind == "inputs"]

    assert inputs(1 / 16) == inputs(1.0) == []
    assert "input_scale" in inputs(10.0)[0].advice
    assert "very large: input " in inputs(10.0)[0].sentence
    assert "very small" in inputs(1e-5)[0].sentence
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: the frames extra")
    frame = pandas.DataFrame(X, columns=[f"pixel_{i}" for i in range(64)]).astype(float)
    frame["pixel_7"] += 50_000
    assert "'pixel_7' has values of about 3,125" in inputs(1 / 16, frame)[0].sentence
    check = culpa.HealthCheck()
    net((10, "identity")).fit(frame, Y, epochs=1, callbacks=check, verbose=False)
    assert "'pixel_7' has values" in check.findings[0].sentence


def test_the_report() -> None:
    model = net((20, "relu"), (10, "identity"))
    model.layers[0].bias = np.full(20, -100.0)
    lines = repr(culpa.diagnose(model, X, Y)).splitlines()
    assert lines[0].startswith("Diagnosis by 1,437 examples: loss ")
    assert lines[1].split()[:4] == ["layer", "nodes", "dead", "saturated"]
    assert lines[2].split()[:4] == ["dense_0", "20", "relu", "100%"]
    assert lines[5].startswith("1. All 20 nodes")
    assert lines[6].startswith("   Try: ")
    assert str(culpa.diagnose(model, X[:1], Y[:1])).startswith("Diagnosis by 1 example: ")


def test_errors_name_the_argument() -> None:
    model = net((20, "relu"), (10, "identity"))
    with pytest.raises(TypeError, match=r"model: expected a culpa\.Sequential, got 3"):
        culpa.diagnose(3, X, Y)
    with pytest.raises(ValueError, match="max_examples: expected an integer of at least 1, got 0"):
        culpa.diagnose(model, X, Y, max_examples=0)
    with pytest.raises(ValueError, match="y: expected one entry for each of the 1437 rows"):
        culpa.diagnose(model, X, Y[:-1])
    with pytest.raises(ValueError, match="X: expected 64 columns"):
        culpa.diagnose(model, X[:, :-1], Y)
    broken = X.astype(np.float32)
    broken[5, 3] = np.nan
    with pytest.raises(ValueError, match=r"X: .*row 5, column 3"):
        culpa.diagnose(model, broken, Y)
    with pytest.raises(RuntimeError, match="no weights yet"):
        culpa.diagnose(net((10, "identity"), input_size=None), X, Y)


def test_a_memory_map(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    model = net((20, "relu"), (10, "identity"))
    assert culpa.diagnose(model, mapped, Y).layers == culpa.diagnose(model, X, Y).layers
    mapped[7] = np.nan
    with pytest.raises(ValueError, match="X: expected finite numbers"):
        culpa.diagnose(model, mapped, Y)


# While training


def test_a_check_leaves_trainings_bits_alone() -> None:
    check = culpa.HealthCheck()
    models = [net((32, "relu"), (10, "identity")) for _ in range(2)]
    options = {"epochs": 3, "verbose": False, "schedule": culpa.Cosine()}
    models[0].fit(X, Y, callbacks=check, **options)
    models[1].fit(X, Y, **options)
    assert helpers.parameter_bytes(models[0]) == helpers.parameter_bytes(models[1])
    for a, b in zip(
        models[0]._network.core.moments(), models[1]._network.core.moments(), strict=True
    ):
        assert np.array_equal(a, b)


def test_a_check_tells_what_diagnose_would() -> None:
    check = culpa.HealthCheck(every_epochs=2, max_examples=4096)
    model = net((32, "relu"), (10, "identity"))
    seen = []

    def diagnose(training: Any) -> None:
        seen.append(culpa.diagnose(model, X, Y))

    model.fit(X, Y, epochs=5, callbacks=[check, diagnose], verbose=False)
    assert check.epochs == [1, 3]
    assert [d.layers for d in check.diagnoses] == [seen[1].layers, seen[3].layers]
    assert check.layer_names == ("dense_0", "dense_1")
    want = [[layer.signal_norm for layer in d.layers] for d in (seen[1], seen[3])]
    assert np.array_equal(check.signal_norms, want)
    want = [[layer.update_ratio for layer in d.layers] for d in (seen[1], seen[3])]
    assert np.array_equal(check.update_ratios, want)
    assert check.findings == seen[3].findings
    assert check.every_steps is None  # no calls between steps
    report = repr(check)
    assert report == str(check)
    assert report.startswith("HealthCheck after epoch 3. Diagnosis by 1,437 examples")
    assert "Error signal, epoch 1 to 3:" in report


def test_a_check_with_data_of_its_own_and_a_schedule() -> None:
    check = culpa.HealthCheck(X_TEST, Y_TEST, max_examples=100)
    model = net((32, "relu"), (10, "identity"))
    rates = culpa.StepDecay(factor=0.1, every_epochs=1)
    model.fit(X, Y, epochs=3, callbacks=check, schedule=rates, verbose=False)
    assert [d.examples for d in check.diagnoses] == [100] * 3
    assert (check.update_ratios[2] < 0.1 * check.update_ratios[0]).all()


def test_a_check_sees_only_the_rows_trained_on() -> None:
    check = culpa.HealthCheck(max_examples=4096)
    net((10, "identity")).fit(X, Y, epochs=1, callbacks=check, validation_split=0.25, verbose=False)
    assert check.diagnoses[0].examples == 1437 - round(0.25 * 1437)


def test_each_fit_starts_anew_and_an_empty_check_prints() -> None:
    check = culpa.HealthCheck()
    assert "no epoch looked at yet" in repr(check)
    assert check.findings == []
    assert check.signal_norms.shape == (0, 0)
    net((10, "identity")).fit(X, Y, epochs=2, callbacks=check, verbose=False)
    net((4, "relu"), (10, "identity")).fit(X, Y, epochs=1, callbacks=check, verbose=False)
    assert check.signal_norms.shape == (1, 2)
    net((10, "identity")).fit(X, Y, epochs=0, callbacks=check, verbose=False)
    assert check.signal_norms.shape == (0, 1)


def test_models_side_by_side_need_a_check_each() -> None:
    models = [net((10, "identity"), seed=seed) for seed in range(2)]
    check = culpa.HealthCheck()
    with pytest.raises(ValueError, match=r"callbacks: .*no HealthCheck in fit_many"):
        culpa.fit_many(models, X, Y, epochs=1, callbacks=check)
    with pytest.raises(ValueError, match=r"callbacks: .*no HealthCheck in fit_many"):
        culpa.find_label_errors(models[0], X, Y, callbacks=[check])
    assert all(model.history is None and model.optimizer is None for model in models)
    models[0].fit(X, Y, epochs=1, callbacks=check, verbose=False)  # and it works again
    assert len(check.diagnoses) == 1


def test_a_check_is_for_one_fit_at_a_time() -> None:
    check, other = culpa.HealthCheck(), net((10, "identity"))

    def fit_the_other(training: Training) -> None:
        with pytest.raises(ValueError, match="HealthCheck of its own for each model"):
            other.fit(X, Y, epochs=1, callbacks=check, verbose=False)

    model = net((10, "identity"))
    model.fit(X, Y, epochs=1, callbacks=[fit_the_other, check], verbose=False)
    assert len(check.diagnoses) == 1
    assert other.history is None


def test_errors_of_a_check() -> None:
    with pytest.raises(ValueError, match="y: expected it beside X, got None"):
        culpa.HealthCheck(X)
    with pytest.raises(ValueError, match="X: expected it beside y, got None"):
        culpa.HealthCheck(y=Y)
    with pytest.raises(ValueError, match="every_epochs: expected an integer of at least 1, got 0"):
        culpa.HealthCheck(every_epochs=0)
    model = net((10, "identity"))
    with pytest.raises(ValueError, match="X: expected 64 columns"):
        model.fit(X, Y, epochs=1, callbacks=culpa.HealthCheck(X[:, :3], Y), verbose=False)
    assert model.history is None  # not touched
    assert model.optimizer is None


def test_neither_needs_more_than_numpy() -> None:
    code = (
        "import json, sys, culpa; culpa.diagnose; culpa.HealthCheck(); "
        "print(json.dumps([m for m in ('matplotlib', 'pandas', 'scipy') if m in sys.modules]))"
    )
    assert helpers.last_json(code) == []


# Layers of other kinds


def residual_net(*, last: float = 1.0, **options: Any) -> culpa.Sequential:
    """Two Dense layers inside a Residual, the last of them scaled; names dense_0 to dense_3."""
    inside = [culpa.LayerNorm(), culpa.Dense(12, "relu"), culpa.Dropout(0.2), culpa.Dense(20)]
    layers = [
        culpa.Scale(),
        culpa.Dense(20),
        culpa.Activation("tanh"),
        culpa.Residual(inside),
        culpa.Activation("relu"),
        culpa.Dense(10),
    ]
    options = {"input_size": 64, "input_scale": 1 / 16, **options}
    model = culpa.Sequential(layers, "cross_entropy", **options)
    state = model.state_dict()
    model.load_state_dict({**state, "dense_2.weight": last * state["dense_2.weight"]})
    return model


def set_array(model: culpa.Sequential, name: str, value: Any) -> culpa.Sequential:
    """Set an array past all checks."""
    core = model._network.core
    flat = core.copy_parameters()
    model._network.split(flat)[name][...] = value
    core.set_parameters(flat)
    return model


@pytest.mark.parametrize("dtype", helpers.DTYPES)
def test_numbers_of_a_network_with_other_layers(dtype: str) -> None:
    model = residual_net(dtype=dtype)
    helpers.shake(model)
    n, tolerance = 100, helpers.TOLERANCE[dtype]
    model.fit(X[:n], Y[:n], epochs=1, optimizer=culpa.SGD(0.1), verbose=False)
    found = culpa.diagnose(model, X[:n], Y[:n])
    blame = model.blame(X[:n], Y[:n], want=("nodes", "hidden", "slopes", "weights"))
    assert [layer.layer for layer in found.layers] == [f"dense_{i}" for i in range(4)]
    assert [layer.activation for layer in found.layers] == ["tanh", "relu", "identity", "identity"]
    state = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    # The first layer by hand: factors, weights, and the activation right behind.
    z = X[:n] / 16 * state["scale_0.factor"] @ state["dense_0.weight"] + state["dense_0.bias"]
    first = found.layers[0]
    helpers.assert_close("mean", first.mean, np.tanh(z).mean(), 10 * tolerance)
    helpers.assert_close("spread", first.spread, np.tanh(z).std(), 10 * tolerance)
    flat = 1 - np.tanh(z) ** 2 < 0.05
    assert first.saturated == (flat.mean(axis=0) >= 0.95).mean()
    for i, layer in enumerate(found.layers):
        signals, gradient = blame.nodes[i].astype(np.float64), blame.weights[i].astype(np.float64)
        norm = np.linalg.norm(state[f"{layer.layer}.weight"])
        for name, value in [
            ("mean", blame.hidden[i].mean(dtype=np.float64)),
            ("signal_norm", np.sqrt((signals**2).sum(axis=1).mean())),
            ("gradient_norm", np.linalg.norm(gradient)),
            ("weight_norm", norm),
            ("update_ratio", 0.1 * np.linalg.norm(gradient) / norm),
        ]:
            helpers.assert_close(
                f"{layer.layer} {name}", getattr(layer, name), value, 30 * tolerance
            )
    assert found.loss == pytest.approx(model.evaluate(X[:n], Y[:n])["loss"], rel=10 * tolerance)


def test_a_trained_net_with_other_layers_is_healthy_and_a_check_says_so() -> None:
    model, check = residual_net(), culpa.HealthCheck()
    model.fit(X, Y, epochs=10, callbacks=check, verbose=False)
    assert culpa.diagnose(model, X, Y).healthy
    assert check.findings == []
    assert check.layer_names == ("dense_0", "dense_1", "dense_2", "dense_3")
    assert check.signal_norms.shape == (10, 4)


def test_broken_gains_and_factors_are_named() -> None:
    for name, count in [("layer_norm_0.gain", 20), ("scale_0.factor", 64)]:
        found = culpa.diagnose(set_array(residual_net(), name, np.nan), X, Y)
        assert kinds(found) == ["bad_weights"]
        assert (found.findings[0].layer, found.findings[0].value) == (name.split(".")[0], count)


def test_a_dead_layer_inside_a_residual_blocks_nothing_before_it() -> None:
    model = set_array(residual_net(), "dense_1.bias", -100.0)
    found = culpa.diagnose(model, X, Y)
    dead = only(found, "dead_nodes")
    assert (dead.layer, dead.value) == ("dense_1", 1.0)
    assert "Nothing before" not in dead.sentence
    assert found.layers[0].signal_norm > 0


def test_a_signal_that_fades_inside_a_residual_is_no_fault_of_those_before() -> None:
    found = culpa.diagnose(residual_net(last=1e-5), X, Y)
    fading = only(found, "vanishing_signal")
    assert fading.layer == "dense_1"
    assert fading.sentence.endswith("so that layer hardly learns.")


def test_the_last_layers_outputs_count_and_not_the_last_dense_layers() -> None:
    # The Residual begins as what it reads: its Dense layer gives 0 for each example.
    inside = culpa.Residual([culpa.Dense(10, initializer="zeros")])
    model = culpa.Sequential([culpa.Dense(10), inside], "cross_entropy", input_scale=1 / 16)
    model.fit(X, Y, epochs=3, optimizer=culpa.Adam(1e-2), verbose=False)
    set_array(model, "dense_1.weight", 0.0)
    assert "constant_outputs" not in kinds(culpa.diagnose(model, X, Y))
    # A LayerNorm of one value gives its shift.
    model = culpa.Sequential([culpa.Dense(1), culpa.LayerNorm()], "mse", input_size=64)
    assert "constant_outputs" in kinds(culpa.diagnose(model, X / 16, Y.astype(float)))


def test_overflow_behind_the_last_dense_layer() -> None:
    model = culpa.Sequential([culpa.Dense(3), culpa.Scale()], "mse", input_size=64)
    set_array(model, "scale_0.factor", 3e38)
    found = culpa.diagnose(model, X, np.zeros((len(X), 3)))
    assert kinds(found) == ["overflow"]
    assert found.findings[0].layer is None
    assert found.findings[0].sentence.startswith("The values computed behind dense_0 grow")


def test_inputs_are_judged_as_the_first_dense_layer_reads_them() -> None:
    def inputs_of(*layers: Any) -> bool:
        model = culpa.Sequential([*layers, culpa.Dense(10)], "cross_entropy", input_size=64)
        if model.state_dict().get("scale_0.factor") is not None:
            set_array(model, "scale_0.factor", 1e-3)
        return "inputs" in kinds(culpa.diagnose(model, 1e3 * X, Y))

    assert inputs_of()
    assert not inputs_of(culpa.Scale())
    assert not inputs_of(culpa.LayerNorm())
    assert inputs_of(culpa.Residual([culpa.LayerNorm(), culpa.Dense(64)]))


def test_frozen_weights_are_meant_to_stay() -> None:
    for factor, kind in [(0, False), (1e-9, True)]:
        layers = [culpa.Dense(20, "relu", learning_rate_factor=factor), culpa.Dense(10)]
        model = culpa.Sequential(layers, "cross_entropy", input_size=64, input_scale=1 / 16)
        assert ("update_too_small" in kinds(culpa.diagnose(model, X, Y))) == kind


def test_any_stack_can_be_looked_at() -> None:
    for layers in helpers.STACKS.values():
        model = culpa.Sequential(layers, "mse", input_size=5)
        helpers.shake(model)
        rows = np.random.default_rng(0).normal(size=(9, 5))
        found = culpa.diagnose(model, rows, np.zeros((9, model.output_size)))
        assert len(found.layers) == len(model._network.architecture.dense)
        assert "nan" not in repr(found)
