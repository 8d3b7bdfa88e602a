"""A finder that stands before culpa's imports threadpoolctl, and a call of culpa looks again.

Prints JSON: how often threadpoolctl knows culpa before the call, and culpa's threads under a
limit of 1 after it.
"""

import json
import sys

import culpa

sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != "culpa.machine.thread_limits"]
import threadpoolctl  # noqa: E402

known = [info["user_api"] for info in threadpoolctl.threadpool_info()]
model = culpa.Sequential([culpa.Dense(1)], loss="mse", input_size=1)
model.predict([[0.0]])
with threadpoolctl.threadpool_limits(1):
    print(json.dumps([known.count("culpa"), culpa.get_num_threads()]))
