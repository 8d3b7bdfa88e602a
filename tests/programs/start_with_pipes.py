"""Becomes a browser, which reads commands from descriptor 3 and answers on 4.

usage: start_with_pipes.py READ WRITE PROGRAM ARGUMENT...; the first two are descriptors
"""

import fcntl
import os
import sys

# First out of the way with both: either may be 3 or 4 itself.
pair = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1:3]]
os.dup2(pair[0], 3)
os.dup2(pair[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
