"""Measures the memory that training on an array takes, at its peak: culpa beside its rivals.

Every figure comes from a process of its own, which imports what it needs, makes X (float32) and y,
and trains for an epoch, shuffled, with Adam. From the peak of its resident memory are taken away
what it had after the imports, and the array: X and y. What is left is the model with its optimizer,
its workspace, and whatever else a library makes. The networks are those of step.py, each with data
of two sizes; `per row` is by how many bytes the rest grows with a row more: 0 where a workspace
does not grow with the data (the order of a shuffle alone is 4 or 8 bytes a row).

scikit-learn, PyTorch and JAX (a scan over the steps of an epoch) take part where they are
installed. Needs Linux or macOS.

    python bench/memory.py [--threads 1] [--workload tiny] [--side culpa] [--json PATH]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from culpa.bench.machine import describe, headline, limit_threads
from culpa.bench.sides.culpa_side import make_model
from culpa.bench.workloads import LEARNING_RATE, WORKLOADS

BATCHES = {  # of the smaller data; the larger have four times as many
    "tiny": 2048,
    "digits": 200,
    "mnist": 50,
    "tab": 80,
    "large": 4,
}
GROWTH = 4
MB = 1e6

Train = Callable[[NDArray[np.float32], NDArray[np.int64]], None]


def culpa_side(shape: tuple[int, ...], batch: int) -> Train:
    """Return what trains culpa's model."""
    import culpa

    def train(X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        optimizer = culpa.Adam(LEARNING_RATE)
        make_model(shape).fit(X, y, epochs=1, batch_size=batch, optimizer=optimizer, verbose=False)

    return train


def numpy_side(shape: tuple[int, ...], batch: int) -> Train:
    """Return what trains the pure-NumPy network."""
    from culpa.bench.numpy_net import NumpyNet

    def train(X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        net = NumpyNet(shape, seed=0, learning_rate=LEARNING_RATE)
        order = np.random.default_rng(0).permutation(len(X))
        for at in range(0, len(X), batch):
            net.step(X, y, order[at : at + batch])

    return train


def sklearn_side(shape: tuple[int, ...], batch: int) -> Train:
    """Return what trains scikit-learn's classifier."""
    from sklearn.neural_network import MLPClassifier

    def train(X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        model = MLPClassifier(
            shape[1:-1], alpha=0, batch_size=batch, learning_rate_init=LEARNING_RATE
        )
        model.partial_fit(X, y, classes=np.arange(shape[-1]))

    return train


def torch_side(shape: tuple[int, ...], batch: int) -> Train:
    """Return what trains PyTorch's network, with its fused Adam."""
    import torch

    def train(X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        layers: list[Any] = []
        for inputs, outputs in itertools.pairwise(shape):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True)
        examples, labels = torch.from_numpy(X), torch.from_numpy(y)
        for rows in torch.randperm(len(X)).split(batch):
            loss = torch.nn.functional.cross_entropy(net(examples[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def jax_side(shape: tuple[int, ...], batch: int) -> Train:
    """Return what trains JAX's network: an epoch is one compiled scan over its steps."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.adam(LEARNING_RATE)

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        *hidden, (weight, bias) = parameters
        for w, b in hidden:
            x = jax.nn.relu(x @ w + b)
        logits = x @ weight + bias
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def epoch(state: Any, X: Any, y: Any, order: Any) -> Any:
        def step(state: Any, rows: Any) -> Any:
            parameters, moments = state
            value, gradient = jax.value_and_grad(loss)(parameters, X[rows], y[rows])
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(parameters, updates), moments), value

        return jax.lax.scan(step, state, order)

    def train(X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        generator = np.random.default_rng(0)
        parameters = [
            (
                jnp.asarray(generator.normal(0, (2 / a) ** 0.5, (a, b)), jnp.float32),
                jnp.zeros(b, jnp.float32),
            )
            for a, b in itertools.pairwise(shape)
        ]
        order = generator.permutation(len(X)).astype(np.int32).reshape(-1, batch)
        state = (parameters, optimizer.init(parameters))
        jax.block_until_ready(epoch(state, X, y.astype(np.int32), order))

    return train


SIDES = {  # and the module without which it does not take part
    "culpa": (culpa_side, "culpa"),
    "NumPy": (numpy_side, "numpy"),
    "scikit-learn": (sklearn_side, "sklearn"),
    "torch": (torch_side, "torch"),
    "JAX, scan": (jax_side, "optax"),
}


def peak() -> int:
    """Return the most bytes that this process has had resident.

    On Linux from /proc, for getrusage also counts what the parent had before it started this one.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


def train_here(side: str, name: str, batches: int) -> dict[str, int]:
    """Train in this process; return what it took."""
    workload = WORKLOADS[name]
    train = SIDES[side][0](workload.shape, workload.batch)
    imports = peak()
    generator = np.random.default_rng(0)
    n = workload.batch * batches
    X = generator.standard_normal((n, workload.shape[0]), np.float32)
    y = generator.integers(0, workload.shape[-1], n)
    train(X, y)
    return {"rows": n, "imports": imports, "data": X.nbytes + y.nbytes, "peak": peak()}


def measure(side: str, workload: str) -> dict[str, Any]:
    """Return what a side takes for both sizes of the data, in fresh processes."""
    sizes = []
    for batches in (BATCHES[workload], GROWTH * BATCHES[workload]):
        command = [sys.executable, __file__, "--child", side, workload, str(batches)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        sizes.append(json.loads(done.stdout))
    return {"side": side, "workload": workload, "sizes": sizes}


def print_result(result: dict[str, Any]) -> None:
    """Print a row of the table."""
    small, large = result["sizes"]
    rests = [size["peak"] - size["imports"] - size["data"] for size in (small, large)]
    per_row = (rests[1] - rests[0]) / (large["rows"] - small["rows"])
    print(
        f"{result['workload']:10}{result['side']:14}{large['imports'] / MB:>9.0f}"
        f"{small['data'] / MB:>8.1f}{rests[0] / MB:>8.1f}{large['data'] / MB:>8.1f}"
        f"{rests[1] / MB:>8.1f}{per_row:>9.1f}{large['peak'] / MB:>8.0f}",
        flush=True,
    )


def print_head(workloads: list[str]) -> None:
    """Print the head of the table, and what the bare model takes."""
    for name in workloads:
        pairs = zip(WORKLOADS[name].shape[:-1], WORKLOADS[name].shape[1:], strict=True)
        parameters = sum((a + 1) * b for a, b in pairs)
        print(
            f"{name}: {4e-6 * parameters:.2f} MB of parameters, {12e-6 * parameters:.2f} MB ",
            end="",
        )
        print("with Adam's moments")
    columns = ("imports", "data", "rest", "data", "rest", "per row", "peak")
    widths = (9, 8, 8, 8, 8, 9, 8)
    head = "".join(name.rjust(width) for name, width in zip(columns, widths, strict=True))
    print(f"\nMB; per row: bytes\n{'workload':10}{'side':14}{head}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1, help="JAX takes what it likes")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="default: all")
    parser.add_argument("--side", action="append", choices=SIDES, help="default: all installed")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads < 1:
        parser.error("expected --threads of at least 1")
    return arguments


def main() -> None:
    """Measure, print and write down."""
    arguments = parse_arguments()
    if arguments.child:
        side, workload, batches = arguments.child
        print(json.dumps(train_here(side, workload, int(batches))))
        return
    limit_threads(arguments.threads)
    machine = describe()
    print(headline(machine))
    installed = [name for name, (_, module) in SIDES.items() if importlib.util.find_spec(module)]
    workloads = arguments.workload or list(WORKLOADS)
    print_head(workloads)
    results = []
    for workload in workloads:
        for side in arguments.side or installed:
            results.append(measure(side, workload))
            print_result(results[-1])
    if arguments.json is not None:
        content = {"machine": machine, "results": results}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
