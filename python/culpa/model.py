"""Sequential: a model, from its description to its guesses."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from culpa import (
    _checks,
    _core,
    attribution,
    blame,
    columns,
    data,
    influence,
    rounding,
    serialization,
    training,
)
from culpa.callbacks import Callback, History
from culpa.examples import Examples
from culpa.layers import Dense, DenseLayer, Dropout
from culpa.losses import Loss, as_loss, probabilities
from culpa.optimizers import Optimizer
from culpa.thread_limits import follow_threadpoolctl

__all__ = ["Sequential", "fit_many"]

Array = NDArray[Any]
CORES: dict[str, type[_core.Model32] | type[_core.Model64]] = {
    "float32": _core.Model32,
    "float64": _core.Model64,
}


class Snapshot(NamedTuple):
    """Where a model was when a fit began."""

    parameters: Array
    moments: tuple[Array, Array, int] | None
    steps: int
    epochs: int
    optimizer: Optimizer | None
    history: History | None
    feature_names: tuple[str, ...] | None


class Sequential:
    """Dense layers one after the other, a loss, and the training of both.

    Parameters
    ----------
    layers : sequence of Dense and Dropout
        From the inputs to the outputs; the last must be Dense. Its outputs are logits for
        cross_entropy and binary_cross_entropy, the log of the mean for poisson.
    loss : str or Loss
        ``"cross_entropy"``, ``"binary_cross_entropy"``, ``"mse"``, ``"mae"``, ``"huber"``,
        ``"poisson"``, ``"quantile"``, or an object such as ``culpa.Huber(0.5)``.
    seed : int or None, default 0
        Determines initial weights, shuffles and dropout: one seed, one result, at any number of
        threads. None draws one from the operating system.
    input_size : int, optional
        Number of inputs; by default taken from the first data seen.
    dtype : {"float32", "float64"}, default "float32"
        What the model computes in. Data of any real dtype are converted batch by batch; a column
        whose differences float32 cannot hold is warned of (:class:`culpa.RoundingWarning`).
    input_scale : float, default 1
        Multiplies all inputs in fit, predict and blame; ``1/255`` for images of bytes.

    Attributes
    ----------
    layers : list
        The layers as given; ``layers[i].weight`` and ``.bias`` of dense ones are the parameters.
    history : History or None
        What the last fit reported, also where it was interrupted.
    feature_names : tuple of str, or None
        The columns of the first frame that the model was fitted on; other frames must have them.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not as described; the message says how to mend it.

    Examples
    --------
    >>> import culpa
    >>> X, y, X_test, y_test = culpa.datasets.digits()
    >>> model = culpa.Sequential(
    ...     [culpa.Dense(64, "relu"), culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
    >>> history = model.fit(X, y, epochs=20, verbose=False)
    >>> model.evaluate(X_test, y_test)["accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        layers: Sequence[Dense | Dropout],
        loss: str | Loss,
        *,
        seed: int | None = 0,
        input_size: int | None = None,
        dtype: str = "float32",
        input_scale: float = 1.0,
    ) -> None:
        self._descriptions = _checked_layers(layers)
        self._dense = [layer for layer in self._descriptions if isinstance(layer, Dense)]
        self.loss = as_loss(loss)
        if seed is None:
            seed = secrets.randbits(63)
        self.seed = _checks.integer("seed", seed, 0)
        if self.seed >= 2**64:
            raise ValueError(f"seed: expected an integer below 2**64, got {seed!r}")
        self.dtype = _checks.choice("dtype", dtype, CORES)
        most = float(np.finfo(self.dtype).max)
        self.input_scale = _checks.number("input_scale", input_scale, -most, most)
        self.optimizer: Optimizer | None = None
        self.history: History | None = None
        self.layers: list[DenseLayer | Dropout] = []
        for layer in self._descriptions:
            if isinstance(layer, Dense):
                index = sum(isinstance(other, DenseLayer) for other in self.layers)
                self.layers.append(DenseLayer(self, layer, index))
            else:
                self.layers.append(layer)
        self._epochs = 0  # seen in all fits: what shuffles and decays count by
        self._saw_inputs = False  # a fit has, and has said what rounding does to them
        self._claim = _core.Claim()  # of the thread that trains it, or loads weights
        self._core: _core.Model32 | _core.Model64 | None = None
        self._input_size: int | None = None
        self._feature_names: tuple[str, ...] | None = None
        if input_size is not None:
            self._build(_checks.integer("input_size", input_size, 1))

    # Shape

    @property
    def input_size(self) -> int | None:
        """Number of inputs; None until the first data are seen."""
        return self._input_size

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self._dense[-1].units

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """What the inputs are called: the columns of the first frame that the model was fitted on.

        None where it was fitted on arrays alone, or on frames whose columns are not all strings.
        Wherever rows come as a frame, their columns must be these, in this order; arrays are taken
        as they are. To rename the inputs, assign a list of strings; None forgets the names.
        """
        return self._feature_names

    @feature_names.setter
    def feature_names(self, names: Sequence[str] | None) -> None:
        if names is not None:
            self._built()  # raises where there is no input size yet
        self._feature_names = columns.checked_names(names, self._input_size or 0)

    def _make_core(self, inputs: int) -> _core.Model32 | _core.Model64:
        specs: list[tuple[int, int, str, float, float]] = []
        input_dropout, width = 0.0, inputs
        for layer in self._descriptions:
            if isinstance(layer, Dense):
                alpha = layer.activation.alpha or 0.0
                specs.append((width, layer.units, layer.activation.name, alpha, 0.0))
                width = layer.units
            elif specs:
                specs[-1] = (*specs[-1][:4], layer.rate)
            else:
                input_dropout = layer.rate
        weights = sum(spec[0] * spec[1] for spec in specs)
        widest = max(specs, key=lambda spec: spec[0] * spec[1])
        too_many = (
            f"layers: expected a model that fits into memory, got {weights:,} weights, most "
            f"of them in a layer of {widest[0]} x {widest[1]}; use fewer units or inputs"
        )
        if weights > 2**40:  # before any size leaves the range of the core's integers
            raise ValueError(too_many)
        try:
            return CORES[self.dtype](
                layers=specs,
                loss=self.loss.name,
                loss_parameter=self.loss.parameter,
                input_scale=self.input_scale,
                input_dropout=input_dropout,
                seed=self.seed,
                member=0,
            )
        except MemoryError:
            raise MemoryError(too_many) from None

    def _initial_core(self, inputs: int) -> _core.Model32 | _core.Model64:
        core = self._make_core(inputs)
        flat = np.zeros_like(core.parameters())
        for i, (layer, (at, _)) in enumerate(zip(self._dense, core.offsets(), strict=True)):
            weight = layer.initial_weight(core.weight(i).shape[0], self.seed, i)
            flat[at : at + weight.size] = weight.ravel()
        core.set_parameters(flat)
        return core

    def _build(self, inputs: int) -> None:
        self._core, self._input_size = self._initial_core(inputs), inputs

    def _built(self) -> _core.Model32 | _core.Model64:
        follow_threadpoolctl()
        if self._core is None:
            raise RuntimeError(
                "the model has no weights yet, for it does not know its input size: call fit, or "
                "pass input_size= to Sequential"
            )
        return self._core

    # Training

    def fit(self, X: ArrayLike, y: ArrayLike, **options: Any) -> History:
        """Train on examples.

        Parameters
        ----------
        X : array_like or sparse matrix (n, inputs)
            Any real dtype and memory layout; not copied, read row by row, memory maps too. SciPy's
            sparse matrices and arrays are read as CSR (others are converted to it once), and never
            made dense. The names of a frame's columns are kept as `feature_names`, and looked at
            wherever this model gets a frame.
        y : array_like
            cross_entropy: class indices (n,) or probabilities (n, classes);
            binary_cross_entropy: 0 to 1, (n,) or (n, outputs); others: (n,) or (n, outputs).
        rows : array_like of int, optional
            The rows of X to train on, by default all; what is named twice is seen twice an epoch.
        epochs : int, default 10
            Times that every example is seen.
        batch_size : int, default 128
            Examples per step; the last batch of an epoch may be smaller.
        optimizer : str or Optimizer, optional
            ``"sgd"``, ``"adam"``, ``"adamw"``, ``"rmsprop"``, or an object such as
            ``culpa.SGD(0.1)``. By default the one used last, else ``Adam(1e-3)``. A fit with an
            equal optimizer goes on where the last one ended; a different one starts fresh moments.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch, by these sample weights; class weights play no part.
        validation_split : float, default 0
            Fraction of the rows, drawn by the seed, to hold out as validation data instead; with
            their sample weights, but without class weights.
        sample_weight : array_like (n,), optional
            Weight of each example in the loss, at least 0 and above 0 on some row to train on. The
            loss of a batch is the weighted mean of its examples' losses, so that only ratios within
            a batch count: weights count within a batch alone, at ``batch_size=1`` they do nothing,
            and the smaller the batches the less they do.
        class_weight : dict or "balanced", optional
            Weight per class index, times the sample weight, and as that within a batch alone.
            "balanced" weighs a class by ``n / (classes * count)`` of the rows trained on: labels
            that are held out do not count. For training alone, with its loss and metric in the
            history: validation is scored without class weights.
        clip_norm : float, optional
            Largest global norm of the gradient; a longer one is scaled down to it.
        privacy : Privacy, optional
            Differentially private training; see :class:`culpa.Privacy`. Not beside sample_weight,
            class_weight, clip_norm, repeated rows, nor early stopping by the training data.
            ``history.privacy`` has the ``steps`` and, where ``dp-accounting`` is installed, the
            ``epsilon`` of the fit, however it ended.
        early_stopping : EarlyStopping, int or True, optional
            Stop where nothing improves; an integer is the patience.
        schedule : str or Schedule, optional
            Factor on the learning rate by step: ``"constant"``, ``"cosine"``, ``"one_cycle"``, or
            an object such as ``culpa.Cosine(warmup=0.1)``.
        callbacks : Callback, function, or several
            Functions are called with the training after each epoch.
        shuffle : bool, default True
            Draw a new order every epoch.
        verbose : bool or int, default True
            0 or False: nothing; 1 or True: a progress bar, where a terminal or notebook shows it;
            2: a line per epoch.

        Returns
        -------
        History
            Loss, metric and times per epoch.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not as described, or the columns of a frame are not those that the
            model was fitted on; the model stays as it was.
        culpa.DivergedError
            Where the loss becomes NaN or infinite; the best weights so far are kept.
        RuntimeError
            Where another thread is training this model.
        KeyboardInterrupt
            After Ctrl-C, within a fraction of a second; the model holds the last finished step and
            ``model.history`` the epochs so far.

        Notes
        -----
        A signal handler that runs meanwhile, as for SIGTERM before a job is cut off, may read this
        model: save, predict, evaluate, blame or copy it, as of the last finished step. Loading
        weights raises RuntimeError there.

        Examples
        --------
        >>> import culpa
        >>> X, y, X_test, y_test = culpa.datasets.digits()
        >>> model = culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", input_scale=1 / 16)
        >>> model.fit(X, y, epochs=5, validation_data=(X_test, y_test)).epochs
        5
        """
        with _core.claim([self._claim], "fit", trains=True), rounding.once():
            return training.run(self._prepare(X, y, options))

    def _prepare(self, X: Any, y: Any, options: dict[str, Any]) -> training.Training:
        for name in options:
            try:
                _checks.choice("fit", name, training.OPTIONS)
            except ValueError as error:
                raise TypeError(str(error)) from None
        was_built = self._core is not None
        try:
            return training.Training(self, X, y, **options)
        except BaseException:
            if not was_built:
                self._unbuild()
            raise

    def _unbuild(self) -> None:
        """Forget an input size that came from data that turned out to be wrong."""
        self._core = self._input_size = None

    def _snapshot(self, *, moments: bool) -> Snapshot:
        core = self._built()
        if moments:
            parameters, first, second, updates, steps = core.state()
        else:
            parameters, steps = core.copy_parameters(), core.steps
        return Snapshot(
            parameters,
            (first, second, updates) if moments else None,
            steps,
            self._epochs,
            self.optimizer,
            self.history,
            self._feature_names,
        )

    def _restore(self, snapshot: Snapshot) -> None:
        """Return to where a fit began; with the optimizer's memory where the snapshot has it."""
        core = self._built()
        core.set_parameters(snapshot.parameters)
        core.steps, self._epochs = snapshot.steps, snapshot.epochs
        self.optimizer, self.history = snapshot.optimizer, snapshot.history
        self._feature_names = snapshot.feature_names
        if snapshot.moments is not None and self.optimizer is not None:
            core.set_optimizer(self.optimizer.for_core())
            core.set_moments(*snapshot.moments)
        elif snapshot.moments is not None:  # never trained before
            self._forget_moments()

    def _forget_moments(self) -> None:
        first, second, _ = self._built().moments()
        self._built().set_moments(np.zeros_like(first), np.zeros_like(second), 0)

    # Guesses

    def predict_logits(self, X: ArrayLike) -> Array:
        """Return the raw outputs.

        Parameters
        ----------
        X : array_like or sparse matrix (n, inputs)
            Any real dtype.

        Returns
        -------
        ndarray (n, outputs), of the model's dtype
        """
        return self._predict(X, classes=False)

    def predict(self, X: ArrayLike) -> Array:
        """Return the guesses.

        Parameters
        ----------
        X : array_like or sparse matrix (n, inputs)
            Any real dtype.

        Returns
        -------
        ndarray
            cross_entropy: class indices (n,), int64. binary_cross_entropy: 0 or 1, int64. poisson:
            the mean, exp of the output. Otherwise the output. (n,) for one output, else
            (n, outputs).

        Examples
        --------
        >>> import numpy as np
        >>> import culpa
        >>> model = culpa.Sequential([culpa.Dense(3)], loss="cross_entropy", input_size=2)
        >>> model.predict(np.zeros((4, 2)))
        array([0, 0, 0, 0])
        """
        if self.loss.task == "classes":
            return self._predict(X, classes=True)
        outputs = self._predict(X, classes=False)
        if self.loss.task == "binary":
            outputs = (outputs > 0).astype(np.int64)
        elif self.loss.name == "poisson":
            outputs = np.exp(outputs)
        return outputs[:, 0] if self.output_size == 1 else outputs

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return probabilities: of each class (n, classes), or of 1 for each binary output.

        Parameters
        ----------
        X : array_like or sparse matrix (n, inputs)
            Any real dtype.

        Returns
        -------
        ndarray
            (n, classes) for cross_entropy; for binary_cross_entropy (n,) with one output, else
            (n, outputs).

        Raises
        ------
        ValueError
            Where the loss is a regression loss.
        """
        if self.loss.task == "regression":
            raise ValueError(
                f"predict_proba: expected a model with cross_entropy or binary_cross_entropy, "
                f"got {self.loss.name}; use predict"
            )
        answer = probabilities(self.loss, self._predict(X, classes=False))
        one = self.loss.task == "binary" and self.output_size == 1
        return answer[:, 0] if one else answer

    def _predict(self, X: Any, *, classes: bool) -> Array:
        core = self._built()
        columns.check(self._feature_names, X)
        x = data.check_x(X, self._input_size, self.dtype, finite=False)
        if not self._saw_inputs and len(x) >= rounding.LEAST_GUESSES:
            rounding.warn("X", rounding.drowned(x, self.dtype), columns.column_names(X))
        answer, row = core.predict(data.for_core(x), classes)
        if row >= 0:
            raise data.not_finite("X", x, row, self.dtype, self.input_scale)
        return answer

    def evaluate(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Return the loss and the metric on examples, without dropout.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        dict
            ``loss`` and ``accuracy`` (the fraction of right classes, or of right binary outputs),
            or ``r2`` (the mean of the coefficients of determination of those outputs whose y
            varies; NaN where that of none does). Where float32 rounds the differences of y away,
            both are computed in float64 from y as it was passed, with a
            :class:`culpa.RoundingWarning`.
        """
        core = self._built()
        examples = Examples(self, X, y, sample_weight)
        return examples.evaluate(core)

    # Blame

    def loss_and_gradients(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the batch loss and its gradient, without dropout and without weight decay.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`; all rows are one batch, worked through in blocks.

        Returns
        -------
        loss : float
            ``sum(w_i L_i) / sum(w_i)``.
        gradients : dict
            The keys and shapes of :meth:`state_dict`.
        """
        core = self._built()
        examples = Examples(self, X, y, sample_weight)
        answer = core.blame(examples.for_core(), gradient=True)
        if answer["row"] >= 0:
            examples.raise_not_finite(answer["row"])
        weights, biases = blame.split_gradient(self, answer["gradient"])
        gradients = {}
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            gradients[f"dense_{i}.weight"] = weight
            gradients[f"dense_{i}.bias"] = bias
        return answer["loss_sum"] / answer["weight_sum"], gradients

    def blame(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        want: Collection[str] = ("losses", "nodes", "inputs", "weights", "gradient_norms"),
    ) -> blame.Blame:
        """Ask who is at fault: the error signals and gradients of backpropagation, kept.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`. The weights matter to ``weights`` and ``biases`` alone.
        want : collection of str
            Any of ``"losses"``, ``"nodes"``, ``"inputs"``, ``"weights"`` (with the biases) and
            ``"gradient_norms"``; only what is named is computed.

        Returns
        -------
        Blame
            See its attributes.

        Examples
        --------
        >>> import culpa
        >>> X, y, _, _ = culpa.datasets.digits()
        >>> model = culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", input_size=64)
        >>> model.blame(X[:5], y[:5], want=("losses", "inputs")).inputs.shape
        (5, 64)
        """
        return blame.compute_blame(self, X, y, sample_weight, want)

    def attribute(
        self,
        X: ArrayLike,
        *,
        target: ArrayLike | None = None,
        method: str = "integrated_gradients",
        baseline: ArrayLike | None = None,
        background: ArrayLike | None = None,
        steps: int = 50,
        rule: str = "gauss_legendre",
        samples: int = 50,
        noise: ArrayLike | None = None,
        seed: int = 0,
        epsilon: float = 1e-6,
    ) -> attribution.Attribution:
        """Ask how much each input did to one output f, for each example, without dropout.

        f is what :meth:`predict_logits` gives: an output of the last Dense layer, that layer's own
        activation included, before softmax, sigmoid (of binary_cross_entropy) or exp (of poisson).
        `input_scale` is part of f: attributions are of the raw inputs.

        Parameters
        ----------
        X : array_like (n, inputs)
            Any real dtype.
        target : int or array_like (n,) of int, optional
            Which output to explain, for all rows or for each. By default the only output, or for
            cross_entropy the model's own guess.
        method : str, default "integrated_gradients"
            One of those below. An argument that a method has no use for is left aside, but for
            `baseline`, `background` and `noise`, which raise.
        baseline : array_like (inputs,) or (n, inputs), optional
            What x is compared to, where paths begin: one for all or one per row, in the units of
            X. Zeros by default. For integrated_gradients, deeplift and conductance.
        background : array_like (m, inputs), optional
            A set of baselines in place of one: the attributions are their mean over the set,
            every row of X against every row of the set, at m times the cost. For
            integrated_gradients, deeplift and conductance; expected_gradients needs one, and draws
            from it.
        steps : int, default 50
            Points on the path. For integrated_gradients and conductance.
        rule : {"gauss_legendre", "riemann"}, default "gauss_legendre"
            Where the points lie and what they weigh: Gauss-Legendre quadrature, or the middles of
            equal steps. For integrated_gradients and conductance.
        samples : int, default 50
            Draws per row of X. For expected_gradients and smooth_grad.
        noise : float or array_like (inputs,), optional
            Standard deviation of the noise in the units of X, for all inputs or for each.
            smooth_grad needs it; the paper takes 0.1 to 0.2 of the range of X.
        seed : int, default 0
            Of the draws, below 2**64: numbers of the seed and the row's place in X, the same at
            any number of threads; more samples begin with the same ones.
        epsilon : float, default 1e-6
            What keeps denominators away from 0, positive. For lrp.

        Returns
        -------
        Attribution
            See its attributes.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not as described, or a row holds NaN or infinity.
        RuntimeError
            Where the model has no weights yet.

        Notes
        -----
        The methods:

        ``"gradient"``
            df/dx, with its sign (Simonyan, Vedaldi & Zisserman 2013; their saliency is its
            absolute value).
        ``"input_x_gradient"``
            x df/dx (Shrikumar, Greenside, Shcherbina & Kundaje 2016, as Shrikumar, Greenside &
            Kundaje 2017 describe it).
        ``"smooth_grad"``
            The mean of df/dx over `samples` points x + noise, normal and independent for each
            input (Smilkov, Thorat, Kim, Viegas & Wattenberg 2017).
        ``"integrated_gradients"``
            x - baseline times the mean of df/dx on the straight path from the baseline to x
            (Sundararajan, Taly & Yan 2017). The values sum to f(x) - f(baseline) but for the error
            of the steps, which is reported.
        ``"expected_gradients"``
            Integrated gradients in expectation over baselines of the background (Erion, Janizek,
            Sturmfels, Lundberg & Lee 2021): the mean over `samples` draws of a baseline and a
            point on its path. It needs m * steps / samples times less work than
            integrated_gradients with the same `background`, which is the whole double sum and what
            this one tends to; the error of the draws is reported.
        ``"deeplift"``
            The rescale rule (Shrikumar, Greenside & Kundaje 2017): as x - baseline times df/dx,
            but each activation's slope is the quotient of its differences between x and baseline.
            The values sum to f(x) - f(baseline). With a `background`, this is the DeepSHAP of
            Lundberg & Lee 2017.
        ``"lrp"``
            Layer-wise relevance propagation, the epsilon rule (Bach et al. 2015): from the output,
            R_i = h_i sum_j w_ij R_j / (z_j + epsilon sign(z_j)), where z_j includes the bias and
            activations pass relevance on as it is. Each layer keeps the share
            (b_j + epsilon sign(z_j)) / (z_j + epsilon sign(z_j)) of R_j, so the values sum to f(x)
            only without biases and for a small epsilon; what is missing is reported.
        ``"conductance"``
            Integrated gradients, and for each node j of each hidden layer, in ``nodes``, the
            integral of df/dh_j dh_j/da along the path (Dhamdhere, Sundararajan & Yan 2018): how
            much of f(x) - f(baseline) flows through it. Exact at every point of the path, from
            tangents carried forward, not from differences between the points.

        Examples
        --------
        >>> import culpa
        >>> X, y, _, _ = culpa.datasets.digits()
        >>> model = culpa.Sequential(
        ...     [culpa.Dense(32, "tanh"), culpa.Dense(10)], loss="cross_entropy",
        ...     input_size=64, input_scale=1 / 16)
        >>> answer = model.attribute(X[:5], target=y[:5])
        >>> answer.values.shape
        (5, 64)
        >>> bool(answer.completeness_error.max() < 1e-4)
        True

        Against a set of baselines, and through the hidden nodes:

        >>> answer = model.attribute(
        ...     X[:5], target=y[:5], method="conductance", background=X[100:110])
        >>> [nodes.shape for nodes in answer.nodes]
        [(5, 32)]
        >>> model.attribute(X[:5], target=y[:5], method="smooth_grad", noise=2.0).values.shape
        (5, 64)
        """
        return attribution.compute_attribution(
            self,
            X,
            target,
            method,
            baseline=baseline,
            background=background,
            steps=steps,
            rule=rule,
            samples=samples,
            noise=noise,
            seed=seed,
            epsilon=epsilon,
        )

    def influence(
        self,
        X_train: ArrayLike,
        y_train: ArrayLike,
        X_test: ArrayLike,
        y_test: ArrayLike,
        *,
        checkpoints: Any = None,
        learning_rates: float | ArrayLike | None = None,
        top: int | None = None,
    ) -> influence.Influence:
        """Ask which training examples helped a test example's guess, and which harmed it.

        The score of a pair is the dot product of the gradients of both examples' losses, exact,
        over all weights and biases, without dropout: how much a step of gradient descent on the
        training example lowers the test example's loss, per unit of learning rate and to first
        order. **Above 0 it helps, below 0 it harms.** Over several checkpoints of the training it
        is TracIn (Pruthi, Liu, Sundararajan & Kale 2020, "Estimating training data influence by
        tracing gradient descent"): the sum of learning rate times dot product. No per-example
        gradient is built: each layer gives ``(h_i . h_j + 1) (delta_i . delta_j)``, h its inputs
        and delta its error signals.

        Parameters
        ----------
        X_train, X_test : array_like (n_train, inputs) and (n_test, inputs)
            Any real dtype.
        y_train, y_test : array_like
            As for :meth:`fit`. For what would speak for another label, pass that as `y_test`.
        checkpoints : Sequential, path or state_dict, or a list of them, optional
            The model at several times of its training: copies, files that :meth:`save` wrote, or
            what :meth:`state_dict` gave. By default the model as it is.
        learning_rates : float or array_like (checkpoints,), optional
            What each checkpoint counts, at least 0; 1 by default.
        top : int, optional
            Keep only so many of the largest and of the smallest scores of each test example,
            selected on the way: the (n_test, n_train) scores are never all in memory. By default
            all are given.

        Returns
        -------
        Influence
            See its attributes.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not as described, or a row holds NaN or infinity.
        FileNotFoundError
            Where there is no file at a checkpoint's path.
        RuntimeError
            Where the model has no weights yet.
        MemoryError
            Where the answer does not fit into memory; pass `top`.

        Examples
        --------
        >>> import culpa
        >>> X, y, X_test, y_test = culpa.datasets.digits()
        >>> model = culpa.Sequential(
        ...     [culpa.Dense(32, "relu"), culpa.Dense(10)], loss="cross_entropy",
        ...     input_scale=1 / 16)
        >>> checkpoints = []
        >>> def keep(training):
        ...     checkpoints.append(training.model.state_dict())
        >>> _ = model.fit(X, y, epochs=3, callbacks=keep, verbose=False)
        >>> model.influence(X, y, X_test, y_test).scores.shape
        (360, 1437)
        >>> answer = model.influence(
        ...     X, y, X_test, y_test, checkpoints=checkpoints, learning_rates=1e-3, top=5)
        >>> answer.proponents.shape
        (360, 5)
        >>> bool((y[answer.proponents[:, 0]] == y_test).mean() > 0.9)  # who helps is like it
        True
        """
        return influence.compute_influence(
            self, X_train, y_train, X_test, y_test, checkpoints, learning_rates, top
        )

    # Parameters

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all weights and biases: "dense_0.weight", "dense_0.bias", ..."""
        weights, biases = blame.split_gradient(self, self._built().copy_parameters())
        state = {}
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            state[f"dense_{i}.weight"] = weight.copy()
            state[f"dense_{i}.bias"] = bias.copy()
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike], *, partial: bool = False) -> None:
        """Copy weights and biases in.

        Parameters
        ----------
        state : mapping
            The keys and shapes of :meth:`state_dict`, any real dtype.
        partial : bool, default False
            Whether keys may be missing.

        Raises
        ------
        ValueError, TypeError
            Where a key, a shape or a value is wrong; the model stays as it was.
        RuntimeError
            Where another thread is training this model, or in a signal handler that interrupted a
            call which uses it.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"state: expected a dict such as state_dict() gives, got {_checks.describe(state)}"
            )
        with _core.claim([self._claim], "load_state_dict", trains=False):
            core = self._core
            if core is None:
                first = data.as_array("dense_0.weight", state.get("dense_0.weight", ()))
                if first.ndim != 2 or 0 in first.shape:
                    self._built()  # raises
                core = self._initial_core(first.shape[0])
            flat = core.parameters().copy()
            places = {}
            for i, (weight, bias) in enumerate(core.offsets()):
                places[f"dense_{i}.weight"] = (weight, core.weight(i).shape)
                places[f"dense_{i}.bias"] = (bias, core.bias(i).shape)
            missing = [key for key in places if key not in state]
            if missing and not partial:
                raise ValueError(f"state: expected the key {missing[0]!r} too, got {list(state)}")
            for key, value in state.items():
                at, shape = places[_checks.choice("state", key, places)]
                array = data.as_array(key, value)
                if array.shape != shape:
                    raise ValueError(f"{key}: expected shape {shape}, got shape {array.shape}")
                data.check_finite(key, np.asarray(array), self.dtype)
                flat[at : at + array.size] = np.ravel(array)
            core.set_parameters(flat)
            self._core, self._input_size = core, core.weight(0).shape[0]

    # Files and copies

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights, architecture and loss to one ``.safetensors`` file, without pickle.

        The file appears whole or not at all: it is written beside `path` and then renamed. A file
        that is there keeps its permissions and, where possible, its owner; of a symbolic link,
        what it leads to is replaced. What processes left that died while saving into this folder
        is removed.

        Parameters
        ----------
        path : str or path-like
            Where to.

        See Also
        --------
        culpa.load
        """
        serialization.save(self, path)

    def config(self) -> dict[str, Any]:
        """Return everything but the weights, as values that JSON knows."""
        layers: list[dict[str, Any]] = []
        for layer in self._descriptions:
            if isinstance(layer, Dropout):
                layers.append({"dropout": layer.rate})
            else:
                layers.append(
                    {
                        "dense": layer.units,
                        "activation": layer.activation.name,
                        "alpha": layer.activation.alpha,
                        "initializer": layer.initializer,
                    }
                )
        loss = {"name": self.loss.name, "parameter": self.loss.parameter}
        return {
            "layers": layers,
            "loss": loss,
            "seed": self.seed,
            "input_size": self._input_size,
            "dtype": self.dtype,
            "input_scale": self.input_scale,
            "feature_names": None if self._feature_names is None else list(self._feature_names),
        }

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "config": self.config(),
            "optimizer": self.optimizer,
            "history": self.history,
            "epochs": self._epochs,
            "saw_inputs": self._saw_inputs,
        }
        if self._core is not None:
            parameters, first, second, updates, steps = self._core.state()
            if self.optimizer is not state["optimizer"]:  # a fit has begun in another thread
                return self.__getstate__()
            state["parameters"] = parameters
            state["moments"] = first, second, updates
            state["steps"] = steps
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        model = serialization.from_config({**state["config"], "input_size": None})
        self.__dict__.update(model.__dict__)
        self.layers = [
            DenseLayer(self, layer.description, layer._index)
            if isinstance(layer, DenseLayer)
            else layer
            for layer in model.layers
        ]
        self.optimizer, self.history = state["optimizer"], state["history"]
        self._epochs = state["epochs"]
        self._saw_inputs = state.get("saw_inputs", False)
        if "parameters" in state:
            self._input_size = state["config"]["input_size"]
            assert self._input_size is not None
            self._core = self._make_core(self._input_size)
            self._core.set_parameters(state["parameters"])
            self.feature_names = state["config"].get("feature_names")
            if self.optimizer is not None:
                self._core.set_optimizer(self.optimizer.for_core())
                # Of another optimizer, where a fit with a new one began that very moment.
                if [len(m) for m in state["moments"][:2]] == [
                    len(m) for m in self._core.moments()[:2]
                ]:
                    self._core.set_moments(*state["moments"])
            self._core.steps = state["steps"]

    def copy(self) -> Self:
        """Return an independent copy: weights, optimizer's memory and all."""
        other = type(self).__new__(type(self))
        other.__setstate__(self.__getstate__())
        return other

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self._descriptions))
        return (
            f"Sequential([{layers}], loss={self.loss!r}, input_size={self._input_size}, "
            f"dtype={self.dtype!r})"
        )


def fit_many(
    models: Sequence[Sequential],
    X: ArrayLike,
    y: ArrayLike,
    *,
    rows: Sequence[ArrayLike] | None = None,
    **options: Any,
) -> list[History]:
    """Train several models on the same data side by side, a model a thread.

    Each ends with the bits that its own ``fit`` would have given it. All do the same number of
    steps until the shorter epochs among them end; Ctrl-C leaves them so.

    Parameters
    ----------
    models : sequence of Sequential
        Different models of one dtype.
    X, y
        As for :meth:`Sequential.fit`.
    rows : sequence of array_like of int, optional
        For each model the rows of X to train on, as for folds; by default all.
    **options
        As for :meth:`Sequential.fit`, the same for all; `verbose` is False. Sample and class
        weights count within each batch alone (nothing at ``batch_size=1``), and
        ``class_weight="balanced"`` counts each model's own rows.

    Returns
    -------
    list of History

    Examples
    --------
    >>> import culpa
    >>> X, y, X_test, y_test = culpa.datasets.digits()
    >>> models = [
    ...     culpa.Sequential([culpa.Dense(10)], loss="cross_entropy", seed=seed, input_scale=1 / 16)
    ...     for seed in range(3)]
    >>> [history.epochs for history in culpa.fit_many(models, X, y, epochs=2)]
    [2, 2, 2]
    """
    if not isinstance(models, (list, tuple)) or not all(
        isinstance(model, Sequential) for model in models
    ):
        raise TypeError(
            f"models: expected a list of culpa.Sequential, got {_checks.describe(models)}"
        )
    if not models:
        return []
    callbacks = options.get("callbacks") or ()
    for callback in callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]:
        if isinstance(callback, Callback) and callback.one_model:
            raise ValueError(
                f"callbacks: expected no {type(callback).__name__} in fit_many, where one object "
                "would mix up what it notes of all models; call each model's fit"
            )
    if options.get("privacy") is not None:
        raise ValueError(
            "privacy: expected None in fit_many, for what several models reveal of the same data "
            "adds up; use fit"
        )
    if len({id(model) for model in models}) != len(models):
        raise ValueError("models: expected each model once")
    if len({model.dtype for model in models}) > 1:
        raise ValueError("models: expected one dtype, got float32 and float64")
    if rows is not None and len(rows) != len(models):
        raise ValueError(f"rows: expected one array for each of the {len(models)} models")
    options = {"verbose": False, **options}
    claims = [model._claim for model in models]
    with _core.claim(claims, "fit_many", trains=True), rounding.once():
        trainings = []
        for i, model in enumerate(models):
            own = {} if rows is None else {"rows": rows[i]}
            try:
                trainings.append(model._prepare(X, y, {**options, **own}))
            except BaseException:
                for earlier in trainings:
                    if earlier.built_here:
                        earlier.model._unbuild()
                raise
        return training.run_side_by_side(trainings)


def _checked_layers(layers: Sequence[Dense | Dropout]) -> list[Dense | Dropout]:
    if isinstance(layers, (Dense, Dropout)) or not isinstance(layers, (list, tuple)):
        raise TypeError(
            f"layers: expected a list of culpa.Dense and culpa.Dropout, "
            f"got {_checks.describe(layers)}"
        )
    for i, layer in enumerate(layers):
        if not isinstance(layer, (Dense, Dropout)):
            raise TypeError(
                f"layers[{i}]: expected culpa.Dense or culpa.Dropout, got {_checks.describe(layer)}"
            )
        if isinstance(layer, Dropout) and i and isinstance(layers[i - 1], Dropout):
            raise ValueError(f"layers[{i}]: expected no Dropout after a Dropout; use one")
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError(
            "layers: expected a Dense layer last, the outputs; got "
            + (f"{layers[-1]!r}" if layers else "none")
        )
    return list(layers)
