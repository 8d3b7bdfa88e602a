"""How the interpreter ends, and which interpreters there are."""

import pytest

import helpers

CALLS = [
    "fit",
    "fit_many",
    "predict",
    "one row",
    "evaluate",
    "blame",
    "attribute",
    "influence",
    "draws",
    "find_not_finite",
]


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_thread_inside_the_core_does_not_spoil_the_exit(call: str, threads: str) -> None:
    ran = helpers.run_program("exit_inside_the_core.py", call, threads, timeout=200)
    assert ran.returncode == 0, (ran.returncode, ran.stderr)


@pytest.mark.parametrize("first", ["main", "sub"])
def test_a_subinterpreter_gets_an_import_error(first: str) -> None:
    ran = helpers.run_program("import_in_a_subinterpreter.py", first, timeout=200)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
