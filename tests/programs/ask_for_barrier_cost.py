"""Plants a measured cost of the barrier and asks for it, so many times; prints lists as JSON.

usage: ask_for_barrier_cost.py THREADS SECONDS ROUNDS ASKS
"""

import json
import sys

from culpa import _core

threads, seconds, rounds, asks = map(float, sys.argv[1:])
answers = []
for _ in range(int(rounds)):
    _core.set_barrier_seconds(int(threads), seconds)
    answers.append([_core.barrier_seconds(int(threads)) for _ in range(int(asks))])
print(json.dumps(answers))
