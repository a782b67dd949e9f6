"""A training loop as in torchvision's guides, on digits of which some classes are rare: as it is, and with synthetic images.

    python examples/train_torchvision.py [--rare 12] [--seeds 3]

Real data: scikit-learn's digits (8 x 8 pixels, grey). The generator is fitted on the training part only, and only the
training part is augmented: synthetic images enter as further items of the training dataset, or in the training loop,
where MixUp would stand. The validation part is real images through no transform, the same ones for every row printed.
"""

import argparse

import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler
from torchvision.transforms import v2

from augment_gen import ConditionalVAE
from augment_gen.pipelines import SyntheticPool, rebalance_dataset
from augment_gen.pipelines.torchvision import SyntheticReplace

RARE = [3, 8, 9]  # often taken for each other
COMMON_ROWS = 70


def load(n_rare, seed):
    """Real images and labels: a training part with `n_rare` of each rare class and 70 of each other; a validation part."""
    digits = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).round()).to(torch.uint8)[:, None]
    targets = torch.from_numpy(digits.target)
    train, valid = train_test_split(range(len(targets)), test_size=0.5, stratify=targets, random_state=seed)
    train, valid = torch.tensor(train), torch.tensor(valid)
    kept = [train[targets[train] == k][: n_rare if k in RARE else COMMON_ROWS] for k in range(10)]
    return TensorDataset(images[torch.cat(kept)], targets[torch.cat(kept)]), TensorDataset(images[valid], targets[valid])


def classifier():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 16, 10),
    )  # fmt: skip


to_float = v2.ToDtype(torch.float32, scale=True)


def train(dataset, transform, n_steps, seed, balanced=False):
    """A classifier trained on batches of `dataset`; `transform` sees images and labels of each. `balanced` oversamples."""
    torch.manual_seed(seed)
    labels = torch.tensor([int(label) for _, label in dataset])
    weights = 1 / torch.bincount(labels)[labels] if balanced else torch.ones(len(labels))
    sampler = WeightedRandomSampler(weights.double(), n_steps * 64)
    model = classifier().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=n_steps)
    for images, labels in DataLoader(dataset, batch_size=64, sampler=sampler):
        images, labels = transform(images, labels)
        loss = nn.functional.cross_entropy(model(to_float(images)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def recalls(model, dataset):
    """Recall of each class. No transform and no synthetic image comes near the validation part."""
    images, labels = dataset.tensors
    return recall_score(labels, model(to_float(images)).argmax(1), average=None)


def main(n_rare=12, n_seeds=3, n_steps=400, **params):
    nothing, shift, found = v2.Identity(), v2.RandomAffine(degrees=8, translate=(0.1, 0.1)), []
    for seed in range(n_seeds):
        real, valid = load(n_rare, seed)
        gen = ConditionalVAE(random_state=seed, device="cpu", **params).fit(*real.tensors)
        balanced = rebalance_dataset(real, gen)
        replace = SyntheticReplace(SyntheticPool(gen, dict.fromkeys(RARE, 500)), p=0.5, labels=RARE)
        arms = {
            "as it is": (real, nothing),
            "oversampled": (real, nothing, True),
            "rebalance_dataset": (balanced, nothing),
            "oversampled, SyntheticReplace": (real, replace, True),
            "oversampled, shifts": (real, shift, True),
            "oversampled, SyntheticReplace, shifts": (real, v2.Compose([replace, shift]), True),
        }
        for name, (dataset, transform, *oversample) in arms.items():
            model = train(dataset, transform, n_steps, seed, *oversample)
            found.append((name, *recalls(model, valid)))
    table = pd.DataFrame(found, columns=["training", *range(10)])
    table["rare"], table["all"] = table[RARE].mean(axis=1), table[list(range(10))].mean(axis=1)
    summary = table.groupby("training", sort=False)[[*RARE, "rare", "all"]].agg(["mean", "sem"]).round(3)
    n_synthetic = int(balanced.is_synthetic.sum())
    print(
        f"Training: {len(real)} real images, {n_rare} of each of {RARE}; "
        f"rebalance_dataset repeats those and puts {n_synthetic} synthetic ones behind them, in every class."
    )
    print(f"Validation: {len(valid)} real images, never transformed, never seen by the generator.\n")
    print(f"Recall on the validation part, mean and standard error over {n_seeds} splits:\n{summary.to_string()}")
    return summary


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rare", type=int, default=12, help="images left of each rare class")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.rare, arguments.seeds)
