"""Four threads train on one CPU; prints the weights as train_to_the_bit.py does.

usage: train_on_one_cpu.py chosen|rows|columns: what the threads share
"""

import json
import os
import sys

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the libraries count the CPUs
import culpa  # noqa: E402
from train_to_the_bit import train  # noqa: E402

assert culpa.get_num_threads() == 4
if sys.argv[1] != "chosen":
    culpa._core.force_plan(4, sys.argv[1])
print(json.dumps(train()))
