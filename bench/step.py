"""Measures the time of a training step: culpa beside its peers, on five networks.

The same as ``culpa bench``, whose table lives in the package (``culpa.bench``), with its options:

    python bench/step.py [--threads 1] [--workload tiny] [--rounds 15] [--seconds 0.2]
        [--peer numpy] [--json PATH]
"""

import typer

from culpa.cli import bench

if __name__ == "__main__":
    typer.run(bench)
