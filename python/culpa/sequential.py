"""Sequential, the face of a network, and load."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import Any, Never, Self

from numpy.typing import ArrayLike, NDArray

from culpa import _checks
from culpa.answers import attribution, blame, influence, predictions
from culpa.formats import safetensors
from culpa.network.layers import ModelLayer, layers_of
from culpa.network.network import Network
from culpa.parts.architecture import Architecture
from culpa.parts.layer import Layer
from culpa.parts.losses import Loss
from culpa.parts.optimizers import Optimizer
from culpa.parts.privacy import Privacy
from culpa.parts.schedules import Schedule
from culpa.training import run
from culpa.training.history import History
from culpa.training.options import Callbacks, as_options
from culpa.training.stopping import EarlyStopping

__all__ = ["Sequential", "check_sequential", "load"]

Array = NDArray[Any]


class Sequential:
    """Dense layers one after the other, a loss, and the training of both.

    Parameters
    ----------
    layers : sequence of layers
        From the inputs to the outputs, at least one of them Dense: :class:`Dense`,
        :class:`Activation`, :class:`Dropout`, :class:`Scale`, :class:`LayerNorm`,
        :class:`Residual`. The last one's outputs are logits for cross_entropy and
        binary_cross_entropy, logs of means for poisson and its like.
    loss : str or Loss
        A name such as ``"cross_entropy"``, ``"binary_cross_entropy"`` or ``"mse"``
        (``culpa.parts.losses.LOSSES`` has all), or an object such as ``culpa.Huber(0.5)``.
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
        layers: Sequence[Layer],
        loss: str | Loss,
        *,
        seed: int | None = 0,
        input_size: int | None = None,
        dtype: str = "float32",
        input_scale: float = 1.0,
    ) -> None:
        self._wear(
            Network(
                Architecture(
                    layers,  # type: ignore[arg-type]
                    loss,  # type: ignore[arg-type]
                    seed=secrets.randbits(63) if seed is None else seed,
                    dtype=dtype,
                    input_scale=input_scale,
                    input_size=input_size,
                )
            )
        )

    @classmethod
    def _of(cls, network: Network) -> Self:
        """Return the face of a network."""
        model = cls.__new__(cls)
        model._wear(network)
        return model

    def _wear(self, network: Network) -> None:
        self._network = network
        self.history: History | None = None
        self.layers: list[ModelLayer] = layers_of(network)

    # What it is

    @property
    def loss(self) -> Loss:
        """What training minimises."""
        return self._network.architecture.loss

    @property
    def seed(self) -> int:
        """Of initial weights, shuffles and dropout."""
        return self._network.architecture.seed

    @property
    def dtype(self) -> str:
        """What the model computes in."""
        return self._network.architecture.dtype

    @property
    def input_scale(self) -> float:
        """What multiplies all inputs."""
        return self._network.architecture.input_scale

    @property
    def input_size(self) -> int | None:
        """Number of inputs; None until the first data are seen."""
        return self._network.architecture.input_size

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self._network.architecture.output_size

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer used last."""
        return self._network.optimizer

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """What the inputs are called: the columns of the first frame that the model was fitted on.

        None where it was fitted on arrays alone, or on frames whose columns are not all strings.
        Wherever rows come as a frame, their columns must be these, in this order; arrays are taken
        as they are. To rename the inputs, assign a list of strings; None forgets the names.
        """
        return self._network.architecture.feature_names

    @feature_names.setter
    def feature_names(self, names: Sequence[str] | None) -> None:
        self._network.name_features(names)

    # Training

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        rows: ArrayLike | None = None,
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: str | Optimizer | None = None,
        validation_data: Sequence[Any] | None = None,
        validation_split: float = 0.0,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        clip_norm: float | None = None,
        privacy: Privacy | None = None,
        early_stopping: EarlyStopping | int | bool | None = None,
        schedule: str | Schedule | None = None,
        callbacks: Callbacks = (),
        shuffle: bool = True,
        verbose: bool | int = True,
        **unknown: Never,
    ) -> History:
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
            A name such as ``"adam"`` (``culpa.parts.optimizers.OPTIMIZERS`` has all), or an object
            such as ``culpa.SGD(0.1)``. By default the one used last, else ``Adam(1e-3)``. A fit
            with an equal optimizer goes on where the last one ended; a different one starts fresh
            moments.
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
        options = as_options(
            {
                "rows": rows,
                "epochs": epochs,
                "batch_size": batch_size,
                "optimizer": optimizer,
                "validation_data": validation_data,
                "validation_split": validation_split,
                "sample_weight": sample_weight,
                "class_weight": class_weight,
                "clip_norm": clip_norm,
                "privacy": privacy,
                "early_stopping": early_stopping,
                "schedule": schedule,
                "callbacks": callbacks,
                "shuffle": shuffle,
                "verbose": verbose,
                **unknown,
            }
        )
        return run.fit(self._network, self, X, y, options)

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
        return predictions.predict_logits(self._network, X)

    def predict(self, X: ArrayLike) -> Array:
        """Return the guesses.

        Parameters
        ----------
        X : array_like or sparse matrix (n, inputs)
            Any real dtype.

        Returns
        -------
        ndarray
            cross_entropy: class indices (n,), int64. binary_cross_entropy: 0 or 1, int64. poisson
            and its like: the mean, exp of the output. Otherwise the output. (n,) for one output,
            else (n, outputs).

        Examples
        --------
        >>> import numpy as np
        >>> import culpa
        >>> model = culpa.Sequential([culpa.Dense(3)], loss="cross_entropy", input_size=2)
        >>> model.predict(np.zeros((4, 2)))
        array([0, 0, 0, 0])
        """
        return predictions.predict(self._network, X)

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
        return predictions.predict_probabilities(self._network, X)

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
        return predictions.evaluate(self._network, X, y, sample_weight)

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
        return blame.loss_and_gradients(self._network, X, y, sample_weight)

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
            As for :meth:`fit`. The weights matter to ``weights``, ``biases`` and ``gradients``
            alone.
        want : collection of str
            Any of ``"losses"``, ``"nodes"``, ``"inputs"``, ``"weights"`` (with ``biases`` and
            ``gradients``) and ``"gradient_norms"``, which are the default, ``"hidden"`` and
            ``"slopes"``; only what is named is kept.

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
        >>> model.blame(X[:5], y[:5], want="hidden").hidden[0].shape
        (5, 10)
        """
        return blame.compute_blame(self._network, X, y, sample_weight, want)

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

        f is what :meth:`predict_logits` gives: an output of the last layer, before softmax, sigmoid
        (binary_cross_entropy) or exp (of log-means). A LayerNorm has no rule in DeepLIFT and in
        layer-wise relevance propagation, which refuse it by name; conductance is of the hidden
        Dense layers, and adds up for those that nothing leads around.
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
            self._network,
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
            self._network,
            X_train,
            y_train,
            X_test,
            y_test,
            None if checkpoints is None else _as_networks(checkpoints),
            learning_rates,
            top,
        )

    # Parameters

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters by name: "dense_0.weight", "layer_norm_0.gain", ..."""
        return self._network.state_dict()

    def load_state_dict(self, state: Mapping[str, ArrayLike], *, partial: bool = False) -> None:
        """Copy parameters in.

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
        self._network.load_state_dict(state, partial=partial)

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
        safetensors.write(path, self._network.architecture, self.state_dict())

    def config(self) -> dict[str, Any]:
        """Return everything but the weights, as values that JSON knows."""
        return self._network.architecture.config()

    def __getstate__(self) -> dict[str, Any]:
        # The network's state, for copy.copy: two faces of one network would train each other's.
        return {"network": self._network.__getstate__(), "history": self.history}

    def __setstate__(self, state: dict[str, Any]) -> None:
        network = Network.__new__(Network)
        network.__setstate__(state["network"])
        self._wear(network)
        self.history = state["history"]

    def copy(self) -> Self:
        """Return an independent copy: weights, optimizer's memory and all."""
        other = self._of(self._network.copy())
        other.history = self.history
        return other

    def __repr__(self) -> str:
        described = self._network.architecture
        layers = ", ".join(map(repr, described.layers))
        return (
            f"Sequential([{layers}], loss={self.loss!r}, input_size={self.input_size}, "
            f"dtype={self.dtype!r})"
        )


def load(path: str | PathLike[str]) -> Sequential:
    """Read a model that ``Sequential.save`` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Sequential
        Ready to predict; its optimizer begins afresh.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is damaged or not a culpa model. Nothing in it is ever executed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import culpa
    >>> model = culpa.Sequential([culpa.Dense(3)], loss="mse", input_size=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     model.save(path)
    ...     culpa.load(path).layers[0].weight.shape
    (2, 3)
    """
    return Sequential._of(Network.of(*safetensors.read(path)))


def check_sequential(model: Any) -> None:
    """Raise where `model` is no Sequential."""
    if not isinstance(model, Sequential):
        raise TypeError(f"model: expected a culpa.Sequential, got {_checks.describe(model)}")


def _as_networks(checkpoints: Any) -> list[Any]:
    """Return checkpoints as networks, or as the arrays of one; files are read."""
    one = isinstance(checkpoints, (str, os.PathLike, Mapping))
    if one or not isinstance(checkpoints, Sequence):
        checkpoints = [checkpoints]
    if not checkpoints:
        raise ValueError(
            "checkpoints: expected at least one, got none; leave it out to ask the model itself"
        )
    return [_as_network(one, f"checkpoints[{i}]") for i, one in enumerate(checkpoints)]


def _as_network(checkpoint: Any, name: str) -> Network | Mapping[str, Any]:
    if isinstance(checkpoint, (str, os.PathLike)):
        try:
            return Network.of(*safetensors.read(checkpoint))
        except (OSError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
    if isinstance(checkpoint, Sequential):
        return checkpoint._network
    if isinstance(checkpoint, Mapping):
        return checkpoint
    raise TypeError(
        f"{name}: expected a culpa.Sequential, the path of a saved one, or a state_dict, got "
        f"{_checks.describe(checkpoint)}"
    )
