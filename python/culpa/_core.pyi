"""
Culpa's core: see csrc/ in the repository.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Claim', 'Claimed', 'ExampleArrays', 'Job', 'Lent', 'Model32', 'Model64', 'Optimizer', 'SparseRows', 'Stage', 'arrays_of', 'barrier_seconds', 'claim', 'cosine_of_turns', 'draw_numbers', 'exponential', 'find_not_finite', 'force_plan', 'instruction_set', 'instruction_sets', 'lend', 'measure_peak', 'natural_log', 'natural_log_1p', 'num_threads', 'permutation', 'phase_names', 'philox', 'poisson_batches', 'power', 'set_barrier_seconds', 'set_num_threads', 'set_own_threads', 'train_side_by_side', 'validation_order']
class Claim:
    """
    Whether a model is being trained or loaded, and by which thread.
    """
    def __init__(self) -> None:
        ...
class Claimed:
    """
    What claim() gives, for a with statement.
    """
    def __enter__(self) -> None:
        ...
    def __exit__(self, type: typing.Any, value: typing.Any, traceback: typing.Any) -> None:
        ...
class Lent:
    """
    What lend() gives, for a with statement.
    """
    def __enter__(self) -> None:
        ...
    def __exit__(self, type: typing.Any, value: typing.Any, traceback: typing.Any) -> None:
        ...
class Stage:
    """
    One stage of a network: its kind and its shape.
    """
    def __init__(self, kind: str, name: str, inputs: typing.SupportsInt | typing.SupportsIndex, outputs: typing.SupportsInt | typing.SupportsIndex, *, activation: str = 'identity', alpha: typing.SupportsFloat | typing.SupportsIndex = 0.0, dropout: typing.SupportsFloat | typing.SupportsIndex = 0.0, skip: typing.SupportsInt | typing.SupportsIndex = 0, epsilon: typing.SupportsFloat | typing.SupportsIndex = 0.0, learning_rate_factors: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex] = []) -> None:
        ...
class Optimizer:
    """
    What an optimizer is, without its moments.
    """
    def __init__(self, rule: str, *, beta_1: typing.SupportsFloat | typing.SupportsIndex = 0.9, beta_2: typing.SupportsFloat | typing.SupportsIndex = 0.999, epsilon: typing.SupportsFloat | typing.SupportsIndex = 1e-08, momentum: typing.SupportsFloat | typing.SupportsIndex = 0.0, weight_decay: typing.SupportsFloat | typing.SupportsIndex = 0.0, nesterov: bool = False, decoupled: bool = False, decay_per_example: bool = False, epsilon_outside: bool = False, velocity: bool = False, gradient_scale: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
        ...
    @property
    def gradient_scale(self) -> float:
        """
        What the gradient counts times, weight decay excluded.
        """
    @gradient_scale.setter
    def gradient_scale(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class SparseRows:
    """
    A sparse matrix of inputs in CSR form, checked.
    """
    def __init__(self, values: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], indices: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], begins: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], columns: typing.SupportsInt | typing.SupportsIndex, name: str) -> None:
        ...
    @property
    def canonical(self) -> bool:
        """
        Whether the columns of each row rise, as the core wants them to.
        """
class ExampleArrays:
    """
    Arrays of examples, one row each.
    """
    def __init__(self, x: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | SparseRows, *, labels: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, targets: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, sample_weights: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, order: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, score_scale: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, exact: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None) -> None:
        ...
class Job:
    """
    A chunk of training: batches of examples, and where to report.
    """
    def __init__(self, examples: ExampleArrays, *, offsets: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], learning_rates: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], clip_norm: typing.SupportsFloat | typing.SupportsIndex = 0.0, seconds: typing.SupportsFloat | typing.SupportsIndex = 0.0, losses: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, weight_sums: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, scores: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, norms: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, squares: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, phases: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, example_clip: typing.SupportsFloat | typing.SupportsIndex = 0.0, noise: typing.SupportsFloat | typing.SupportsIndex = 0.0, divisor: typing.SupportsFloat | typing.SupportsIndex = 0.0, noise_seed: typing.SupportsInt | typing.SupportsIndex = 0, example_losses: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, example_scores: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None) -> None:
        ...
class Model32:
    """
    A network with its weights and its optimizer's memory.
    """
    @staticmethod
    def influence(models: collections.abc.Sequence[Model32], *, factors: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], train: ExampleArrays, test: ExampleArrays, top: typing.SupportsInt | typing.SupportsIndex = 0) -> dict[str, typing.Any]:
        """
        Sums over models of factor * dot products of the examples' gradients (tests, trains), or the top highest and lowest of each test.
        """
    def __init__(self, *, stages: collections.abc.Sequence[Stage], loss: str, loss_parameters: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex], input_scale: typing.SupportsFloat | typing.SupportsIndex, input_dropout: typing.SupportsFloat | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex, member: typing.SupportsInt | typing.SupportsIndex, loss_limit: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> None:
        ...
    def apply(self, gradient: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], learning_rate: typing.SupportsFloat | typing.SupportsIndex, weight_sum: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
        """
        One optimizer step with a given flat gradient.
        """
    def array(self, name: str) -> numpy.typing.NDArray[numpy.float32]:
        """
        One of the arrays, a read-only view.
        """
    def arrays(self) -> list[tuple[str, int, tuple[int, ...], bool]]:
        """
        The arrays that the flat vector consists of, in its order: (name, offset, shape, whether weight decay applies).
        """
    def attribute(self, x: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], *, method: str = 'gradient', targets: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, baseline: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, background: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, points: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, weights: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, noise: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, samples: typing.SupportsInt | typing.SupportsIndex = 0, seed: typing.SupportsInt | typing.SupportsIndex = 0, epsilon: typing.SupportsFloat | typing.SupportsIndex = 0.0, times_inputs: bool = False, nodes: bool = False) -> dict[str, typing.Any]:
        """
        What each input did to one output per row, by the method's definition.
        """
    def blame(self, examples: ExampleArrays, *, want: collections.abc.Set[str]) -> dict[str, typing.Any]:
        """
        The walk of a step without the update, and what is asked of it: any of nodes, hidden, slopes, read (of dense rows), inputs, gradient_norms and gradient.
        """
    def copy_parameters(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        A copy of the flat parameter vector, all of one step.
        """
    def evaluate(self, examples: ExampleArrays) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64], int]:
        """
        Each row's loss and score; and a row that is not finite, or -1.
        """
    def holds(self, weights: collections.abc.Sequence[typing.Any], biases: collections.abc.Sequence[typing.Any]) -> bool:
        """
        Whether each dense layer has these very weights and biases: C-contiguous arrays of the model's dtype, the same to the last bit.
        """
    def moments(self) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32], int]:
        """
        Copies of the optimizer's two moments (empty where it keeps none), and its steps.
        """
    def parameters(self) -> numpy.typing.NDArray[numpy.float32]:
        """
        The flat parameter vector, a read-only view.
        """
    def predict(self, x: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | SparseRows, classes: bool = False) -> tuple[numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], int]:
        """
        The outputs (n, outputs) or the class of each row; and a row that is not finite, or -1.
        """
    def set_moments(self, first: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], second: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], steps: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Restores what moments() gave.
        """
    def set_optimizer(self, optimizer: Optimizer) -> None:
        """
        Sets the optimizer, with fresh moments.
        """
    def set_parameters(self, values: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]]) -> None:
        """
        Replaces the whole flat vector.
        """
    def state(self) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32], int, int]:
        """
        Copies of all that training changes, of one step: the parameters, the optimizer's two moments (empty where it keeps none) and its steps, and the model's steps.
        """
    def train(self, job: Job) -> tuple[int, str, int]:
        """
        Trains a chunk; gives (steps done, why it stopped, row that is not finite).
        """
    @property
    def steps(self) -> int:
        """
        Batches trained on: the counter of dropout's random numbers.
        """
    @steps.setter
    def steps(self, arg1: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class Model64:
    """
    A network with its weights and its optimizer's memory.
    """
    @staticmethod
    def influence(models: collections.abc.Sequence[Model64], *, factors: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], train: ExampleArrays, test: ExampleArrays, top: typing.SupportsInt | typing.SupportsIndex = 0) -> dict[str, typing.Any]:
        """
        Sums over models of factor * dot products of the examples' gradients (tests, trains), or the top highest and lowest of each test.
        """
    def __init__(self, *, stages: collections.abc.Sequence[Stage], loss: str, loss_parameters: collections.abc.Mapping[str, typing.SupportsFloat | typing.SupportsIndex], input_scale: typing.SupportsFloat | typing.SupportsIndex, input_dropout: typing.SupportsFloat | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex, member: typing.SupportsInt | typing.SupportsIndex, loss_limit: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> None:
        ...
    def apply(self, gradient: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], learning_rate: typing.SupportsFloat | typing.SupportsIndex, weight_sum: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
        """
        One optimizer step with a given flat gradient.
        """
    def array(self, name: str) -> numpy.typing.NDArray[numpy.float64]:
        """
        One of the arrays, a read-only view.
        """
    def arrays(self) -> list[tuple[str, int, tuple[int, ...], bool]]:
        """
        The arrays that the flat vector consists of, in its order: (name, offset, shape, whether weight decay applies).
        """
    def attribute(self, x: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], *, method: str = 'gradient', targets: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, baseline: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, background: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, points: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, weights: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, noise: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | None = None, samples: typing.SupportsInt | typing.SupportsIndex = 0, seed: typing.SupportsInt | typing.SupportsIndex = 0, epsilon: typing.SupportsFloat | typing.SupportsIndex = 0.0, times_inputs: bool = False, nodes: bool = False) -> dict[str, typing.Any]:
        """
        What each input did to one output per row, by the method's definition.
        """
    def blame(self, examples: ExampleArrays, *, want: collections.abc.Set[str]) -> dict[str, typing.Any]:
        """
        The walk of a step without the update, and what is asked of it: any of nodes, hidden, slopes, read (of dense rows), inputs, gradient_norms and gradient.
        """
    def copy_parameters(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        A copy of the flat parameter vector, all of one step.
        """
    def evaluate(self, examples: ExampleArrays) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64], int]:
        """
        Each row's loss and score; and a row that is not finite, or -1.
        """
    def holds(self, weights: collections.abc.Sequence[typing.Any], biases: collections.abc.Sequence[typing.Any]) -> bool:
        """
        Whether each dense layer has these very weights and biases: C-contiguous arrays of the model's dtype, the same to the last bit.
        """
    def moments(self) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64], int]:
        """
        Copies of the optimizer's two moments (empty where it keeps none), and its steps.
        """
    def parameters(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        The flat parameter vector, a read-only view.
        """
    def predict(self, x: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]] | SparseRows, classes: bool = False) -> tuple[numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], int]:
        """
        The outputs (n, outputs) or the class of each row; and a row that is not finite, or -1.
        """
    def set_moments(self, first: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], second: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], steps: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Restores what moments() gave.
        """
    def set_optimizer(self, optimizer: Optimizer) -> None:
        """
        Sets the optimizer, with fresh moments.
        """
    def set_parameters(self, values: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]]) -> None:
        """
        Replaces the whole flat vector.
        """
    def state(self) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64], int, int]:
        """
        Copies of all that training changes, of one step: the parameters, the optimizer's two moments (empty where it keeps none) and its steps, and the model's steps.
        """
    def train(self, job: Job) -> tuple[int, str, int]:
        """
        Trains a chunk; gives (steps done, why it stopped, row that is not finite).
        """
    @property
    def steps(self) -> int:
        """
        Batches trained on: the counter of dropout's random numbers.
        """
    @steps.setter
    def steps(self, arg1: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
def arrays_of(stages: collections.abc.Sequence[Stage]) -> list[tuple[str, int, tuple[int, ...], bool]]:
    """
    What `arrays` gives of a model of these stages, which is not built.
    """
def barrier_seconds(threads: typing.SupportsInt | typing.SupportsIndex) -> float:
    """
    What one meeting of so many threads costs: small steps use fewer threads.
    """
def claim(claims: collections.abc.Sequence[Claim], what: str, trains: bool) -> Claimed:
    """
    All of the models, or RuntimeError: to train them, or to load weights; `what` does it.
    """
def cosine_of_turns(turns: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    """
    cos(2 pi turns), the same bits on every platform.
    """
def draw_numbers(kind: str, n: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex, layer: typing.SupportsInt | typing.SupportsIndex, member: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
    """
    Random numbers for initial weights: uniform in [0, 1) or standard normal.
    """
def exponential(x: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    """
    e ** x, for tests.
    """
def find_not_finite(x: numpy.ndarray[typing.Any, numpy.dtype[typing.Any]], dtype: str, scale: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> int:
    """
    The first row with a value that is not finite in that dtype, times scale, or -1.
    """
def force_plan(threads: typing.SupportsInt | typing.SupportsIndex, split: str = 'rows') -> None:
    """
    For tests: exactly so many threads, by rows or columns; 0 threads: choose again.
    """
def instruction_set() -> str:
    """
    The instruction set in use.
    """
def instruction_sets() -> list[str]:
    """
    Those that this CPU can run, fastest first.
    """
def lend(claim: Claim) -> Lent:
    """
    While a callback of the training runs, which may load weights.
    """
def measure_peak(float64: bool = False, threads: typing.SupportsInt | typing.SupportsIndex = 1, rounds: typing.SupportsInt | typing.SupportsIndex = 15) -> float:
    """
    Floating-point operations per second at the most: multiply-adds that touch no memory.
    """
def natural_log(x: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    """
    log(x) of finite x > 0, for tests.
    """
def natural_log_1p(x: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    """
    log(1 + x) of finite x > -1, for tests.
    """
def num_threads() -> int:
    """
    Threads that a call may use.
    """
def permutation(n: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex, member: typing.SupportsInt | typing.SupportsIndex, epoch: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.int64]:
    """
    The order of an epoch: 0 to n - 1, shuffled.
    """
def phase_names() -> list[str]:
    """
    What a Job's phases count the seconds of, in order.
    """
def philox(counter: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(4)"], key: typing.SupportsInt | typing.SupportsIndex) -> typing.Annotated[list[int], "FixedSize(4)"]:
    """
    Philox4x32-10, for tests.
    """
def poisson_batches(n: typing.SupportsInt | typing.SupportsIndex, rate: typing.SupportsFloat | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex, first_step: typing.SupportsInt | typing.SupportsIndex, steps: typing.SupportsInt | typing.SupportsIndex) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64]]:
    """
    Batches that each of n rows enters with that probability: (rows, offsets).
    """
def power(base: typing.SupportsFloat | typing.SupportsIndex, exponents: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    """
    base ** exponents, the same bits on every platform.
    """
def set_barrier_seconds(threads: typing.SupportsInt | typing.SupportsIndex, seconds: typing.SupportsFloat | typing.SupportsIndex) -> None:
    """
    For tests: as if a meeting had been measured at that; 0: not measured yet.
    """
def set_num_threads(count: typing.SupportsInt | typing.SupportsIndex) -> None:
    ...
def set_own_threads(count: typing.SupportsInt | typing.SupportsIndex) -> int:
    """
    Threads for calls from the calling thread alone, 0: as all others; gives the last count.
    """
@typing.overload
def train_side_by_side(models: collections.abc.Sequence[Model32], jobs: collections.abc.Sequence[Job]) -> list[tuple[int, str, int]]:
    """
    A chunk of several models: the same number of steps of each.
    """
@typing.overload
def train_side_by_side(models: collections.abc.Sequence[Model64], jobs: collections.abc.Sequence[Job]) -> list[tuple[int, str, int]]:
    """
    A chunk of several models: the same number of steps of each.
    """
def validation_order(n: typing.SupportsInt | typing.SupportsIndex, seed: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.int64]:
    """
    The order in which a validation split takes rows: 0 to n - 1, shuffled.
    """
