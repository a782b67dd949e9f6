"""How long fitting and sampling take, beside SMOTE on the same data in the same run.

    python benchmarks/speed.py [--repeats 3] [--out benchmarks/speed.json]

Data: tables of given sizes drawn with replacement from scikit-learn's breast-cancer set (30 numeric columns), with a
twentieth of the rows in the rare class; and the digits (8 x 8). Prints one line per case: the median of the repeats.
"""

import argparse
import json
import platform
import time

import numpy as np
import torch
from imblearn.over_sampling import SMOTE
from sklearn.datasets import load_breast_cancer, load_digits

from augment_gen import ConditionalVAE


def table(n_rows, seed=0):
    X, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(seed)
    rare = rng.choice(np.flatnonzero(y == 0), n_rows // 20)
    rows = np.concatenate([rare, rng.choice(np.flatnonzero(y == 1), n_rows - len(rare))])
    return X[rows] * (1 + 0.01 * rng.standard_normal((n_rows, X.shape[1]))), y[rows]


def images():
    digits = load_digits()
    keep = np.concatenate([np.flatnonzero(digits.target == k)[: 10 if k == 3 else 200] for k in range(10)])
    return digits.images[keep].astype(np.uint8), digits.target[keep]


def seconds(work, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), float(min(times)), float(max(times))


def cases(repeats):
    for n_rows in (500, 2000, 10_000):
        X, y = table(n_rows)
        gen = ConditionalVAE(random_state=0)
        yield f"table {n_rows} x 30, fit", seconds(lambda gen=gen, X=X, y=y: gen.fit(X, y), repeats)
        yield f"table {n_rows} x 30, sample 10,000 of the rare class", seconds(lambda gen=gen: gen.sample(10_000, y=0), repeats)
        yield f"table {n_rows} x 30, SMOTE", seconds(lambda X=X, y=y: SMOTE(random_state=0).fit_resample(X, y), repeats)
    X, y = images()
    gen = ConditionalVAE(random_state=0)
    yield f"digits {len(X)}, fit", seconds(lambda: gen.fit(X, y), repeats)
    yield "digits, sample 1,000 of a class of 10", seconds(lambda: gen.sample(1000, y=3), repeats)


def main(repeats, out):
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(machine)
    results = {}
    for name, (median, low, high) in cases(repeats):
        results[name] = {"median_s": median, "min_s": low, "max_s": high}
        print(f"{name:55s} {median:8.2f} s  ({low:.2f} to {high:.2f})", flush=True)
    if out:
        with open(out, "w") as file:
            json.dump({"machine": machine, "repeats": repeats, "results": results}, file, indent=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", default=None)
    arguments = parser.parse_args()
    main(arguments.repeats, arguments.out)
