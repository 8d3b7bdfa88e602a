"""What a guess was, how wrong it was and what a fix changed, in sentences for anybody."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from culpa.parts.losses import Loss

__all__ = ["ACTIVATIONS", "Outcome", "amount", "chance", "left_out"]

Array = NDArray[np.float64]

# What each activation does to the sum that came in.
ACTIVATIONS = {
    "identity": "sends its sum on as it is",
    "relu": "sends on what is above 0 and is silent below",
    "leaky_relu": "sends on what is above 0 and lets only a little through below",
    "elu": "sends on what is above 0 and bends what is below towards a floor",
    "selu": "sends on what is above 0, a little larger, and bends what is below towards a floor",
    "gelu": "sends on large sums and softly silences those below 0",
    "gelu_tanh": "sends on large sums and softly silences those below 0",
    "silu": "sends on large sums and softly silences those below 0",
    "mish": "sends on large sums and softly silences those below 0",
    "tanh": "squeezes its sum into the range from −1 to 1",
    "sigmoid": "squeezes its sum into the range from 0 to 1",
    "softplus": "sends on large sums and lets small ones fade softly to 0",
}


@dataclass(frozen=True)
class Outcome:
    """One example's guess beside what was wanted.

    `response` (m,) is what the model's outputs mean: probabilities, expected counts or numbers;
    `target` (m,) what they should have been, `names` their names, `loss_value` the core's loss.
    """

    loss: Loss
    response: Array
    target: Array
    names: list[str]
    loss_value: float
    binary_names: tuple[str, str] | None = None

    @property
    def guess(self) -> int:
        """The output with the largest response."""
        return int(np.argmax(self.response))

    @property
    def label(self) -> int:
        """The output that was wanted most."""
        return int(np.argmax(self.target))

    @property
    def right(self) -> bool | None:
        """Whether the classes guessed are the true ones; None for numbers."""
        if self.loss.task == "classes":
            return self.guess == self.label
        if self.loss.task == "binary":
            return bool(np.array_equal(self.response > 0.5, self.target > 0.5))
        return None

    def guessed(self) -> str:
        """Return what the model says."""
        if self.loss.task == "classes":
            name, p = self.names[self.guess], float(self.response[self.guess])
            return f"It says “{name}” and gives that a chance of {chance(p)}."
        if self.loss.task == "binary":
            if len(self.response) == 1:
                p = float(self.response[0])
                no, yes = self.yes_and_no()
                said = yes if p > 0.5 else no
                return f"It gives “{yes}” a chance of {chance(p)}, so it says “{said}”."
            likely = [name for name, p in zip(self.names, self.response, strict=True) if p > 0.5]
            return f"It says yes to {listed(likely)} and no to the rest."
        if len(self.response) == 1:
            return f"It {self.loss.says} {amount(self.response[0])}."
        return f"It {self.loss.says} {listed(self._values(self.response), quoted=False)}."

    def wanted(self) -> str:
        """Return what it should have said."""
        if self.loss.task == "classes":
            if self.target[self.label] > 0.999:
                return f"The truth is “{self.names[self.label]}”."
            best = np.argsort(-self.target, kind="stable")[:3]
            parts = [f"{chance(self.target[k])} for “{self.names[k]}”" for k in best]
            return f"What was wanted is a mix of chances: {listed(parts, quoted=False)} first."
        if self.loss.task == "binary":
            if len(self.target) == 1:
                t = float(self.target[0])
                if t in (0.0, 1.0):
                    return f"The truth is “{self.yes_and_no()[int(t)]}”."
                return f"What was wanted is a chance of {chance(t)} for “{self.yes_and_no()[1]}”."
            true = [name for name, t in zip(self.names, self.target, strict=True) if t > 0.5]
            return f"The truth is yes to {listed(true)} and no to the rest."
        if len(self.target) == 1:
            return f"The truth is {amount(self.target[0])}."
        return f"The truth is {listed(self._values(self.target), quoted=False)}."

    def measured(self) -> list[str]:
        """Return how wrong the guess was: the rule, the sum, and what would be perfect."""
        rule, example = getattr(self, f"_{self.loss.name}", self._in_its_words)()
        best = self.least_loss()
        perfect = (
            "A perfect guess would have a loss of 0."
            if best == 0.0
            else f"Here even a perfect guess would have a loss of {amount(best)}."
        )
        return [rule, *([example] if example else []), perfect]

    def least_loss(self) -> float:
        """Return the loss of the best possible guess for this target."""
        return float(self.loss.least_loss(self.target[None, :])[0])

    @property
    def wanted_response(self) -> Array:
        """What the loss compares the response with: the target, smoothed where the loss does."""
        return np.asarray(self.loss.wanted(self.target[None, :])[0])

    # The losses: a rule in words, and the arithmetic where it fits into a line.

    def _in_its_words(self) -> tuple[str, str]:
        words = self.loss.in_words.format(mean=self._mean())
        if len(self.response) > 1:
            return words, ""
        response, target = float(self.response[0]), float(self.target[0])
        return words, self._line(self.loss.formula(), self.loss.value, response, target)

    def _cross_entropy(self) -> tuple[str, str]:
        smoothing = self.loss.parameters["label_smoothing"]
        if smoothing == 0.0 and self.target[self.label] == 1.0:
            p, name = float(self.response[self.label]), self.names[self.label]
            return (
                f"It gave the truth, “{name}”, a chance of {chance(p)}. The smaller that chance, "
                "the larger the loss: it is the negative logarithm of the chance (cross-entropy).",
                self._line("−log({x})", lambda x: -math.log(x) if x > 0 else math.inf, p),
            )
        softly = (
            f" The wanted chances are smoothed by {amount(smoothing)} (label smoothing), "
            "so that certainty is not worth striving for."
            if smoothing
            else ""
        )
        return (
            "Each chance it gave is compared with the chance that was wanted: the negative "
            "logarithms of its chances are averaged, each counted as much as it was wanted "
            f"(cross-entropy).{softly}",
            "",
        )

    def _binary_cross_entropy(self) -> tuple[str, str]:
        if len(self.response) == 1 and self.target[0] in (0.0, 1.0):
            yes = self.target[0] == 1.0
            p, name = float(self.response[0]), self.yes_and_no()[int(yes)]
            given = p if yes else 1.0 - p
            return (
                f"It gave the truth, “{name}”, a chance of {chance(given)}. The smaller that "
                "chance, the larger the loss: it is the negative logarithm of the chance (binary "
                "cross-entropy).",
                self._line("−log({x})", lambda x: -math.log(x) if x > 0 else math.inf, given),
            )
        return (
            "For each output the chance given is compared with the chance that was wanted, by "
            "negative logarithms (binary cross-entropy)" + self._mean(),
            "",
        )

    def _mse(self) -> tuple[str, str]:
        return (
            f"{self._missed()} The loss is the miss squared, so twice as far off counts four "
            f"times (squared error){self._mean()}",
            self._miss_line("({x})²", lambda d: d * d),
        )

    def _mae(self) -> tuple[str, str]:
        return (
            f"{self._missed()} The loss is how far off it was, above or below (absolute error)"
            f"{self._mean()}",
            self._miss_line("|{x}|", abs),
        )

    def _huber(self) -> tuple[str, str]:
        edge = self.loss.parameters["delta"]

        def value(d: float) -> float:
            return d * d / 2 if abs(d) <= edge else edge * (abs(d) - edge / 2)

        far = len(self.target) == 1 and abs(self._misses()[0]) > edge
        shown = f"{amount(edge)} × (|{{x}}| − {amount(edge)} / 2)" if far else "({x})² / 2"
        return (
            f"{self._missed()} Up to a miss of {amount(edge)} the loss is half the miss squared; "
            f"beyond, it grows in a straight line, so that one wild example cannot shout down "
            f"the others (Huber loss){self._mean()}",
            self._miss_line(shown, value),
        )

    def _quantile(self) -> tuple[str, str]:
        q = self.loss.parameters["q"]

        def value(d: float) -> float:
            return -q * d if d < 0 else (1 - q) * d

        rate = q if self._misses()[0] < 0 else 1 - q
        return (
            f"{self._missed()} It aims at the value that {chance(q)} of the truths lie below, so "
            f"each unit too low costs {amount(q)} and each unit too high {amount(1 - q)} (quantile "
            f"or pinball loss){self._mean()}",
            self._miss_line(f"{amount(rate)} × |{{x}}|", value),
        )

    # Parts of sentences

    def yes_and_no(self) -> tuple[str, str]:
        """Return the names of 0 and 1 of a single binary output."""
        return self.binary_names or ("0", "1")

    def _values(self, values: Array) -> list[str]:
        return [f"{amount(v)} for “{n}”" for n, v in zip(self.names, values, strict=True)]

    def _misses(self) -> Array:
        return self.response - self.target

    def _missed(self) -> str:
        misses = self._misses()
        if len(misses) > 1:
            worst = int(np.argmax(np.abs(misses)))
            return (
                f"It was furthest off for “{self.names[worst]}”: by {amount(abs(misses[worst]))}."
            )
        if misses[0] == 0:
            return "It was exactly right."
        return f"It was too {'high' if misses[0] > 0 else 'low'} by {amount(abs(misses[0]))}."

    def _mean(self) -> str:
        return f", averaged over its {len(self.target)} outputs." if len(self.target) > 1 else "."

    def _miss_line(self, left: str, function: Callable[[float], float]) -> str:
        if len(self.target) > 1:
            return ""
        return self._line(left, function, float(self._misses()[0]))

    def _line(self, left: str, function: Callable[..., float], *numbers: float) -> str:
        """Return "left = loss" with as many digits of {x} and {t} as it takes to be true so."""
        right = amount(self.loss_value)
        for digits in range(4, 13):
            shown = [f"{number:.{digits}g}" for number in numbers]
            if amount(function(*map(float, shown))) == right:
                break
        else:  # the core's own rounding shows: say what is exact
            return f"loss = {right}"
        named = zip("xt", shown, strict=False)
        return f"{left.format(**{k: text.replace('-', '−') for k, text in named})} = {right}"


def left_out(between: Sequence[Sequence[str]]) -> str | None:
    """Return what a page of the Dense layers does not draw; None where it draws all.

    `between` has the kinds of layers before, between and behind the Dense layers.

    Examples
    --------
    >>> print(left_out([[], ["LayerNorm", "Residual"], ["Residual"]]).split(".")[0])
    This network also has layers of other kinds: LayerNorm and Residual
    """
    kinds = list(dict.fromkeys(kind for kinds in between for kind in kinds))
    if not kinds:
        return None
    return (
        f"This network also has layers of other kinds: {listed(kinds, quoted=False)}. Only its "
        "Dense layers are drawn, and their weights listed. What the others do shows in the values "
        "that arrive at the next layer, and in a row of its own where blame comes back."
    )


def improved(before: Outcome, after: Outcome) -> str:
    """Return what one step changed."""
    old, new = amount(before.loss_value), amount(after.loss_value)
    if after.loss_value == before.loss_value:
        return f"The loss stays at {new}: there was nothing to fix, or the step was too small."
    if after.loss_value > before.loss_value:
        return (
            f"The loss rose from {old} to {new}: this step was too long, it leapt past the better "
            "weights. A smaller learning rate would help."
        )
    turned = ""
    if before.right is False:
        turned = " Now it is right." if after.right else " It is still wrong, but less so."
    return f"The loss fell from {old} to {new}.{turned}"


def amount(x: float) -> str:
    """Return a number in four digits.

    Examples
    --------
    >>> amount(-0.123456), amount(3.0), amount(1234567.0)
    ('−0.1235', '3', '1.235e+06')
    """
    return f"{float(x):.4g}".replace("-", "−")


def chance(p: float) -> str:
    """Return a probability in percent, never rounded to certainty.

    Examples
    --------
    >>> chance(0.25), chance(1.0), chance(0.99999), chance(1e-9)
    ('25.0 %', '100 %', 'more than 99.9 %', 'less than 0.1 %')
    """
    p = float(p)
    if p in (0.0, 1.0):
        return f"{100 * p:.0f} %"
    if p < 0.001:
        return "less than 0.1 %"
    return "more than 99.9 %" if p > 0.999 else f"{100 * p:.1f} %"


def listed(names: list[str], *, quoted: bool = True) -> str:
    """Return "a, b and c", of many the first few.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed([]), listed([str(i) for i in range(9)])
    ('“a”, “b” and “c”', 'nothing', '“0”, “1”, “2”, “3”, “4” and 4 more')
    """
    shown = [f"“{name}”" if quoted else name for name in names]
    if len(shown) > 6:
        shown = [*shown[:5], f"{len(shown) - 5} more"]
    if len(shown) < 2:
        return shown[0] if shown else "nothing"
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
