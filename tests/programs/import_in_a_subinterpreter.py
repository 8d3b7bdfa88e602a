"""A subinterpreter is refused, and the main interpreter imports culpa before or after that.

usage: import_in_a_subinterpreter.py main|sub: which of them is first; prints the version
"""

import sys

try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters

if sys.argv[1] == "main":
    import culpa
other = interpreters.create()
code = f"import sys; sys.path[0:0] = {sys.path!r}; import expect_a_refused_import"
failure = interpreters.run_string(other, code)
assert failure is None, failure
import culpa  # noqa: E402

print(culpa.__version__)
