"""Training on an albumentations pipeline, on digits of which some classes are rare: without and with synthetic images.

    python examples/train_albumentations.py [--rare 12] [--seeds 3] [--workers 0]

Real data: scikit-learn's digits (8 x 8 pixels, grey). The generator is fitted on the training part only. Training images go
through an `A.Compose` in which `SyntheticReplace` is a step like any other; validation images, all of them real, through
another that only normalises them. Importing albumentations asks the package index for a newer version, unless the
environment variable NO_ALBUMENTATIONS_UPDATE is 1.
"""

import argparse

import albumentations as A
import numpy as np
import pandas as pd
import torch
from albumentations.pytorch import ToTensorV2
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from augment_gen import ConditionalVAE
from augment_gen.pipelines import SyntheticPool
from augment_gen.pipelines.albumentations import SyntheticReplace

RARE = [3, 8, 9]  # often taken for each other
COMMON_ROWS = 70
AS_TENSOR = [A.Normalize(mean=0.5, std=0.5), ToTensorV2()]


class Digits(Dataset):
    """Images uint8 (n, 8, 8) and their labels; each item goes through `transform`, which is told its label."""

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        out = self.transform(image=self.images[index], label=int(self.labels[index]))
        return out["image"], out["label"]


def load(n_rare, seed):
    """Images and labels: `n_rare` of each rare class and 70 of each other to train on; and a validation part."""
    digits = load_digits()
    images = (digits.images * 255 / 16).round().astype(np.uint8)
    X, X_valid, y, y_valid = train_test_split(images, digits.target, test_size=0.5, stratify=digits.target, random_state=seed)
    keep = np.concatenate([np.flatnonzero(y == k)[: n_rare if k in RARE else COMMON_ROWS] for k in range(10)])
    return X[keep], y[keep], X_valid, y_valid


def train(dataset, n_steps, n_workers, seed):
    """A classifier trained on batches in which all classes are as frequent."""
    torch.manual_seed(seed)
    sampler = WeightedRandomSampler(1 / np.bincount(dataset.labels)[dataset.labels], n_steps * 64)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 16, 10),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    for images, labels in DataLoader(dataset, batch_size=64, sampler=sampler, num_workers=n_workers):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def recalls(model, valid):
    """Recall of each class."""
    predicted = [model(images).argmax(1) for images, _ in DataLoader(valid, batch_size=256)]
    return recall_score(valid.labels, torch.cat(predicted), average=None)


def main(n_rare=12, n_seeds=3, n_steps=400, n_workers=0, **params):
    found = []
    for seed in range(n_seeds):
        X, y, X_valid, y_valid = load(n_rare, seed)
        gen = ConditionalVAE(random_state=seed, device="cpu", **params).fit(X, y)
        pool = SyntheticPool(gen, dict.fromkeys(range(10), 300))
        valid = Digits(X_valid, y_valid, A.Compose(AS_TENSOR))
        shift = A.Affine(rotate=(-8, 8), translate_px=(-1, 1), p=1.0)
        steps = {
            "real images": [],
            "SyntheticReplace": [SyntheticReplace(pool=pool, p=0.5)],
            "shifts": [shift],
            "SyntheticReplace, shifts": [SyntheticReplace(pool=pool, p=0.5), shift],
        }
        for name, augmentation in steps.items():
            dataset = Digits(X, y, A.Compose([*augmentation, *AS_TENSOR], seed=seed))
            found.append((name, *recalls(train(dataset, n_steps, n_workers, seed), valid)))
    table = pd.DataFrame(found, columns=["training pipeline", *range(10)])
    table["rare"], table["all"] = table[RARE].mean(axis=1), table[list(range(10))].mean(axis=1)
    summary = table.groupby("training pipeline", sort=False)[[*RARE, "rare", "all"]].agg(["mean", "sem"]).round(3)
    print(f"Training: {len(y)} real images, {n_rare} of each of {RARE}, drawn so that all classes are as frequent.")
    untouched = ", ".join(type(step).__name__ for step in valid.transform)
    print(f"Validation: {len(y_valid)} real images, only normalised, never seen by the generator ({untouched}).\n")
    print(f"Recall on the validation part, mean and standard error over {n_seeds} splits:\n{summary.to_string()}")
    return summary


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rare", type=int, default=12, help="images left of each rare class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="DataLoader workers")
    arguments = parser.parse_args()
    main(arguments.rare, arguments.seeds, n_workers=arguments.workers)
