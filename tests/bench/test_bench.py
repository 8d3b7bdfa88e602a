"""`culpa bench`: all sides do the same work, and what is shown is what was measured."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from culpa.bench import command, machine, measure, peers, table
from culpa.bench.numpy_net import BETA_1, BETA_2, EPSILON, NumpyNet
from culpa.bench.workloads import WORKLOADS, Workload

QUICK = ("--rounds", "1", "--seconds", "0.001")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command_line = [sys.executable, "-m", "culpa.cli", "bench", *arguments]
    return subprocess.run(command_line, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a run with every installed peer printed and wrote; a process of its own."""
    path = tmp_path_factory.mktemp("bench") / "times.json"
    workloads = ("--workload", "tiny", "--workload", "digits")
    result = bench(*QUICK, *workloads, "--json", str(path))
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads(path.read_text())


def installed(key: str) -> peers.Peer:
    peer = peers.PEERS[key]
    if not peer.installed:
        pytest.skip(f"{peer.name} is not installed: {peers.INSTALL} brings it")
    return peer


@pytest.mark.parametrize("key", peers.PEERS)
def test_every_peer_computes_the_losses_of_culpa(
    key: str, measured: tuple[str, dict[str, Any]]
) -> None:
    peer = installed(key)
    for result in measured[1]["results"]:
        own, culpas = result["sides"][peer.name]["losses"], result["sides"]["Culpa"]["losses"]
        two_classes = result["shape"][-1] == 2
        assert len(own) == (1 if two_classes and key == "scikit-learn" else measure.CHECKED_STEPS)
        assert len(set(culpas)) == measure.CHECKED_STEPS
        np.testing.assert_allclose(own, culpas[: len(own)], rtol=measure.TOLERANCE)


def test_json_holds_every_round_and_what_the_table_shows(
    measured: tuple[str, dict[str, Any]],
) -> None:
    content = measured[1]
    assert [result["workload"] for result in content["results"]] == ["tiny", "digits"]
    assert (content["rounds"], content["machine"]["threads"]) == (1, "1")
    assert {"culpa", "CPU", "instruction set", "numpy", "BLAS", "date"} <= set(content["machine"])
    for key in content["missing"]:
        assert not peers.PEERS[key].installed
    for result in content["results"]:
        assert result["flop_per_step"] == WORKLOADS[result["workload"]].flop
        assert len(result["peak_per_round"]) == 1
        assert next(iter(result["sides"])) == "Culpa"
        for side in result["sides"].values():
            assert side["steps_per_round"] >= 1
            assert side["seconds_per_round"] == [side["seconds_per_step"]]
            speed = result["flop_per_step"] / side["seconds_per_step"]
            assert math.isclose(side["flop_per_second"], speed)
            assert math.isclose(side["part_of_peak"], speed / result["peak_flop_per_second"])
        assert result["sides"]["Culpa"]["ratio_quartiles"] == [1, 1, 1]


def test_a_pipe_gets_a_plain_and_aligned_table(measured: tuple[str, dict[str, Any]]) -> None:
    shown, content = measured
    assert "\x1b" not in shown
    assert "…" not in shown
    lines = shown.splitlines()
    assert lines[0].startswith("Culpa ")
    assert lines[0].endswith(content["machine"]["date"])
    head = next(line for line in lines if "us/step" in line)
    ends = [match.end() for match in re.finditer(r"(?<=\s)\S+( \S+)*", head)]
    for result in content["results"]:
        at = lines.index(str(WORKLOADS[result["workload"]]))
        names = [*result["sides"], "FMA peak"]
        for name, line in zip(names, lines[at + 1 :], strict=False):
            assert line.startswith(f"  {name} ")
            for end in ends[:-2]:  # the quartiles of the first side and the CPUs may be left out
                assert line[end - 1] != " "
                assert line[end] == " "


def test_the_same_table_comes_from_the_script_in_bench() -> None:
    script = Path(__file__).parents[2] / "bench" / "step.py"
    if not script.exists():
        pytest.skip("bench/ is not beside the tests")
    arguments = [*QUICK, "--workload", "tiny", "--peer", "numpy"]
    result = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"^  NumPy +[\d.,]+ ", result.stdout, re.MULTILINE)
    assert "JAX" not in result.stdout


@pytest.fixture
def only_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No peer but NumPy is installed, and this process may stay as it is."""
    known = peers._version
    here = ("culpa", "numpy")
    monkeypatch.setattr(peers, "_version", lambda name: known(name) if name in here else None)
    monkeypatch.setattr(machine, "limit_threads", lambda count: None)


@pytest.mark.usefixtures("only_numpy")
def test_missing_peers_are_named_with_the_command_that_brings_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = command.run(command.Options(workloads=["tiny"], rounds=2, seconds=0.001))
    assert [row.name for row in results[0].rows] == ["Culpa", "NumPy"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("not installed: scikit-learn, PyTorch, JAX per step, JAX scan; ")
    assert 'pip install "culpa[bench]"' in last


@pytest.mark.usefixtures("only_numpy")
def test_asking_for_a_peer_that_is_missing_says_how_to_bring_it() -> None:
    with pytest.raises(ValueError, match=r"--peer.*'jax' lacks jax, optax.*culpa\[bench\]"):
        command.Options(peers=["jax"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workloads": ["tinny"]}, r"--workload: expected one of tiny, digits.*; got 'tinny'"),
        ({"peers": ["pytorch"]}, r"--peer: expected one of numpy, .*torch.*; got 'pytorch'"),
        ({"threads": 0}, r"--threads: expected 1 to \d+, the CPUs .*; got 0"),
        ({"threads": 4096}, r"--threads: expected 1 to \d+, the CPUs .*; got 4096"),
        ({"rounds": 0}, r"--rounds: expected at least 1; got 0"),
        ({"seconds": 0.0}, r"--seconds: expected a time above 0; got 0"),
        ({"seconds": math.nan}, r"--seconds: expected a time above 0; got nan"),
        ({"json": Path("no/such/folder/x.json")}, r"--json: expected a file in a folder .*; got"),
    ],
)
def test_bad_options_are_refused_before_anything_is_measured(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        command.Options(**options)


def test_the_command_line_shows_what_was_wrong() -> None:
    result = bench("--workload", "tinny")
    assert result.returncode == 2
    for word in ("--workload", "tiny", "tinny"):
        assert word in result.stderr
    assert result.stdout == ""


class Fixed:
    """A side whose losses are given."""

    def __init__(self, *losses: float) -> None:
        self.given = list(losses)

    def reset(self) -> None:
        pass

    def run(self, steps: int) -> int:
        return steps

    def losses(self, count: int) -> list[float]:
        return self.given[:count]


def test_other_losses_are_noticed() -> None:
    names, culpas = ["Culpa", "Other"], Fixed(2.0, 1.0)
    close, fewer = Fixed(2.0, 1.00001), Fixed(2.0)
    assert [error for _, error in measure.check_agreement(names, [culpas, close])] == [
        0,
        pytest.approx(5e-6),
    ]
    measure.check_agreement(names, [culpas, fewer])
    for wrong in (Fixed(2.0, 1.001), Fixed(2.0, math.nan)):
        with pytest.raises(measure.Disagreement, match=r"Other computes other losses than Culpa"):
            measure.check_agreement(names, [culpas, wrong])


def test_ratios_are_taken_round_by_round() -> None:
    row = measure.Row("Culpa", [], 0.0, 1, [1.0, 10.0, 2.0])
    result = measure.Result(WORKLOADS["tiny"], [row], [1e9] * 3)
    assert result.ratios([2.0, 30.0, 8.0]) == (2.5, 3.0, 3.5)


def test_flop_counts_no_gradient_of_the_inputs() -> None:
    assert Workload("small", (5, 3, 2), batch=7, batches=1).flop == 7 * (4 * 15 + 6 * 6)


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=str)
def test_chunks_are_whole_parts_of_an_epoch(workload: Workload) -> None:
    assert workload.batches % workload.chunk == 0
    assert workload.chunk >= 2


def test_every_peer_is_pinned_by_the_extra() -> None:
    pins = [
        line for line in requires("culpa") or [] if 'extra == "bench"' in line.replace("'", '"')
    ]
    for peer in peers.PEERS.values():
        for package in peer.packages:
            assert package == "numpy" or any(pin.startswith(f"{package}==") for pin in pins)


def test_cores_are_filled_before_their_second_hyperthreads(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(("0-1", "0-1", "2,3", "2,3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert machine.choose_cpus({0, 1, 2, 3}, 2, tmp_path) == {0, 2}
    assert machine.choose_cpus({0, 1, 2, 3}, 3, tmp_path) == {0, 1, 2}
    assert machine.choose_cpus({1, 3}, 2, tmp_path) == {1, 3}
    assert machine.choose_cpus({4, 5}, 1, tmp_path) == {4}


def test_limits_keep_what_the_user_told_xla() -> None:
    first = machine.thread_environment(1, {"XLA_FLAGS": "--xla_dump_to=/dev/null"})
    assert first["XLA_FLAGS"] == f"--xla_dump_to=/dev/null {machine.XLA_ONE_THREAD}"
    assert "XLA_FLAGS" not in machine.thread_environment(1, first)
    assert machine.thread_environment(2, {})["OPENBLAS_NUM_THREADS"] == "2"


def test_numbers_keep_their_digits() -> None:
    assert [table.digits(v) for v in (0.123, 9.99, 9.999, 99.99, 1234.5)] == [
        "0.12",
        "9.99",
        "10.0",
        "100",
        "1,234",
    ]
    assert [table.percent(v) for v in (0.0004, 0.0099999, 0.0832, 0.0999, 1)] == [
        "0.04%",
        "1.0%",
        "8.3%",
        "10%",
        "100%",
    ]


def test_numpy_net_has_the_gradient_of_finite_differences() -> None:
    nudge = 1e-6
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(40, 5)), generator.integers(0, 3, 40)
    net = NumpyNet((5, 7, 6, 3), seed=0, dtype=np.float64)
    rows = generator.permutation(40)[:11]
    net.loss_and_gradient(X, y, rows)
    expected, gradient = np.empty_like(net.gradient), net.gradient.copy()
    for i, value in enumerate(net.parameters.copy()):
        net.parameters[i] = value + nudge
        above = net.loss_and_gradient(X, y, rows)
        net.parameters[i] = value - nudge
        below = net.loss_and_gradient(X, y, rows)
        net.parameters[i] = value
        expected[i] = (above - below) / (2 * nudge)
    assert np.abs(gradient - expected).max() <= 1e-7 * np.abs(expected).max()


def test_numpy_net_has_the_adam_of_the_book() -> None:
    generator = np.random.default_rng(1)
    X, y = generator.integers(0, 256, (40, 5), np.uint8), generator.integers(0, 3, 40)
    net = NumpyNet((5, 7, 3), seed=0, input_scale=1 / 255, dtype=np.float64)
    expected = net.parameters.copy()
    first = second = np.zeros_like(expected)
    for t in range(1, 251):
        rows = generator.permutation(40)[: 10 + t % 2]
        net.loss_and_gradient(X, y, rows)
        first = BETA_1 * first + (1 - BETA_1) * net.gradient
        second = BETA_2 * second + (1 - BETA_2) * net.gradient**2
        corrected = first / (1 - BETA_1**t), second / (1 - BETA_2**t)
        expected -= net.learning_rate * corrected[0] / (np.sqrt(corrected[1]) + EPSILON)
        net.step(X, y, rows)
    assert np.abs(net.parameters - expected).max() <= 1e-12 * np.abs(expected).max()
