"""How the interpreter ends, and which interpreters there are."""

import subprocess
import sys
import textwrap

import pytest

SETUP = """
import os, sys, threading, time
import numpy as np
import culpa

culpa.set_num_threads(int(sys.argv[1]))
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 64)), rng.integers(0, 10, 2000)
layers = [culpa.Dense(128, "relu"), culpa.Dense(10)]
model = culpa.Sequential(layers, loss="cross_entropy", input_size=64)
model.fit(X[:10], y[:10], epochs=1, verbose=False)
ready = threading.Event()

def call():
    {call}

def work():
    call()
    ready.set()
    while True:
        call()

threading.Thread(target=work, daemon=True).start()
assert ready.wait(100)
time.sleep(0.02)
"""
LONG = "model.fit(X, y, epochs=10**6, callbacks=lambda training: ready.set(), verbose=False)"
CALLS = {
    "fit": LONG,
    "fit_many": "culpa.fit_many([model, model.copy()], X, y, epochs=10**6, "
    "callbacks=lambda training: ready.set())",
    "predict": "model.predict(X)",
    "one row": "model.predict(X[:1])",
    "evaluate": "model.evaluate(X, y)",
    "blame": "model.blame(X, y)",
    "attribute": "model.attribute(X)",
    "influence": "model.influence(X, y, X, y, top=3)",
    "draws": "culpa._core.permutation(300_000, 0, 0, 0)",
    "find_not_finite": "culpa._core.find_not_finite(X, 'float32')",
}


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_thread_inside_the_core_does_not_spoil_the_exit(call: str, threads: str) -> None:
    ran = run(SETUP.format(call=CALLS[call]), threads)
    assert ran.returncode == 0, (ran.returncode, ran.stderr)


IN_A_SUBINTERPRETER = """
import sys
sys.path[0:0] = PATH
try:
    import culpa
except ImportError as error:
    assert "main interpreter" in str(error), error
else:
    raise AssertionError("imported")
"""


@pytest.mark.parametrize("first", ["main", "sub"])
def test_a_subinterpreter_gets_an_import_error(first: str) -> None:
    code = """
        import sys
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        if sys.argv[1] == "main":
            import culpa
        other = interpreters.create()
        failure = interpreters.run_string(other, sys.argv[2].replace("PATH", repr(sys.path)))
        assert failure is None, failure
        import culpa
        print(culpa.__version__)
    """
    ran = run(code, first, IN_A_SUBINTERPRETER)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
