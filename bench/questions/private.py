"""A step of private training: every example's gradient clipped, noise in their sum."""

from __future__ import annotations

from functools import partial

from culpa.bench.workloads import WORKLOADS, Problem
from privacy import CLIP, opacus_sides, private_side
from questions import Call, Question, Side

STEPS = 2  # a call


def culpa_side() -> Call:
    run = private_side(Problem(WORKLOADS["mnist"]), CLIP).run
    return lambda: run(STEPS)


def opacus_side(kind: str) -> Call:
    run = opacus_sides(Problem(WORKLOADS["mnist"]))[f"opacus, {kind}"]
    return lambda: run(STEPS)


QUESTIONS = {
    "private": Question(
        f"{STEPS} steps of private training, {WORKLOADS['mnist']}",
        {
            "culpa": Side(culpa_side),
            "Opacus, ghost": Side(partial(opacus_side, "ghost"), "opacus"),
            "Opacus, hooks": Side(partial(opacus_side, "hooks"), "opacus"),
        },
        None,
    ),
}
