"""A process is killed while it writes a file, or goes on when it reads a line.

usage: stop_while_writing.py PATH die|wait
"""

import os
import sys
from pathlib import Path

from culpa.data import files as writing

path, action = sys.argv[1:]
with writing.replacing(Path(path)) as file:
    if action == "die":
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), 9)
    file.write(b"whole")
    print("writing", flush=True)
    sys.stdin.readline()
