"""Do synthetic images help a CNN that already has random oversampling and classic augmentation?

    python benchmarks/images_help.py --harness PATH/images.py --arm warp=WarpVAE --arm elastic=ElasticWarp \
        --mix all --share 0.5 0.67 --data mnist pneumonia --seeds 0 1 2 3 4
    python benchmarks/images_help.py --summary

The harness gives the data, the CNN, its steps and the classic augmentation; nothing of it is changed. Every arm trains that
CNN with that augmentation on real images, repeated, and a share of synthetic ones (`mixed_plan`), with the same seed as the
baseline "ros+classic", which is the harness's own. An arm is NAME=Generator[:json parameters]; NAME=a+b is the union of
two arms, half of each. The share 0 is the plan without synthetic images. One JSON line per run in --out; finished ones are
skipped. --per-class N keeps at most N real images of each class.
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import augment_gen.generators as generators
from augment_gen.pipelines.mixing import mixed_plan

FEWEST = 300  # real images of every class, with repeats, so that few-shot sets leave room for different synthetic ones
POOL = 3500  # images drawn of each class at most; more are repeated


def load_harness(path):
    """The measurement harness, a script, as a module."""
    specification = importlib.util.spec_from_file_location("harness", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Pools:
    """Synthetic images of every class by arm: fitted and drawn once, and kept in a folder."""

    def __init__(self, harness, folder, arms):
        self.harness, self.folder, self.arms = harness, Path(folder), arms
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, d, name, n_each, key):
        """(list of uint8 arrays, one per class; what is known of the fit)."""
        if "+" in self.arms[name]:
            return self._union([self.get(d, part, n_each, key) for part in self.arms[name].split("+")], n_each)
        path = self.folder / f"{key}_{name}.npz"
        if path.exists():
            kept = np.load(path)
            if min(len(kept[f"class{k}"]) for k in range(d.K)) >= min(n_each, POOL):
                return [kept[f"class{k}"] for k in range(d.K)], json.loads(str(kept["fit"]))
        images, fit = self._draw(d, name, min(n_each, POOL))
        np.savez(path, fit=json.dumps(fit), **{f"class{k}": rows for k, rows in enumerate(images)})
        return images, fit

    def _draw(self, d, name, n_each):
        started = time.perf_counter()
        generator = make(self.arms[name], d.seed).fit(d.X, d.y)
        fit = {"fit_s": round(time.perf_counter() - started, 1)}
        report = generator.latent_report_
        for column in ("label_rejected_share", "near_share", "diversity"):
            if column in report:
                fit[column] = [round(float(value), 3) for value in report[column]]
        started = time.perf_counter()
        images = [generator.sample(n_each, y=k, random_state=k)[0] for k in range(d.K)]
        fit["sample_s"] = round(time.perf_counter() - started, 1)
        return images, fit

    def _union(self, parts, n_each):
        share = -(-min(n_each, POOL) // len(parts))
        images = [np.concatenate([part[0][k][:share] for part in parts]) for k in range(len(parts[0][0]))]
        return images, {"fit_s": sum(part[1]["fit_s"] for part in parts)}


def make(specification, seed):
    """A generator from ``Name:json``."""
    name, _, parameters = specification.partition(":")
    return getattr(generators, name)(random_state=seed, **(json.loads(parameters) if parameters else {}))


def mixed(d, images, mix, share, seed, count=False):
    """The training set of an arm: uint8 images and classes, real ones first; with `count` also how many are synthetic."""
    rng = np.random.default_rng(seed)
    rows, n_synthetic = mixed_plan(d.y, d.K, mix, share, rng, n_each=max(FEWEST, int(d.counts.max())))
    X, y = [d.X[rows]], [d.y[rows]]
    for k in np.flatnonzero(n_synthetic):
        pool = images[k]
        X.append(pool[rng.choice(len(pool), n_synthetic[k], replace=n_synthetic[k] > len(pool))])
        y.append(np.full(n_synthetic[k], k))
    X, y = np.concatenate(X), np.concatenate(y)
    return (X, y, int(n_synthetic.sum())) if count else (X, y)


def shrink(d, per_class, seed):
    """`d` with at most `per_class` training images of each class."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(d.y == k))[:per_class] for k in range(d.K)]
    rows = np.concatenate(rows)
    d.X, d.y = d.X[rows], d.y[rows]
    d.counts = np.bincount(d.y)
    return d


def evaluate(H, d, X, y, seed, steps):
    started = time.perf_counter()
    network = H.train(X, y, d.K, steps, seed, H.CLASSIC[d.name])
    return {**H.score(network, d), "n_train": len(y), "train_s": round(time.perf_counter() - started, 1)}


def fidelity(H, d, images, seed, steps, grid):
    """The harness's figures of realism, copies and CAS, of images that have been drawn already."""
    method = H.Method("none", d, "uint8")
    classes = np.repeat(range(d.K), [len(rows) for rows in images])
    method.steps, method.gen = steps, H.Pool(np.concatenate(images), classes, seed, False)
    return H.fidelity(method, d, seed, d.X, d.y, grid)


def run(H, a, pools, record):
    for name in a.data:
        for seed in a.seeds:
            d = None
            for entry in plan(a, name):
                if (*entry.values(), seed) in record.done:
                    continue
                d = d or H.Data(name, seed)
                if a.per_class and d.counts.max() > a.per_class:
                    d = shrink(d, a.per_class, seed)
                record.write({**entry, "seed": seed, **one(H, a, pools, d, entry, seed)})


def plan(a, name):
    """The runs wanted on a data set, each a dict that names it."""
    base = {"data": name, "per_class": a.per_class or 0, "rep": a.rep}
    if not a.fidelity:
        yield {**base, "arm": "ros+classic", "mix": "", "share": 0.0}
    for arm in a.arms:
        if a.fidelity:
            yield {**base, "arm": arm, "mix": "fidelity", "share": 1.0}
            continue
        for mix in a.mix:
            for share in a.share:
                yield {**base, "arm": arm if share else "repeats", "mix": mix if share else "all", "share": share}


def one(H, a, pools, d, entry, seed):
    steps, classifier_seed = a.steps or H.STEPS[d.name], seed + 1000 * entry["rep"]
    key = f"{d.name}_{entry['per_class']}_s{seed}"
    torch.manual_seed(seed)  # the harness draws from the global stream
    if entry["arm"] == "ros+classic":
        X, y = H.Method("ros+classic", d, "uint8").augment(d.X, d.y, classifier_seed)
        return evaluate(H, d, X, y, classifier_seed, steps)
    if not entry["share"]:
        return evaluate(H, d, *mixed(d, None, "all", 0, classifier_seed), classifier_seed, steps)
    most = max(FEWEST, int(d.counts.max()))
    n_each = max([most] + [round(most * share / (1 - share)) for share in a.share if share < 1])
    images, fit = pools.get(d, entry["arm"], n_each, key)
    if a.fidelity:
        Path(a.grids).mkdir(parents=True, exist_ok=True)
        found = fidelity(H, d, images, seed, steps, Path(a.grids) / f"{entry['arm']}_{d.name}_s{seed}.png")
        return {**fit, **{name: value for name, value in found.items() if not isinstance(value, list)}}
    X, y = mixed(d, images, entry["mix"], entry["share"], classifier_seed)
    return {**fit, **evaluate(H, d, X, y, classifier_seed, steps)}


class Record:
    """The JSON lines of --out."""

    NAMES = ("data", "per_class", "rep", "arm", "mix", "share", "seed")

    def __init__(self, path):
        self.path = Path(path)
        self.lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        self.done = {tuple(line[name] for name in self.NAMES) for line in self.lines}

    def write(self, line):
        line = {name: round(float(v), 5) if isinstance(v, (float, np.floating)) else v for name, v in line.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        self.done.add(tuple(line[name] for name in self.NAMES))
        shown = ("data", "seed", "way", "arm", "mix", "share", "bacc", "auc", "cas_bacc", "fit_s")
        print({k: line[k] for k in shown if k in line}, flush=True)


def summary(lines, baseline):
    """One line per arm: means over seeds, and paired differences to the baseline with their standard error."""
    frame = pd.DataFrame(lines)
    frame = frame[frame["mix"] != "fidelity"]
    index = ["data", "per_class", "rep", "seed"]
    base = frame[frame["arm"] == baseline].groupby(index)[["bacc", "auc", "minrec"]].mean().add_suffix("_base")
    paired = frame.join(base, on=index)
    for name in ("bacc", "auc", "minrec"):
        paired[f"d_{name}"] = paired[name] - paired[f"{name}_base"]
    by_seed = paired.groupby(["data", "per_class", "arm", "mix", "share", "seed"], sort=False)[
        ["bacc", "auc", "minrec", "d_bacc", "d_auc", "d_minrec"]
    ].mean()
    groups = by_seed.groupby(["data", "per_class", "arm", "mix", "share"], sort=False)
    table = groups.mean().assign(n=groups.size(), se_bacc=groups["d_bacc"].sem(), se_auc=groups["d_auc"].sem())
    return table[["n", "bacc", "d_bacc", "se_bacc", "auc", "d_auc", "se_auc", "minrec", "d_minrec"]].round(4)


def realism(lines):
    frame = pd.DataFrame(lines)
    frame = frame[frame["mix"] == "fidelity"]
    if not len(frame):
        return ""
    names = ["consistency", "consistency_rare", "fd_cls", "kid_cls", "cas_bacc", "coverage_cls", "memo_pixel", "memo_feature"]
    return frame.groupby(["data", "per_class", "arm"], sort=False)[[*names, "fit_s"]].mean().round(3)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", help="path of the measurement script images.py")
    parser.add_argument("--data", nargs="+", default=["mnist", "pneumonia"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--rep", type=int, default=0, help="another seed of the CNN for the same seed of the data")
    parser.add_argument("--arm", action="append", default=[], metavar="NAME=GENERATOR")
    parser.add_argument("--mix", nargs="+", default=["all"])
    parser.add_argument("--share", nargs="+", type=float, default=[0.5])
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--fidelity", action="store_true", help="realism, copies and CAS instead of the paired test")
    parser.add_argument("--pools", default="pools", help="folder for the synthetic images")
    parser.add_argument("--grids", default="grids")
    parser.add_argument("--out", default="images_help.jsonl")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", action="store_true")
    a = parser.parse_args()
    a.arms = dict(arm.split("=", 1) for arm in a.arm)
    return a


def main():
    a = arguments()
    record = Record(a.out)
    if not a.summary:
        if not a.harness:
            sys.exit("Give --harness, the path of the measurement script images.py.")
        torch.set_num_threads(a.threads)
        H = load_harness(a.harness)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(H, a, Pools(H, a.pools, a.arms), record)
    if record.lines:
        print(summary(record.lines, "ros+classic").to_string(), realism(record.lines), sep="\n\n")


if __name__ == "__main__":
    main()
