"""Every instruction set that this CPU can run passes the same tests, and all agree.

CULPA_FORCE_ISA takes effect at import, so each set runs in a process of its own. The tests of each
set take as long as the files below take by themselves; CULPA_SKIP_ISA_RUNS=1 leaves them out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import helpers
import reference
from culpa import _core

TESTS = Path(__file__).parents[1]
INNER_FILES = [
    "network/test_gradients.py",
    "parts/test_optimizers.py",
    "core/test_determinism.py",
]
NAMES = _core.instruction_sets()
OTHERS = [name for name in NAMES if name != _core.instruction_set()]


@pytest.mark.skipif("CULPA_TEST_INNER" in os.environ, reason="these are the inner tests already")
@pytest.mark.skipif(bool(os.environ.get("CULPA_SKIP_ISA_RUNS")), reason="CULPA_SKIP_ISA_RUNS")
@pytest.mark.parametrize("name", OTHERS)
def test_every_instruction_set_passes_the_tests(name: str) -> None:
    """One of them asserts that the set that runs is the one that is forced."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *[str(TESTS / file) for file in INNER_FILES],
            *["-q", "-x", "-p", "no:cacheprovider", "-rA", "--no-header", "--tb=short"],
        ],
        cwd=TESTS.parent,
        env={**os.environ, "CULPA_FORCE_ISA": name, "CULPA_TEST_INNER": "1"},
        capture_output=True,
        text=True,
    )
    lines = [line for line in result.stdout.splitlines() if not line.startswith("PASSED")]
    assert result.returncode == 0, "\n".join(lines)[-8000:] + result.stderr[-4000:]
    proof = "test_gradients.py::test_the_instruction_set_asked_for_is_the_one_that_runs"
    assert re.search(rf"^PASSED \S*{proof}$", result.stdout, re.MULTILINE)
    assert re.search(r"^\d{3,} passed in ", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_the_forced_instruction_set_runs(name: str) -> None:
    code = "import json; from culpa import _core; print(json.dumps(_core.instruction_set()))"
    assert helpers.last_json(code, CULPA_FORCE_ISA=name) == name


def test_without_a_wish_the_fastest_runs() -> None:
    code = "import json; from culpa import _core; print(json.dumps(_core.instruction_set()))"
    assert helpers.last_json(code, CULPA_FORCE_ISA="") == NAMES[0]


@pytest.mark.parametrize("wish", ["avx1024", "AVX2", "baseline ", "none"])
def test_an_impossible_instruction_set_is_refused_with_the_possible_ones(wish: str) -> None:
    message = helpers.last_json_of("say_why_no_import.py", CULPA_FORCE_ISA=wish)
    assert "CULPA_FORCE_ISA" in message
    assert f'"{wish}"' in message
    assert ", ".join(NAMES) in message


def test_instruction_sets_draw_the_same_numbers_and_agree_on_the_rest() -> None:
    """Random numbers are integers and float64 everywhere: equal bits. Sums are not."""
    results: list[dict[str, Any]] = [
        helpers.last_json_of("train_and_answer.py", CULPA_FORCE_ISA=name) for name in NAMES
    ]
    assert [result["name"] for result in results] == NAMES
    first = results[0]
    for other in results[1:]:
        assert other["order"] == first["order"]
        for dtype, tolerance in (("float32", 1e-3), ("float64", 1e-11)):
            one, two = first[dtype], other[dtype]
            assert two["exact"] == one["exact"]
            for key in ("loss", "logits", "inputs", "gradient_norms"):
                error = reference.relative_error(two[key], one[key])
                assert error < tolerance, (other["name"], dtype, key, error)
            for i, (a, b) in enumerate(zip(two["weights"], one["weights"], strict=True)):
                error = reference.relative_error(np.array(a), np.array(b))
                assert error < tolerance, (other["name"], dtype, "weights", i, error)
