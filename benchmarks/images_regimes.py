"""Other ways to let synthetic images help: where else does generation win over random oversampling with classic augmentation?

    python benchmarks/images_regimes.py --harness PATH/images.py --arm elastic=ElasticWarp --arm vae=ConditionalVAE \
        --data mnist --per-class 10 --seeds 0 1 2 --way half-weight mixup mixup-real longer m2m shift
    python benchmarks/images_regimes.py --summary

Data, pools of synthetic images, CNN and classic augmentation are those of `images_help.py`; what differs is the way:

- ``ros`` and ``mixed``: random oversampling, and real with synthetic images (share --share), as in `images_help.py`;
- ``half-weight``: as ``mixed``, the loss of synthetic images counts half;
- ``mixup-real``: ``ros``, every image blended with another real one, and so are their labels (Zhang et al. 2018,
  "mixup"), from Beta(.4, .4);
- ``mixup``: the partner is a synthetic image instead;
- ``longer-ros`` and ``longer``: ``ros`` and ``mixed`` with four times the steps;
- ``m2m``: as ``mixed``, but images of other classes are translated: encoded by the VAE under their own label and decoded
  under the wanted one (after Kim et al. 2020, "M2m: imbalanced classification via major-to-minor translation", which
  follows a classifier's gradient), kept where the VAE's judges agree; for arms that are a `ConditionalVAE`.

- ``pretrained``: as ``mixed``, by deformations that a `WarpVAE` learned from other data, scikit-learn's 1,797 digits of 8 x 8,
  enlarged, applied to the training images, with the filter of judges trained on these.

The networks of ``ros`` and ``mixed`` are also scored on test images that have been changed (domain shift): noise of standard
deviation .15, half the contrast, a blur of 1 pixel, and a turn by 25 degrees.
"""

import argparse
import sys
import warnings

import images_help
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter, rotate
from sklearn.datasets import load_digits
from torch.nn import functional as F

ALPHA = 0.4
SHIFTS = {
    "noise": lambda images, rng: images + 255 * 0.15 * rng.standard_normal(images.shape),
    "contrast": lambda images, rng: 127.5 + 0.5 * (images - 127.5),
    "blur": lambda images, rng: gaussian_filter(images, (0, 1, 1, 0)),
    "turn": lambda images, rng: rotate(images, 25, axes=(2, 1), reshape=False, order=1, mode="nearest"),
}


def train(H, real, synthetic, n_classes, steps, seed, augment, weight=1.0, partners=None):
    """The harness's CNN under its optimiser and schedule, with weights for synthetic images and with mixup.

    `real`, `synthetic` and `partners` are (uint8 images, classes); each image of a batch is blended with one of `partners`.
    """
    torch.manual_seed(seed)
    X, y = (np.concatenate(parts) for parts in zip(real, synthetic, strict=True))
    weights = torch.from_numpy(np.repeat([1.0, weight], [len(real[1]), len(synthetic[1])])).float()
    network = H.CNN(X.shape[3], n_classes, X.shape[1]).to(memory_format=torch.channels_last).train()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0}
    optimiser = torch.optim.AdamW([{"params": decayed}, rest], lr=2e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps, pct_start=0.1, cycle_momentum=False)
    X, targets = H.tensor(X), F.one_hot(torch.from_numpy(y).long(), n_classes).float()
    if partners is not None:
        others, other_targets = H.tensor(partners[0]), F.one_hot(torch.from_numpy(partners[1]).long(), n_classes).float()
    blend, order = np.random.default_rng(seed), torch.empty(0, dtype=torch.long)
    changed = lambda images: H.classic(images.float() / 255, augment)
    for _ in range(steps):
        while len(order) < 64:
            order = torch.cat([order, torch.randperm(len(X))])
        index, order = order[:64], order[64:]
        images, wanted = changed(X[index]), targets[index]
        if partners is not None:
            other = torch.from_numpy(blend.integers(len(others), size=64))
            share = blend.beta(ALPHA, ALPHA, 64)
            share = torch.from_numpy(np.maximum(share, 1 - share)).float()
            images = share[:, None, None, None] * images + (1 - share)[:, None, None, None] * changed(others[other])
            wanted = share[:, None] * wanted + (1 - share)[:, None] * other_targets[other]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network((images * 2 - 1).contiguous(memory_format=torch.channels_last))
        loss = (F.cross_entropy(logits.float(), wanted, reduction="none") * weights[index]).sum() / weights[index].sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def translated(d, generator, n_each, rng):
    """One array of images per class: images of other classes, encoded as what they are and decoded as that class."""
    pools = []
    for k in range(d.K):
        kept, tried = [], 0
        while sum(map(len, kept)) < n_each and tried < 10 * n_each:
            rows = rng.choice(np.flatnonzero(d.y != k), 500)
            tried += len(rows)
            wanted = np.full(len(rows), k)
            images = generator.decode(generator.encode(d.X[rows], d.y[rows]), wanted)
            kept.append(images[generator.decoder_.label_probabilities(images)[:, k] >= 0.5])
        images = np.concatenate(kept)
        pools.append(images if len(images) else d.X[d.y == k])
    return pools


def pretrained(d, parameters, n_each, rng):
    """One array of images per class: training images, deformed as pairs of scikit-learn's digits differ."""
    small, labels = load_digits(return_X_y=True)
    grey = torch.from_numpy(small.reshape(-1, 1, 8, 8) / 16).float()
    large = F.interpolate(grey, size=d.shape[:2], mode="bicubic", align_corners=False).clamp(0, 1)
    warper = images_help.make(parameters, d.seed).fit((large[:, 0] * 255).round().byte().numpy(), labels).decoder_
    judging = images_help.make("ElasticWarp", d.seed).fit(d.X, d.y).decoder_
    warper.codec, warper.exemplars, warper.counts = judging.codec, judging.exemplars, judging.counts
    pools = []
    for k in range(d.K):
        kept = []
        while sum(map(len, kept)) < n_each:
            wanted = np.full(500, k)
            images = warper.codec.decode(warper.draw(wanted, rng, 1.0), wanted, rng)
            kept.append(images[judging.label_probabilities(images)[:, k] >= 0.5])
        pools.append(np.concatenate(kept))
    return pools


class Ways:
    """The ways to train on a data set, with one arm's pool of synthetic images."""

    def __init__(self, H, a, d, seed, pools, arm):
        self.H, self.a, self.d, self.seed, self.arm, self.pools = H, a, d, seed, arm, pools
        self.steps, self.augment = a.steps or H.STEPS[d.name], H.CLASSIC[d.name]
        self.most = max(images_help.FEWEST, int(d.counts.max()))
        self.none = d.X[:0], d.y[:0]

    def run(self, way):
        longer = 4 if way.startswith("longer") else 1
        partners = None
        if way in ("ros", "longer-ros", "mixup-real"):
            real, synthetic = self._ros(), self.none
            partners = real if way == "mixup-real" else None
        elif way == "mixup":
            real, synthetic, partners = self._ros(), self.none, self._mixed(self._pool())[1]
        else:
            made = {"m2m": self._translated, "pretrained": self._pretrained}
            real, synthetic = self._mixed(made.get(way, self._pool)())
        weight = 0.5 if way == "half-weight" else 1.0
        n_classes, steps = self.d.K, longer * self.steps
        network = train(self.H, real, synthetic, n_classes, steps, self.seed, self.augment, weight, partners)
        scores = self.H.score(network, self.d)
        return {**scores, **self._shifted(network)} if way in ("ros", "mixed") else scores

    def _ros(self):
        return self.H.Method("ros", self.d, "uint8").augment(self.d.X, self.d.y, self.seed)

    def _pool(self):
        n_each = round(self.most * self.a.share / (1 - self.a.share))
        key = f"{self.d.name}_{self.a.per_class or 0}_s{self.d.seed}"
        return self.pools.get(self.d, self.arm, n_each, key)[0]

    def _translated(self):
        generator = images_help.make(self.pools.arms[self.arm], self.d.seed).fit(self.d.X, self.d.y)
        n_each = round(self.most * self.a.share / (1 - self.a.share))
        return translated(self.d, generator, min(n_each, images_help.POOL), np.random.default_rng(self.seed))

    def _pretrained(self):
        n_each = round(self.most * self.a.share / (1 - self.a.share))
        return pretrained(self.d, self.pools.arms[self.arm], n_each, np.random.default_rng(self.seed))

    def _mixed(self, pools):
        X, y, n_synthetic = images_help.mixed(self.d, pools, "all", self.a.share, self.seed, count=True)
        first = len(y) - n_synthetic
        return (X[:first], y[:first]), (X[first:], y[first:])

    def _shifted(self, network):
        scores, whole = {}, self.d.Xt
        for name, shift in SHIFTS.items():
            changed = shift(whole.astype(np.float32), np.random.default_rng(0))
            self.d.Xt = changed.round().clip(0, 255).astype(np.uint8)
            scores[f"bacc_{name}"] = self.H.score(network, self.d)["bacc"]
        self.d.Xt = whole
        return scores


class Record(images_help.Record):
    NAMES = ("data", "per_class", "way", "arm", "share", "seed")


def run(H, a, record):
    pools = images_help.Pools(H, a.pools, a.arms)
    for name in a.data:
        for seed in a.seeds:
            d = H.Data(name, seed)
            if a.per_class and d.counts.max() > a.per_class:
                d = images_help.shrink(d, a.per_class, seed)
            for way in a.way:
                for arm in ["none"] if way in ("ros", "longer-ros", "mixup-real") else a.arms:
                    entry = {
                        "data": name,
                        "per_class": a.per_class or 0,
                        "way": way,
                        "arm": arm,
                        "share": a.share,
                        "seed": seed,
                    }
                    if tuple(entry.values()) not in record.done:
                        torch.manual_seed(seed)
                        found = Ways(H, a, d, seed, pools, arm).run(way)
                        record.write({**entry, **{k: v for k, v in found.items() if not isinstance(v, list)}})


def summary(lines):
    """Means over seeds, and paired differences to ``ros`` (``longer`` to ``longer-ros``) with their standard errors."""
    frame = pd.DataFrame(lines)
    index, rows = ["data", "per_class", "seed"], []
    figures = [name for name in ("bacc", "auc", *(f"bacc_{shift}" for shift in SHIFTS)) if name in frame]
    for (data, per_class, way, arm, share), mine in frame.groupby(["data", "per_class", "way", "arm", "share"], sort=False):
        baseline = frame[frame["way"] == ("longer-ros" if way == "longer" else "ros")]
        paired = mine.merge(baseline, on=index, suffixes=("", "_base"))
        row = {"data": data, "per_class": per_class, "way": way, "arm": arm, "share": share, "n": len(paired)}
        for name in figures:
            difference = paired[name] - paired[f"{name}_base"]
            row |= {name: paired[name].mean(), f"d_{name}": difference.mean(), f"se_{name}": difference.sem()}
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", help="path of the measurement script images.py")
    parser.add_argument("--data", nargs="+", default=["mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arm", action="append", default=[], metavar="NAME=GENERATOR")
    parser.add_argument("--way", nargs="+", default=["ros", "mixed"])
    parser.add_argument("--share", type=float, default=0.8)
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--pools", default="pools", help="folder for the synthetic images")
    parser.add_argument("--out", default="images_regimes.jsonl")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", action="store_true")
    a = parser.parse_args()
    a.arms = dict(arm.split("=", 1) for arm in a.arm)
    record = Record(a.out)
    if not a.summary:
        if not a.harness:
            sys.exit("Give --harness, the path of the measurement script images.py.")
        torch.set_num_threads(a.threads)
        H = images_help.load_harness(a.harness)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(H, a, record)
    if record.lines:
        print(summary(record.lines).to_string())


if __name__ == "__main__":
    main()
