"""How many threads: affinity, container quotas, variables, and peace with other libraries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import culpa
import helpers
from culpa.machine import threads

# What would decide, were it inherited by a program.
UNSET: dict[str, str | None] = {"CULPA_NUM_THREADS": None, "OMP_NUM_THREADS": None}


def last_json_of(program: str, *arguments: object, timeout: float = 240, **environment: str) -> Any:
    """What a program prints last, without the variables of this process."""
    variables = {**UNSET, **environment}
    return helpers.last_json_of(program, *arguments, timeout=timeout, **variables)


# The default


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend to have so many usable CPUs and such a container limit."""

    def pretend(cpus: int, limit: int | None = None) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)), raising=False)
        monkeypatch.setattr(threads, "cgroup_limit", lambda: limit)

    return pretend


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 6),
        ({"CULPA_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"CULPA_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": " 4 , 2 "}, 4),
        ({"CULPA_NUM_THREADS": " 5 "}, 5),
        ({"CULPA_NUM_THREADS": "12"}, 12),  # more than there are: as asked
        ({"CULPA_NUM_THREADS": "1024"}, 1024),
        # What is no count is passed over.
        ({"CULPA_NUM_THREADS": ""}, 6),
        ({"CULPA_NUM_THREADS": "0"}, 6),
        ({"CULPA_NUM_THREADS": "-1"}, 6),
        ({"CULPA_NUM_THREADS": "+3"}, 6),
        ({"CULPA_NUM_THREADS": "2.5"}, 6),
        ({"CULPA_NUM_THREADS": "all"}, 6),
        ({"CULPA_NUM_THREADS": "1025"}, 6),
        ({"CULPA_NUM_THREADS": "99999999999999999999"}, 6),
        ({"CULPA_NUM_THREADS": "9" * 5000}, 6),
        ({"CULPA_NUM_THREADS": "²"}, 6),
        ({"CULPA_NUM_THREADS": "٣"}, 6),
        ({"CULPA_NUM_THREADS": "x", "OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": ",2"}, 6),
    ],
)
def test_variables_override_the_machine(
    environment: dict[str, str], expected: int, machine: Any
) -> None:
    machine(6)
    assert threads.default_threads(environment) == expected


@pytest.mark.parametrize(
    ("cpus", "limit", "expected"),
    [(1, None, 1), (8, None, 8), (8, 3, 3), (2, 16, 2), (8, 1, 1), (5000, None, 1024)],
)
def test_the_default_is_the_lesser_of_affinity_and_quota(
    cpus: int, limit: int | None, expected: int, machine: Any
) -> None:
    machine(cpus, limit)
    assert threads.default_threads({}) == expected


@pytest.mark.parametrize(("count", "expected"), [(4, 4), (None, 1)])
def test_without_an_affinity_the_number_of_cpus_counts(
    count: int | None, expected: int, monkeypatch: pytest.MonkeyPatch, machine: Any
) -> None:
    machine(1)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: count)
    assert threads.default_threads({}) == expected


@given(st.dictionaries(st.sampled_from(["CULPA_NUM_THREADS", "OMP_NUM_THREADS"]), st.text()))
def test_no_variable_makes_the_default_fail(environment: dict[str, str]) -> None:
    assert 1 <= threads.default_threads(environment) <= 1024


# Quotas, on fake trees. Files by name, and the limit that they make.


def v2(quota: str) -> dict[str, str]:
    return {"cpu.max": quota}


def v1(quota: str, period: str = "100000\n") -> dict[str, str]:
    return {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}


TREES: dict[str, tuple[str, dict[str, dict[str, str]], int | None]] = {
    # /proc/self/cgroup, folder: its files, the limit
    "v2, two CPUs": ("0::/\n", {"": v2("200000 100000\n")}, 2),
    "v2, half a CPU": ("0::/\n", {"": v2("50000 100000\n")}, 1),
    "v2, one and a half": ("0::/\n", {"": v2("150000 100000\n")}, 2),
    "v2, just above two": ("0::/\n", {"": v2("200001 100000\n")}, 3),
    "v2, another period": ("0::/\n", {"": v2("30000 10000\n")}, 3),
    "v2, no limit": ("0::/\n", {"": v2("max 100000\n")}, None),
    "v2, no file": ("0::/\n", {}, None),
    "v2, own group": ("0::/a/b\n", {"a/b": v2("300000 100000\n")}, 3),
    "v2, tighter above": (
        "0::/a/b\n",
        {"a/b": v2("800000 100000\n"), "a": v2("200000 100000\n"), "": v2("max 100000\n")},
        2,
    ),
    "v2, tighter below": (
        "0::/a/b\n",
        {"a/b": v2("100000 100000\n"), "a": v2("400000 100000\n")},
        1,
    ),
    "v2, no limit below": ("0::/a/b\n", {"a/b": v2("max 100000\n"), "a": v2("500000 100000\n")}, 5),
    "v2, group seen from outside": ("0::/docker/1f\n", {"": v2("400000 100000\n")}, 4),
    "v2, group above the root": ("0::/../../a\n", {"a": v2("200000 100000\n")}, 2),
    "v1, three CPUs": ("4:cpu,cpuacct:/\n", {"cpu": v1("300000\n")}, 3),
    "v1, the other order": ("4:cpuacct,cpu:/\n", {"cpu": v1("300000\n")}, 3),
    "v1, alone": ("4:cpu:/\n", {"cpu": v1("150000\n")}, 2),
    "v1, no limit": ("4:cpu,cpuacct:/\n", {"cpu": v1("-1\n")}, None),
    "v1, nested": (
        "4:cpu,cpuacct:/a/b\n",
        {"cpu/a/b": v1("-1\n"), "cpu/a": v1("200000\n"), "cpu": v1("900000\n")},
        2,
    ),
    "v1, other controllers": (
        "9:cpuset:/\n8:memory:/a\n",
        {"cpu": v1("100000\n"), "": v2("100000 100000\n")},
        None,
    ),
    "both, the tighter counts": (
        "4:cpu,cpuacct:/a\n0::/a\n",
        {"cpu/a": v1("300000\n"), "a": v2("200000 100000\n")},
        2,
    ),
    "a colon in a name": ("0::/a:b\n", {"a:b": v2("200000 100000\n")}, 2),
    "malformed: no group": ("\n\ngarbage\n1\n::\n", {"": v2("max")}, None),
    "malformed: empty": ("0::/\n", {"": v2("")}, None),
    "malformed: no period": ("0::/\n", {"": v2("200000\n")}, None),
    "malformed: period zero": ("0::/\n", {"": v2("200000 0\n")}, None),
    "malformed: quota zero": ("0::/\n", {"": v2("0 100000\n")}, 1),
    "malformed: text": ("0::/\n", {"": v2("two cpus\n")}, None),
    "malformed: negative": ("0::/\n", {"": v2("-200000 100000\n")}, None),
    "malformed: no number of ours": ("0::/\n", {"": v2("² ²\n")}, None),
    "malformed: 5000 digits": ("0::/\n", {"": v2("9" * 5000 + " 100000\n")}, None),
    "malformed: v1 without a period": ("4:cpu:/\n", {"cpu": {"cpu.cfs_quota_us": "5"}}, None),
    "malformed: v1 text": ("4:cpu:/\n", {"cpu": v1("many\n")}, None),
}


@pytest.mark.parametrize("which", TREES)
def test_quotas_are_read_from_every_level(which: str, tmp_path: Path) -> None:
    groups, folders, expected = TREES[which]
    (tmp_path / "groups").write_text(groups, encoding="utf-8")
    for folder, files in folders.items():
        (tmp_path / "root" / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (tmp_path / "root" / folder / name).write_text(content, encoding="utf-8")
    assert threads.cgroup_limit(tmp_path / "groups", tmp_path / "root") == expected


def test_a_machine_without_groups_has_no_quota(tmp_path: Path) -> None:
    assert threads.cgroup_limit(tmp_path / "none", tmp_path / "nowhere") is None
    assert threads.cgroup_limit(tmp_path, tmp_path) is None  # a folder where a file should be


def test_files_that_are_not_text_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "groups").write_bytes(b"0::/\n")
    (tmp_path / "cpu.max").write_bytes(b"\xff\xfe\x00 100000")
    assert threads.cgroup_limit(tmp_path / "groups", tmp_path) is None
    (tmp_path / "groups").write_bytes(b"\xff\xfe0::/\n")
    assert threads.cgroup_limit(tmp_path / "groups", tmp_path) is None


def test_a_group_never_leads_out_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "groups").write_text("0::/../outside\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "cpu.max").write_text("100000 100000\n")
    assert threads.cgroup_limit(tmp_path / "groups", tmp_path / "root") is None


@given(groups=st.text(max_size=60), quota=st.text(max_size=30))
def test_whatever_the_files_hold_there_is_an_answer(
    groups: str, quota: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name, content in (("groups", groups), ("cpu.max", quota)):
        (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    limit = threads.cgroup_limit(folder / "groups", folder)
    assert limit is None or limit >= 1


# Asking for a number


def test_set_num_threads_sets_it() -> None:
    before = culpa.get_num_threads()
    try:
        for count in (1, 3, np.int64(2), 1024):
            culpa.set_num_threads(count)
            assert culpa.get_num_threads() == count
    finally:
        culpa.set_num_threads(before)


@pytest.mark.parametrize(
    ("bad", "kind", "says"),
    [
        (0, ValueError, "got 0"),
        (-1, ValueError, "got -1"),
        (1025, ValueError, "at most 1024 threads, got 1025"),
        (2**64, ValueError, f"got {2**64}"),
        (2.0, TypeError, "got 2.0"),
        (True, TypeError, "got True"),
        ("2", TypeError, "got '2'"),
        (None, TypeError, "got None"),
    ],
)
def test_set_num_threads_refuses_what_is_no_count(
    bad: Any, kind: type[Exception], says: str
) -> None:
    before = culpa.get_num_threads()
    with pytest.raises(kind) as caught:
        culpa.set_num_threads(bad)
    assert str(caught.value).startswith("count: expected")
    assert says in str(caught.value)
    assert culpa.get_num_threads() == before


COUNT = "import culpa, json; print(json.dumps(culpa.get_num_threads()))"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CULPA_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"CULPA_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
    ],
)
def test_importing_culpa_honours_the_variables(environment: dict[str, str], expected: int) -> None:
    assert helpers.last_json(COUNT, **{**UNSET, **environment}) == expected


def test_importing_culpa_without_variables_takes_the_default() -> None:
    assert helpers.last_json(COUNT, **UNSET) == threads.default_threads({})


# Training with them


@pytest.fixture(scope="module")
def alone() -> str:
    """What training gives in a process of its own."""
    return last_json_of("train_to_the_bit.py", CULPA_NUM_THREADS="2")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
@pytest.mark.parametrize("schedule", ["chosen", "rows", "columns"])
def test_four_threads_on_one_cpu_finish_with_the_same_bits(schedule: str, alone: str) -> None:
    program = "train_on_one_cpu.py"
    assert last_json_of(program, schedule, timeout=120, CULPA_NUM_THREADS="4") == alone


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_pinned_to_one_cpu_begins_with_one_thread() -> None:
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert helpers.last_json(pin + COUNT, **UNSET) == 1


OTHERS = ["torch", "sklearn", "lightgbm"]


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("library", OTHERS)
def test_training_shares_a_process_with_other_libraries(
    library: str, order: str, alone: str
) -> None:
    pytest.importorskip(library)
    program = "train_beside_a_library.py"
    assert last_json_of(program, library, order, CULPA_NUM_THREADS="2") == [alone, alone]
