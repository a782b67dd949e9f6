"""Throughput of a DataLoader over a rebalanced dataset, as a ratio to one over the real data alone.

    python benchmarks/dataloader.py [--images 2000] [--rounds 7] [--workers 0 2]

Real data: scikit-learn's digits, enlarged to 64 x 64 and written as PNG class folders (read by torchvision's ImageFolder and
turned to float tensors), and the same images as a TensorDataset. Every class but one is cut to a fifth, then brought back
up by `rebalance_dataset`. The two loaders take turns, since the machine's speed wanders; per round the ratio of their
images per second is taken, and the median and quartiles of those are printed as JSON.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from augment_gen import ConditionalVAE
from augment_gen.pipelines import rebalance_dataset

SIDE = 64
TRANSFORM = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def digits(n_images):
    """uint8 (n, 64, 64) and labels: class 0 whole, a fifth of each other, together about `n_images`."""
    X, y = load_digits(return_X_y=True)
    whole = np.flatnonzero(y == 0)
    keep = np.concatenate([whole, *(np.flatnonzero(y == k)[: len(whole) // 5] for k in range(1, 10))])
    keep = np.resize(keep, n_images)
    enlarge = lambda row: np.asarray(Image.fromarray((row.reshape(8, 8) * 15.9).astype(np.uint8)).resize((SIDE, SIDE)))
    return np.stack([enlarge(X[i]) for i in keep]), y[keep]


def image_folder(X, y, path):
    for number, (image, label) in enumerate(zip(X, y, strict=True)):
        (path / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image).convert("RGB").save(path / str(label) / f"{number:05}.png")
    return ImageFolder(path, transform=TRANSFORM)


def throughput(loader):
    """Images per second of one pass."""
    start, seen = time.perf_counter(), 0
    for images, _ in loader:
        seen += len(images)
    return seen / (time.perf_counter() - start)


def compare(real, n_workers, n_rounds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # five steps learn little, which does not matter here
        balanced = rebalance_dataset(real, ConditionalVAE(max_steps=5, random_state=0, device="cpu"))
    loaders = [
        DataLoader(
            dataset,
            batch_size=64,
            sampler=RandomSampler(dataset, replacement=True, num_samples=len(balanced)),  # as many items from each
            num_workers=n_workers,
            persistent_workers=n_workers > 0,
        )
        for dataset in (real, balanced)
    ]
    for loader in loaders:
        throughput(loader)  # workers start, files come into the cache
    rounds = np.array([[throughput(loader) for loader in loaders] for _ in range(n_rounds)])
    ratio = np.quantile(rounds[:, 1] / rounds[:, 0], [0.25, 0.5, 0.75]).round(3).tolist()
    return {
        "images": [len(real), len(balanced)],
        "images_per_s": np.median(rounds, axis=0).round().tolist(),
        "ratio_quartiles": ratio,
    }


def main(n_images, n_rounds, workers):
    X, y = digits(n_images)
    with tempfile.TemporaryDirectory() as folder:
        tensors = TensorDataset(torch.from_numpy(X)[:, None].float() / 255, torch.from_numpy(y))
        for name, real in (("ImageFolder", image_folder(X, y, Path(folder))), ("TensorDataset", tensors)):
            for n_workers in workers:
                print(json.dumps({"dataset": name, "workers": n_workers, **compare(real, n_workers, n_rounds)}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    arguments = parser.parse_args()
    main(arguments.images, arguments.rounds, arguments.workers)
