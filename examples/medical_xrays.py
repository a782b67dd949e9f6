"""Chest x-rays with few of the disease: synthetic ones to look at, to check for copies, to train with, and to hand on.

    python examples/medical_xrays.py [--seeds 3] [--out outputs]

Real data: PneumoniaMNIST (28 x 28 pixels, grey) where ``../shared/data/pneumoniamnist.npz`` is there: 388 normal images and
124 with pneumonia; otherwise the subset of it that lies in ``examples/data``: 100 and 16. The test part is as published, and
neither the generator nor any augmentation comes near it. Images are not mirrored: the heart is on one side.

Writes ``xrays.png``, real above synthetic with pneumonia, and ``xrays/``, PNGs that say in their text chunk that they are
synthetic. This is a demonstration on tiny images, not a medical device.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from imblearn.over_sampling import RandomOverSampler
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from augment_gen import ConditionalVAE
from augment_gen.pipelines import Provenance, write_image_folder

HERE = Path(__file__).parent
NAMES = np.array(["normal", "pneumonia"])
N_DISEASED = 124
AUGMENT = {"degrees": 8, "translate": 0.08, "scale": 0.1, "flip": False}


def load(path=None):
    """Images uint8 (n, 28, 28) and names of their classes: training part, test part."""
    published = HERE.parent.parent / "shared" / "data" / "pneumoniamnist.npz"
    path = path or (published if published.exists() else HERE / "data" / "xrays.npz")
    with np.load(path) as file:
        parts = {name: file[name] for name in ("train_images", "train_labels", "test_images", "test_labels")}
    y = parts["train_labels"].ravel()
    kept = np.sort(np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:N_DISEASED]]))
    return parts["train_images"][kept], NAMES[y[kept]], parts["test_images"], NAMES[parts["test_labels"].ravel()]


def flat(images):
    return images.reshape(len(images), -1) / 255.0


def scores(X, y, X_test, y_test, **params):
    """Of a support vector machine on held-out images: sensitivity, specificity, balanced accuracy, area under the ROC curve."""
    model = make_pipeline(FunctionTransformer(flat), PCA(30, random_state=0), SVC(**params)).fit(X, y)
    predicted, margin = model.predict(X_test), model.decision_function(X_test)
    return {
        "sensitivity": recall_score(y_test, predicted, pos_label="pneumonia"),
        "specificity": recall_score(y_test, predicted, pos_label="normal"),
        "balanced accuracy": balanced_accuracy_score(y_test, predicted),
        "AUC": roc_auc_score(y_test == "pneumonia", margin),
    }


def oversampled(X, y, seed):
    flat_rows, labels = RandomOverSampler(random_state=seed).fit_resample(X.reshape(len(X), -1), y)
    return flat_rows.reshape(-1, *X.shape[1:]), labels


def near_copies(synthetic, X, fresh):
    """Shares of synthetic and of fresh real images that are as near to a training image as the nearest 5 % of these are."""
    search = NearestNeighbors(n_neighbors=1).fit(flat(X))
    limit = np.quantile(search.kneighbors()[0], 0.05)
    return [float((search.kneighbors(flat(images))[0] <= limit).mean()) for images in (synthetic, fresh)]


def picture(real, synthetic, path, zoom=3):
    rows = [np.concatenate(list(images[:12]), axis=1) for images in (real, synthetic)]
    image = Image.fromarray(np.concatenate(rows))
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(path)


def main(n_seeds=3, out="outputs", path=None, max_steps=600):
    X, y, X_test, y_test = load(path)
    found = []
    for seed in range(n_seeds):
        gen = ConditionalVAE(augment=AUGMENT, random_state=seed, max_steps=max_steps)
        arms = {
            "as it is": scores(X, y, X_test, y_test),
            "class weights": scores(X, y, X_test, y_test, class_weight="balanced"),
            "oversampled": scores(*oversampled(X, y, seed), X_test, y_test),
            "ConditionalVAE": scores(*gen.fit_resample(X, y), X_test, y_test),
        }
        found += [{"training data": name, **one} for name, one in arms.items()]
    summary = pd.DataFrame(found).groupby("training data", sort=False).agg(["mean", "sem"]).round(3)
    synthetic, labels = gen.sample(100, y="pneumonia", random_state=0)
    copies = near_copies(synthetic, X[y == "pneumonia"], X_test[y_test == "pneumonia"])
    out = Path(out)
    write_image_folder(out / "xrays", synthetic, labels, provenance=Provenance.of(gen, 0))
    picture(X[y == "pneumonia"], synthetic, out / "xrays.png")
    print(f"Training: {(y == 'normal').sum()} normal, {(y == 'pneumonia').sum()} pneumonia. Test: {len(y_test)} images.\n")
    print(f"Held-out images, mean and standard error over {n_seeds} seeds of the generator:\n{summary.to_string()}\n")
    best = summary["balanced accuracy", "mean"].idxmax()
    print(f"Best by balanced accuracy: {best}. That is one classifier and one test part: measure on your own.")
    print("Near copies of a training image: {:.0%} of synthetic ones, {:.0%} of fresh real ones.".format(*copies))
    print(f"Real above synthetic: {out / 'xrays.png'}. Synthetic PNGs, marked as such: {out / 'xrays'}")
    return summary, copies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", default="outputs")
    arguments = parser.parse_args()
    main(arguments.seeds, arguments.out)
