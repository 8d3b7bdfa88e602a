"""The bits of the scalar functions and of what depends on them; prints hashes as JSON."""

import hashlib
import json

import numpy as np

import culpa
from culpa import _core

x = np.arange(1, 20_001) / 20_000
answers = [_core.natural_log(x), _core.natural_log_1p(-x[:-1]), _core.exponential(x * 40 - 20)]
answers += [_core.power(0.999, x * 1e5), _core.cosine_of_turns(x)]
answers += [
    _core.draw_numbers("normal", 10_000, 7, 1, 2),
    *_core.poisson_batches(5_000, 0.02, 3, 0, 20),
]
schedules = culpa.Cosine(warmup=0.1), culpa.OneCycle(), culpa.ExponentialDecay(0.97)
for schedule in (*schedules, culpa.StepDecay(2, 0.3)):
    answers.append(schedule.factors(np.arange(999.0), 999, np.arange(999) / 70))
print(json.dumps([hashlib.sha256(answer.tobytes()).hexdigest() for answer in answers]))
