"""Handwritten digits of which some classes are rare: draw synthetic images, look at them, and see whether they help.

    python examples/rebalance_images.py [--rare 12] [--seeds 3] [--out outputs]

Real data: scikit-learn's digits (8 x 8 pixels, grey). Writes a picture with real images of each class in the left half
and synthetic ones in the right half; rare classes have a grey tile before each half.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from augment_gen import ConditionalVAE

RARE = [3, 8, 9]  # often taken for each other
COMMON_ROWS = 70


def load(n_rare, seed):
    """Images uint8 (n, 8, 8) and labels: `n_rare` of each rare class and 70 of each other to train on; and a test part."""
    digits = load_digits()
    images = (digits.images * 255 / 16).round().astype(np.uint8)
    X, X_test, y, y_test = train_test_split(images, digits.target, test_size=0.5, stratify=digits.target, random_state=seed)
    keep = np.concatenate([np.flatnonzero(y == k)[: n_rare if k in RARE else COMMON_ROWS] for k in range(10)])
    return X[keep], y[keep], X_test, y_test


def smote(X, y, seed):
    flat, labels = SMOTE(random_state=seed).fit_resample(X.reshape(len(X), -1), y)
    return flat.reshape(-1, *X.shape[1:]), labels


def recalls(X, y, X_test, y_test, class_weight=None):
    """Recall of each class, of a support vector machine."""
    flat = lambda images: images.reshape(len(images), -1) / 255.0
    predicted = SVC(class_weight=class_weight).fit(flat(X), y).predict(flat(X_test))
    return recall_score(y_test, predicted, average=None)


def grid(gen, X, y, path, n_each=10, zoom=4):
    """Write the picture: a row per class, real left, synthetic right."""
    rows = []
    for label in gen.classes_:
        real, synthetic = X[y == label][:n_each], gen.sample(n_each, y=label, random_state=0)[0]
        gap = np.full((1, 8, 8), 64 if label in RARE else 0, np.uint8)
        tiles = np.pad(np.concatenate([gap, real, gap, synthetic]), ((0, 0), (1, 1), (1, 1)), constant_values=64)
        rows.append(np.concatenate(list(tiles), axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(path)


def main(n_rare=12, n_seeds=3, out="outputs", **params):
    found = []
    for seed in range(n_seeds):
        X, y, X_test, y_test = load(n_rare, seed)
        gen = ConditionalVAE(random_state=seed, **params)
        arms = {
            "as it is": (X, y, X_test, y_test),
            "class weights": (X, y, X_test, y_test, "balanced"),
            "SMOTE": (*smote(X, y, seed), X_test, y_test),
            "ConditionalVAE": (*gen.fit_resample(X, y), X_test, y_test),
        }
        found += [(name, *recalls(*arm)) for name, arm in arms.items()]
    path = Path(out) / "digits.png"
    grid(gen, X, y, path)
    table = pd.DataFrame(found, columns=["training data", *range(10)])
    table["rare"], table["all"] = table[RARE].mean(axis=1), table[list(range(10))].mean(axis=1)
    summary = table.groupby("training data", sort=False)[[*RARE, "rare", "all"]].agg(["mean", "sem"]).round(3)
    print(f"Digits {RARE} are rare: {n_rare} images each, the others {COMMON_ROWS}.\n")
    print(f"Recall on held-out images, mean and standard error over {n_seeds} splits:\n{summary.to_string()}")
    print(f"\nReal beside synthetic images: {path}")
    return summary


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rare", type=int, default=12, help="images left of each rare class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="outputs")
    arguments = parser.parse_args()
    main(arguments.rare, arguments.seeds, arguments.out)
