"""What differential privacy costs: a classifier trained on synthetic rows alone, by epsilon and by the size of the rare class.

    python benchmarks/privacy.py adult.csv privacy.csv

`adult.csv` is UCI's Adult with the columns named below and the label in "target". 2,000 random rows are held out; of the others
the rare class (target 1) is cut to the sizes in SIZES. One line a fit goes to the second file; what is there is not run again.
Scores are of gradient boosting trained on 3,000 synthetic rows of each class, over the held-out real rows: balanced accuracy,
AUC and recall of the rare class. "1000" has hardly any noise: it shows what the method costs apart from it (declared bins,
clipping, the prior). "none" is the fit without privacy, "real rows" the training rows themselves with balanced class weights.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from augment_gen import ConditionalVAE

SIZES, ARMS, SEEDS, N_TEST, N_DRAWN = (10, 50, 300, 1437), (1, 3, 10, 1000, "none", "real rows"), (0, 1, 2), 2000, 3000
BOUNDS = {  # as a person would write them who knows the form, not the rows
    "age": (17, 90),
    "fnlwgt": (10_000, 1_500_000),
    "education_num": (1, 16),
    "capital_gain": (0, 1, 2500, 5000, 7500, 10_000, 20_000, 99_999),
    "capital_loss": (0, 1, 1000, 1500, 2000, 2500, 4356),
    "hours": (1, 99),
}


def split(path, size, seed):
    """Training rows with `size` rows of the rare class, and held-out ones."""
    rows = pd.read_csv(path)
    text = rows.columns.difference([*BOUNDS, "target"])
    rows[text] = rows[text].astype("category")  # the levels are taken as known from the census form
    rows = rows.sample(frac=1, random_state=seed)
    train, test = rows[N_TEST:], rows[:N_TEST]
    train = pd.concat([train[train["target"] == 0], train[train["target"] == 1][:size]])
    return [(part.drop(columns="target"), part["target"]) for part in (train, test)]


def run(path, size, arm, seed):
    (X, y), (X_test, y_test) = split(path, size, seed)
    classifier = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    seconds, noise = np.nan, np.nan
    if arm == "real rows":
        classifier.set_params(class_weight="balanced").fit(X, y)
    else:
        privacy = None if arm == "none" else {"epsilon": arm, "bounds": BOUNDS}
        start = time.perf_counter()
        gen = ConditionalVAE(privacy=privacy, random_state=seed, device="cpu").fit(X, y)
        seconds = time.perf_counter() - start
        noise = gen.privacy_report_.releases[-1].noise_multiplier if privacy else np.nan
        classifier.fit(*gen.sample({0: N_DRAWN, 1: N_DRAWN}, random_state=seed))
    predicted, score = classifier.predict(X_test), classifier.predict_proba(X_test)[:, 1]
    return {
        "rare rows": (y == 1).sum(),
        "epsilon": arm,
        "seed": seed,
        "balanced accuracy": balanced_accuracy_score(y_test, predicted),
        "AUC": roc_auc_score(y_test, score),
        "rare recall": recall_score(y_test, predicted),
        "noise multiplier": noise,
        "seconds": seconds,
    }


def main(path, out):
    out = Path(out)
    done = pd.read_csv(out, dtype={"epsilon": str}) if out.exists() else pd.DataFrame(columns=["size", "epsilon", "seed"])
    known = set(zip(done["size"], done["epsilon"], done["seed"], strict=True))
    for seed in SEEDS:
        for size in SIZES:
            for arm in ARMS:
                if (size, str(arm), seed) not in known:
                    line = pd.DataFrame([{"size": size, **run(path, size, arm, seed)}])
                    line.to_csv(out, mode="a", header=not out.exists(), index=False)
    scores = pd.read_csv(out, dtype={"epsilon": str})
    print(
        scores.groupby(["size", "epsilon"], sort=False)[["balanced accuracy", "AUC", "rare recall", "seconds"]]
        .agg(["mean", "sem"])
        .round(3)
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
