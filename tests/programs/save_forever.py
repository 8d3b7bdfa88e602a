"""Two models are saved in turns to one path, and each save is told.

usage: save_forever.py PATH; prints "begun" after the first, then numbers
"""

import sys

import culpa

path = sys.argv[1]
models = [
    culpa.Sequential(
        [culpa.Dense(300), culpa.Dense(1)], loss="mse", input_size=3, seed=seed, dtype="float64"
    )
    for seed in range(2)
]
models[0].save(path)
print("begun", flush=True)
for i in range(10**9):
    models[i % 2].save(path)
    print(i, flush=True)
