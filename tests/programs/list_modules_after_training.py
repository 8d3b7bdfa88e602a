"""Trains where there is no terminal; prints the names of all imported modules as JSON."""

import json
import sys

import numpy as np

import culpa

culpa.Sequential([culpa.Dense(1)], loss="mse").fit(np.ones((5, 2)), np.ones(5))
print(json.dumps(sorted(sys.modules)))
