"""`culpa bench` says what each side got of the CPUs, and whom a busy neighbour disturbed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
from culpa.bench import cpu_use, table
from culpa.bench.cpu_use import Look, Use
from culpa.bench.measure import Result, Row
from culpa.bench.workloads import WORKLOADS

QUIET, DISTURBED = Use(1.0, 1.9, 0.1, {0: 1.0, 1: 0.9}), Use(1.0, 1.0, 0.9, {1: 1.0})


@pytest.mark.parametrize(
    ("uses", "share", "disturbed"),
    [
        ([QUIET], 0.95, False),
        ([Use(1.0, 0.8, 0.2)], 0.8, False),
        ([Use(1.0, 0.79, 0.21)], 0.79, True),
        ([Use(1.0, 0.5, 0.0)], 1.0, False),  # slept half of the time: as it wanted
        ([Use(1.0, 1.0, 0.0), Use(1.0, 0.5, 0.5)], 0.75, True),
        ([DISTURBED, *[QUIET] * 14], (1.0 + 14 * 1.9) / (1.9 + 28), False),  # one round of many
        ([Use(1.0, 0.5, None)], None, False),  # a system that does not tell
        ([Use(1.0, 0.5, 0.5), Use(1.0, 0.5, None)], None, False),
        ([Use(1.0, 0.0, 0.0)], None, False),
        ([], None, False),
    ],
)
def test_a_side_is_disturbed_below_four_fifths_of_what_it_asked_for(
    uses: list[Use], share: float | None, disturbed: bool
) -> None:
    assert cpu_use.share(uses) == (None if share is None else pytest.approx(share))
    assert cpu_use.was_disturbed(uses) == disturbed


def test_cpus_are_those_that_took_a_hundredth_of_the_time() -> None:
    assert cpu_use.busy_cpus([QUIET, DISTURBED]) == [0, 1]
    assert cpu_use.busy_cpus([Use(1.0, 1.0, 0.0, {3: 0.995, 2: 0.005}), DISTURBED]) == [1, 3]
    assert cpu_use.busy_cpus([Use(1.0, 1.0)]) == []


def task(folder: Path, name: str, ran: int, waited: int, cpu: int) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "schedstat").write_text(f"{ran} {waited} 17\n")
    fields = ["S", *["0"] * 35, str(cpu), *["0"] * 13]
    (folder / name / "stat").write_text(f"{name} (a ) name (x) {' '.join(fields)}\n")


def test_what_threads_ran_and_waited_is_read_from_the_kernel(tmp_path: Path) -> None:
    task(tmp_path, "7", 10_000_000_000, 1_000_000_000, cpu=4)
    task(tmp_path, "8", 5_000_000_000, 0, cpu=5)
    before = Look.now(tmp_path)
    task(tmp_path, "7", 11_500_000_000, 1_250_000_000, cpu=6)
    task(tmp_path, "9", 250_000_000, 500_000_000, cpu=5)  # begun since; 8 slept
    use = Look.now(tmp_path) - before
    assert (use.ran, use.waited) == (1.75, 0.75)
    assert use.cpus == {6: 1.5, 5: 0.25}
    assert 0 < use.wall < 60


@pytest.mark.parametrize("content", ["", "1 2", "a b c", "0 0 0 0"])
def test_threads_that_end_and_kernels_that_do_not_count_are_passed_over(
    content: str, tmp_path: Path
) -> None:
    task(tmp_path, "7", 1, 1, cpu=0)
    (tmp_path / "7" / "schedstat").write_text(content)
    (tmp_path / "8").mkdir()
    before = Look.now(tmp_path)
    use = Look.now(tmp_path) - before
    assert use.waited is None
    assert use.ran >= 0
    assert Look.now(tmp_path / "nowhere").threads == {}


counted = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(),
    reason="this system does not count what threads wait for",
)


@counted
def test_work_is_counted_on_the_cpu_that_did_it() -> None:
    before = Look.now()
    while Look.now().process - before.process < 0.05:
        pass
    use = Look.now() - before
    assert use.ran >= 0.04
    assert use.waited is not None
    assert use.waited >= 0
    assert set(cpu_use.busy_cpus([use])) <= set(range(os.cpu_count() or 1))


def result(*rows: Row) -> Result:
    return Result(WORKLOADS["tiny"], list(rows), [1e11] * 2)


def test_the_table_flags_what_was_disturbed_and_says_by_how_much(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = Row("Culpa", [1.0], 0.0, 10, [1e-5, 1e-5], [QUIET, QUIET])
    other = Row("PyTorch", [1.0], 0.0, 10, [5e-4, 6e-4], [DISTURBED, DISTURBED])
    table.print_result(table.make_console(), result(ours, other))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].rstrip().endswith("1.90")
    assert lines[2].rstrip().endswith("1.00 !")
    assert all(len(line) <= table.LEAST_WIDTH for line in lines)
    where, flagged = table.cpu_lines([result(ours, other)])
    assert where == "CPUs: CPU time over wall time, the median; Culpa on 0 1, PyTorch on 1."
    assert flagged.startswith("! got less than 0.8 of the CPU time that it asked for (PyTorch on ")
    assert "(PyTorch on tiny 0.53)" in flagged
    assert "measure again on a quiet machine" in flagged
    assert flagged in table.footnotes([result(ours, other)])


def test_a_quiet_run_is_not_flagged() -> None:
    ours = Row("Culpa", [1.0], 0.0, 10, [1e-5], [QUIET])
    assert len(table.cpu_lines([result(ours)])) == 1
    unknown = Row("Culpa", [1.0], 0.0, 10, [1e-5], [Use(2.0, 1.0)])
    assert table.cpu_lines([result(unknown)]) == ["CPUs: CPU time over wall time, the median."]
    assert result(unknown).to_json()["sides"]["Culpa"]["share_of_cpu_time_asked_for"] is None


def test_json_holds_the_cpus_of_every_round() -> None:
    ours = Row("Culpa", [1.0], 0.0, 10, [1e-5] * 2, [QUIET, DISTURBED])
    side = result(ours).to_json()["sides"]["Culpa"]
    assert side["cpus_per_round"] == [1.9, 1.0]
    assert side["on_cpus"] == [0, 1]
    assert side["share_of_cpu_time_asked_for"] == pytest.approx(2.9 / 3.9)


@counted
def test_a_neighbour_on_the_same_cpu_is_noticed() -> None:
    share, disturbed = helpers.last_json_of("work_beside_a_neighbour.py")
    assert share < 0.75
    assert disturbed


def test_bench_shows_the_cpus() -> None:
    options = "--workload tiny --peer numpy --rounds 1 --seconds 0.001"
    ran = subprocess.run(
        [sys.executable, "-m", "culpa.cli", "bench", *options.split()],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"quartiles +CPUs", ran.stdout)
    assert "CPUs: CPU time over wall time" in ran.stdout
