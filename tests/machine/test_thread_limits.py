"""threadpoolctl's limits reach the team: both orders of import, nesting, threads, workers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import culpa
import helpers
from culpa import _core
from culpa.machine import thread_limits
from culpa.machine.config import config
from culpa.machine.threads import own_threads

threadpoolctl = pytest.importorskip("threadpoolctl")
threadpool_limits = threadpoolctl.threadpool_limits


@pytest.fixture(autouse=True)
def five_threads() -> Iterator[None]:
    before = culpa.get_num_threads()
    culpa.set_num_threads(5)
    yield
    culpa.set_num_threads(before)


def ours() -> list[dict[str, Any]]:
    return [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "culpa"]


def test_threadpool_info_lists_culpa_once() -> None:
    pytest.importorskip("scipy.optimize")  # loads a library of the name _core, too
    (info,) = ours()
    assert info["num_threads"] == 5
    assert info["internal_api"] == "culpa"
    assert info["filepath"].endswith(_core.__file__.rpartition("culpa")[2])
    assert info["version"] == culpa.__version__
    with threadpool_limits(3):
        assert ours()[0]["num_threads"] == 3


@pytest.mark.parametrize(
    "limits",
    [
        {"limits": 2},
        {"limits": {"culpa": 2}},
        {"limits": 2, "user_api": "culpa"},
        {"limits": {"culpa": 2, "blas": 1}},
    ],
    ids=str,
)
def test_a_limit_holds_inside_and_is_lifted_after(limits: dict[str, Any]) -> None:
    with threadpool_limits(**limits):
        assert culpa.get_num_threads() == 2
        assert config()["threads"] == "2"
    assert culpa.get_num_threads() == 5
    culpa.set_num_threads(4)  # and nothing of it is left
    assert culpa.get_num_threads() == 4


def test_limits_of_other_libraries_leave_culpa_alone() -> None:
    with threadpool_limits(1, user_api="blas"):
        assert culpa.get_num_threads() == 5
    with threadpool_limits({"openmp": 1}):
        assert culpa.get_num_threads() == 5
    assert culpa.get_num_threads() == 5


def test_nested_limits_are_restored_one_by_one() -> None:
    with threadpool_limits(3):
        with threadpool_limits(1):
            with threadpool_limits(5):  # what all threads have
                assert culpa.get_num_threads() == 5
            assert culpa.get_num_threads() == 1
        assert culpa.get_num_threads() == 3
    assert culpa.get_num_threads() == 5


def test_limits_are_lifted_by_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), threadpool_limits(2):
        1 / 0  # noqa: B018
    assert culpa.get_num_threads() == 5


def test_a_controllers_limits_and_decorators_hold() -> None:
    controller = threadpoolctl.ThreadpoolController()
    with controller.limit(limits=2, user_api="culpa"):
        assert culpa.get_num_threads() == 2

    @controller.wrap(limits=1)
    def count() -> int:
        return culpa.get_num_threads()

    assert (count(), culpa.get_num_threads()) == (1, 5)
    with threadpool_limits(limits=[{**ours()[0], "num_threads": 4}]):  # as threadpool_info gives
        assert culpa.get_num_threads() == 4


@pytest.mark.parametrize(("limit", "holds"), [(0, 1), (-3, 1), (10**6, 1024), (8, 8)])
def test_a_limit_is_a_count_that_culpa_can_use(limit: int, holds: int) -> None:
    with threadpool_limits(limit):
        assert culpa.get_num_threads() == holds
    assert culpa.get_num_threads() == 5


def test_what_is_said_last_holds() -> None:
    with threadpool_limits(2):
        culpa.set_num_threads(3)
        assert culpa.get_num_threads() == 3
        with threadpool_limits(1):
            assert culpa.get_num_threads() == 1
        assert culpa.get_num_threads() == 3
    culpa.set_num_threads(4)
    assert culpa.get_num_threads() == 4


def test_limits_of_threads_side_by_side_do_not_mix() -> None:
    # A's ends while B's holds: with one count for all, B's end would set A's limit for ever.
    inside, left = threading.Event(), threading.Event()
    seen: list[int] = []

    def other() -> None:
        assert inside.wait(60)
        with threadpool_limits(2):
            seen.append(culpa.get_num_threads())
            left.set()
            assert over.wait(60)
        seen.append(culpa.get_num_threads())

    over = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    with threadpool_limits(1):
        inside.set()
        assert left.wait(60)
        assert culpa.get_num_threads() == 1
    over.set()
    thread.join()
    assert seen == [2, 5]
    assert culpa.get_num_threads() == 5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
@pytest.mark.parametrize(
    "imports",
    [
        ["culpa", "threadpoolctl"],
        ["threadpoolctl", "culpa"],
        ["culpa", "sklearn.linear_model", "threadpoolctl"],
        ["culpa.sklearn", "culpa", "threadpoolctl"],
    ],
    ids=["culpa first", "culpa last", "by scikit-learn", "culpa.sklearn"],
)
def test_a_fit_under_a_limit_starts_no_threads_whatever_was_imported_first(
    imports: list[str],
) -> None:
    if any("sklearn" in name for name in imports):
        pytest.importorskip("sklearn")
    limited, free, same, after = helpers.last_json_of(
        "count_threads_under_a_limit.py", *imports, CULPA_NUM_THREADS="3"
    )
    assert limited == 0
    assert free == 2  # the team: limits are what kept it away
    assert same
    assert after == 3


def test_a_call_looks_again_for_what_was_imported_unseen() -> None:
    program = "import_threadpoolctl_unseen.py"
    assert helpers.last_json_of(program, CULPA_NUM_THREADS="3") == [0, 1]


def test_the_import_is_an_ordinary_one_and_the_watch_ends_with_it() -> None:
    assert helpers.last_json_of("look_for_threadpoolctl.py") == [1, 1, True]


def test_without_threadpoolctl_a_look_is_all_that_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "threadpoolctl")
    thread_limits.follow_threadpoolctl()
    assert "threadpoolctl" not in sys.modules


def test_a_release_that_takes_no_controllers_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_limits, "_followed", None)
    monkeypatch.delattr(threadpoolctl, "register")
    thread_limits.follow_threadpoolctl()
    assert thread_limits._followed is None


def test_an_estimators_own_count_goes_before_a_limit_and_leaves_it_as_it_was() -> None:
    with threadpool_limits(2):
        for count, holds in ((None, 2), (3, 3), (5, 5)):  # what MLPClassifier(n_threads=) asks for
            with own_threads(count):
                assert culpa.get_num_threads() == holds
            assert culpa.get_num_threads() == 2
    assert culpa.get_num_threads() == 5
