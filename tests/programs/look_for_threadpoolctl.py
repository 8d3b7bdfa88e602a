"""threadpoolctl is looked for, then imported, after culpa.

Prints JSON: how often it knows culpa, how many finders went away with its import, and whether its
loader gives its source.
"""

import importlib.util
import json
import sys

import culpa  # noqa: F401

before = len(sys.meta_path)
assert "threadpoolctl" not in sys.modules
spec = importlib.util.find_spec("threadpoolctl")  # looks and does not import
assert "threadpoolctl" not in sys.modules
import threadpoolctl  # noqa: E402

names = [info["user_api"] for info in threadpoolctl.threadpool_info()]
source = threadpoolctl.__loader__.get_source("threadpoolctl") is not None
print(json.dumps([names.count("culpa"), before - len(sys.meta_path), source]))
