"""A second of work on a CPU that another process wants, too.

Prints JSON: the share of the CPU time asked for, and whether the work counts as disturbed.
"""

import json
import os

from culpa.bench import cpu_use
from culpa.bench.cpu_use import Look

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
child = os.fork()
if child == 0:
    while True:
        pass
try:
    before = Look.now()
    while Look.now().wall - before.wall < 1.0:
        pass
    use = Look.now() - before
finally:
    os.kill(child, 9)
    os.waitpid(child, 0)
print(json.dumps([cpu_use.share([use]), cpu_use.was_disturbed([use])]))
