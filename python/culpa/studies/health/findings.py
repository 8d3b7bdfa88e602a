"""What is wrong with a network: thresholds with their reasons, findings in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from culpa.data.target_size import SCALE_TARGETS, TargetSize

__all__ = ["Finding", "LayerHealth", "Vitals", "judge_vitals"]

DEAD_NODES = 0.25
"""Of a layer's nodes. Up to a tenth are dead in relu nets that have learned well; CS231n (Karpathy
et al.) reports 40 % where the learning rate is too high."""

SATURATED_NODES = 0.25
"""Of a layer's nodes. Some detectors may well answer 0 or 1 nearly always; a quarter of a layer
is no longer a few of them (Glorot & Bengio 2010, figures 2 and 3, show healthy and sick layers)."""

VANISHED, EXPLODED = 1e-3, 1e3
"""Error signal of a layer by that of the outputs. With one learning rate for all layers, a layer
whose signal is 1,000 times smaller learns 1,000 times slower (Glorot & Bengio 2010, section 4.2:
healthy initial weights keep the signal's variance the same in all layers)."""

UPDATE_TOO_LARGE, UPDATE_TOO_SMALL, GOOD_UPDATE = 0.1, 1e-5, 1e-3
"""Norm of a step's change of the weights by their norm. About 1e-3 is a rule of thumb (Karpathy,
CS231n). Adam begins with 1e-2 and more in wide layers, which is no fault; at 0.1 ten steps replace
all that a layer knows, at 1e-5 they take 100,000 steps to change it."""

MUCH_TO_LEARN = 0.5
"""Loss by the loss of the best constant guess: below, small steps are those of a trained net."""

CHANCE = 0.99
"""Loss by the loss of the best constant guess: above, the inputs are not used."""

CONSTANT = 1e-6
"""Spread of an output over the examples by its size: float32 rounds at some 1e-7."""

INPUT_TOO_LARGE, INPUT_TOO_SMALL = 30.0, 1e-2
"""RMS of an input, after input_scale; the largest column's for the lower bound. Initial weights
expect about 1 (LeCun, Bottou, Orr & Mueller 1998, section 4.3); counts up to 16 still train well,
raw bytes (RMS about 100), years and incomes do not."""


class LayerHealth(NamedTuple):
    """The numbers of a Dense layer, from :func:`culpa.diagnose`."""

    layer: str
    """As in ``state_dict``: "dense_0", "dense_1", ..."""
    units: int
    activation: str
    dead: float
    """Fraction of nodes whose slope is zero for all examples: never active, they cannot learn."""
    saturated: float
    """Fraction of tanh or sigmoid nodes whose slope is below 5 % of the steepest possible for at
    least 95 % of the examples."""
    mean: float
    """Mean of the activations over nodes and examples."""
    spread: float
    """Their standard deviation."""
    signal_norm: float
    """Root mean square, over the examples, of the norm of dL_i/dz over the layer's nodes."""
    gradient_norm: float
    """Norm of the gradient of the mean loss by the layer's weights (without biases)."""
    weight_norm: float
    """Norm of the weights (without biases)."""
    update_ratio: float
    """Norm of the next step's change of the weights by `weight_norm`; NaN where that is 0."""


class Vitals(NamedTuple):
    """What a network is judged by."""

    layers: tuple[LayerHealth, ...]
    examples: int
    loss: float
    chance_loss: float
    learning_rate: float
    dtype: str
    trained: bool
    bad_weights: dict[str, int]  # of each layer, not only Dense: how many are NaN or infinite
    # The first layer whose activations are not finite; as many as there are where the outputs alone
    # are not.
    overflow: int | None
    output_change: float  # largest spread of an output over the examples, by its size
    inputs_differ: bool  # whether there are different examples
    input_rms: float  # of the largest column as the first layer reads it; NaN: normalized
    largest_input: str  # that column's name
    target_size: TargetSize | None
    bypassed: tuple[bool, ...]  # of each layer: whether a Residual leads around it
    frozen: tuple[bool, ...]  # whether its weights have a learning_rate_factor of 0


@dataclass(frozen=True)
class Finding:
    """Something that keeps a network from learning, in plain words.

    Attributes
    ----------
    kind : str
        ``"bad_weights"``, ``"overflow"``, ``"inputs"``, ``"targets"``, ``"dead_nodes"``,
        ``"saturated_nodes"``, ``"vanishing_signal"``, ``"exploding_signal"``,
        ``"update_too_large"``, ``"update_too_small"``, ``"constant_outputs"`` or ``"chance_loss"``.
    layer : str or None
        "dense_0", ...; None where it concerns the whole network.
    value : float
        The number that crossed its threshold.
    sentence : str
        What was found.
    advice : str
        What to try.
    """

    kind: str
    layer: str | None
    value: float
    sentence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.sentence} Try: {self.advice}"


def judge_vitals(vitals: Vitals) -> list[Finding]:
    """Return what is wrong, causes before their effects; nothing where all looks healthy."""
    broken = [*_bad_weights(vitals), *_overflow(vitals)]
    if broken:  # the other numbers mean nothing then
        return [*broken, *_inputs(vitals), *_targets(vitals)]
    return [
        *_inputs(vitals),
        *_targets(vitals),
        *_dead_nodes(vitals),
        *_saturated_nodes(vitals),
        *_signals(vitals),
        *_updates(vitals),
        *_outputs(vitals),
    ]


def _bad_weights(vitals: Vitals) -> Iterator[Finding]:
    for layer, count in vitals.bad_weights.items():
        if count:
            yield Finding(
                "bad_weights",
                layer,
                float(count),
                f"{count:,} of the numbers that {layer} has learned "
                f"{'are' if count > 1 else 'is'} broken (NaN or infinite), so every answer is.",
                "load weights saved earlier or start afresh, with a lower learning rate, scaled "
                "inputs or clip_norm=1.0.",
            )


def _overflow(vitals: Vitals) -> Iterator[Finding]:
    if vitals.overflow is not None and not any(vitals.bad_weights.values()):
        behind = vitals.overflow == len(vitals.layers)
        layer = None if behind else vitals.layers[vitals.overflow].layer
        where = f"behind {vitals.layers[-1].layer}" if behind else f"in {layer}"
        yield Finding(
            "overflow",
            layer,
            float("inf"),
            f"The values computed {where} grow beyond what {vitals.dtype} can hold.",
            "start afresh with smaller weights (initializer='glorot_uniform'), and scale the "
            "inputs.",
        )


def _inputs(vitals: Vitals) -> Iterator[Finding]:
    rms, name = vitals.input_rms, vitals.largest_input
    if rms > INPUT_TOO_LARGE:
        size, fault = "large", f"{name} has values of about {rms:,.0f}"
    elif 0.0 < rms < INPUT_TOO_SMALL:
        size, fault = "small", f"no input has values above some {rms:.1g}"
    else:
        return
    yield Finding(
        "inputs",
        None,
        rms,
        f"The inputs are very {size}: {fault}, where networks learn best from values around 1.",
        "subtract each column's mean and divide by its standard deviation, or pass a factor "
        "such as input_scale=1/255 (for images of bytes).",
    )


def _targets(vitals: Vitals) -> Iterator[Finding]:
    size = vitals.target_size
    if size is None or not size.fault or vitals.loss <= MUCH_TO_LEARN * vitals.chance_loss:
        return  # a network that has learned its targets all the same is not to be told
    yield Finding(
        "targets",
        None,
        size.rms,
        f"The targets are very {size.fault}: {size}, where networks learn best from values "
        "around 1.",
        f"{SCALE_TARGETS}.",
    )


def _dead_nodes(vitals: Vitals) -> Iterator[Finding]:
    for layer, bypassed in zip(vitals.layers, vitals.bypassed, strict=True):
        if layer.dead < DEAD_NODES:
            continue
        count = round(layer.dead * layer.units)
        blocks = count == layer.units and not bypassed
        blocked = " Nothing before them can learn either." if blocks else ""
        yield Finding(
            "dead_nodes",
            layer.layer,
            layer.dead,
            f"{_of_nodes(count, layer)} never respond{'s' * (count == 1)} to any of the "
            f"{vitals.examples:,} examples: switched off, {_they(count)} cannot learn.{blocked}",
            "a lower learning rate, activation 'leaky_relu', or initializer='he_normal', and "
            "train afresh; check that the inputs are scaled.",
        )


def _saturated_nodes(vitals: Vitals) -> Iterator[Finding]:
    for layer in vitals.layers:
        if layer.saturated < SATURATED_NODES:
            continue
        count = round(layer.saturated * layer.units)
        yield Finding(
            "saturated_nodes",
            layer.layer,
            layer.saturated,
            f"{_of_nodes(count, layer)} {'are' if count > 1 else 'is'} stuck at the end of the "
            f"scale for nearly every example, so {_they(count)} hardly "
            f"learn{'s' * (count == 1)}.",
            "scale the inputs to values around 1, start from smaller weights, lower the learning "
            "rate, or use activation 'relu'.",
        )


def _signals(vitals: Vitals) -> Iterator[Finding]:
    """Walk back from the outputs to where the error signal first leaves its bounds.

    A Residual carries it past the layers inside, so that those before are looked at too.
    """
    at_outputs = vitals.layers[-1].signal_norm
    if not at_outputs > 0.0 or any(layer.dead == 1.0 for layer in vitals.layers):
        return  # nothing to carry, or a dead layer has been named as the cause
    for layer, bypassed in zip(vitals.layers[-2::-1], vitals.bypassed[-2::-1], strict=True):
        ratio = layer.signal_norm / at_outputs
        if ratio < VANISHED:
            fraction = "nothing" if ratio == 0.0 else f"1/{1 / ratio:,.0f} of its size"
            those = "that layer hardly learns"
            if not bypassed:
                those = "that layer and those before it hardly learn"
            yield Finding(
                "vanishing_signal",
                layer.layer,
                ratio,
                f"What the network learns from a mistake fades on its way back: only {fraction} "
                f"reaches {layer.layer}, so {those}.",
                "activation 'relu' with initializer='he_normal', fewer layers, or scaled inputs.",
            )
        if ratio > EXPLODED:
            yield Finding(
                "exploding_signal",
                layer.layer,
                ratio,
                f"What the network learns from a mistake grows {ratio:,.0f}-fold on its way back "
                f"to {layer.layer}: small mistakes cause violent corrections.",
                "start from smaller weights (initializer='glorot_uniform'), pass clip_norm=1.0, "
                "or use fewer layers.",
            )
        if not (bypassed or VANISHED <= ratio <= EXPLODED):
            return


def _updates(vitals: Vitals) -> Iterator[Finding]:
    known = [layer for layer in vitals.layers if layer.update_ratio == layer.update_ratio]
    if not known:
        return
    rate = vitals.learning_rate
    worst = max(known, key=lambda layer: layer.update_ratio)
    if worst.update_ratio > UPDATE_TOO_LARGE:
        yield Finding(
            "update_too_large",
            worst.layer,
            worst.update_ratio,
            f"One step of learning would change the weights of {worst.layer} by "
            f"{worst.update_ratio:.0%} of their size: it overwrites what was learned before.",
            f"a lower learning rate, {rate * GOOD_UPDATE / worst.update_ratio:.1g} rather than "
            f"{rate:g}, or clip_norm=1.0.",
        )
    pairs = zip(vitals.layers, vitals.frozen, strict=True)
    frozen_names = {layer.layer for layer, frozen in pairs if frozen}
    known = [layer for layer in known if layer.layer not in frozen_names]
    if not known:
        return
    least = min(known, key=lambda layer: layer.update_ratio)
    much_to_learn = vitals.loss > MUCH_TO_LEARN * vitals.chance_loss > 0.0
    if least.update_ratio < UPDATE_TOO_SMALL and much_to_learn and not any(_stuck(vitals)):
        ratio = least.update_ratio
        share = f"by only {ratio:.1g} of their size" if ratio else "not at all"
        yield Finding(
            "update_too_small",
            least.layer,
            ratio,
            f"One step of learning would change the weights of {least.layer} {share}, although "
            "there is much left to learn.",
            f"a higher learning rate than {rate:g}; culpa.Adam adapts the steps by itself.",
        )


def _stuck(vitals: Vitals) -> Iterator[Finding]:
    """Return what stops the signal: small steps are its effect then."""
    yield from _signals(vitals)
    yield from (found for found in _dead_nodes(vitals) if found.value == 1.0)


def _outputs(vitals: Vitals) -> Iterator[Finding]:
    if vitals.inputs_differ and vitals.output_change < CONSTANT:
        yield Finding(
            "constant_outputs",
            vitals.layers[-1].layer,
            vitals.output_change,
            "The network gives the same answer for every example, whatever the inputs.",
            "fresh weights and a lower learning rate; see the other findings for the cause, and "
            "check that the inputs vary.",
        )
    elif vitals.loss >= CHANCE * vitals.chance_loss > 1e-12:
        untrained = "" if vitals.trained else " Before training, that is to be expected."
        yield Finding(
            "chance_loss",
            None,
            vitals.loss / vitals.chance_loss,
            f"The guesses are no better than giving one fixed answer every time (loss "
            f"{vitals.loss:.3g}; the best fixed answer has {vitals.chance_loss:.3g}).{untrained}",
            "train longer, or with another learning rate; scale the inputs, and check that each "
            "row of X has its own y.",
        )


def _of_nodes(count: int, layer: LayerHealth) -> str:
    if layer.units == 1:
        return f"The one node of {layer.layer}"
    if count == layer.units:
        return f"All {count:,} nodes of {layer.layer}"
    return f"{count:,} of the {layer.units:,} nodes of {layer.layer}"


def _they(count: int) -> str:
    return "they" if count > 1 else "it"
