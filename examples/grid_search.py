"""Search over a classifier and the generator that augments its training rows, in one go, on a table with a rare class.

    python examples/grid_search.py [--rare 60] [--jobs 2]

Real data: 1,000 loan applicants (German credit), of which only some "bad" ones are left to train on. In every fold of the
search the generator is trained anew on that fold's training rows; no score is computed on synthetic rows.
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from augment_gen import AugmentedClassifier, ConditionalVAE


def load(n_rare):
    """Training rows of which only `n_rare` are bad, and an untouched half to test on."""
    table = pd.read_csv(Path(__file__).parent / "data" / "german_credit.csv", keep_default_na=False, na_values=[""])
    train, test = train_test_split(table, test_size=0.5, stratify=table["credit"], random_state=0)
    train = train.drop(train.index[train["credit"] == "bad"][n_rare:])
    return train.drop(columns="credit"), train["credit"], test.drop(columns="credit"), test["credit"]


def classifier():
    numbers, words = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words))
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def main(n_rare=60, n_jobs=1, max_steps=(100, 300)):
    X, y, X_test, y_test = load(n_rare)
    generator = ConditionalVAE(random_state=0, device="cpu")
    model = AugmentedClassifier(classifier(), generator, random_state=0)
    grid = [
        {
            "augmenter": [None],
            "estimator__logisticregression__C": [0.1, 1.0],
            "estimator__logisticregression__class_weight": [None, "balanced"],
        },
        {
            "augmenter": [generator],
            "augmenter__max_steps": list(max_steps),
            "keep_fraction": [0.5, 1.0],
            "estimator__logisticregression__C": [0.1, 1.0],
        },
    ]
    search = GridSearchCV(model, grid, scoring="balanced_accuracy", cv=3, n_jobs=n_jobs).fit(X, y)
    found = pd.DataFrame(search.cv_results_)
    shown = (
        found.filter(regex="^param_")
        .drop(columns="param_augmenter")
        .rename(columns=lambda name: name.removeprefix("param_").split("__")[-1])
    )
    shown.insert(0, "augmenter", [type(each).__name__ for each in found["param_augmenter"]])
    shown[["balanced accuracy", "sd"]] = found[["mean_test_score", "std_test_score"]]
    print(f"Training rows: {y.value_counts().to_dict()}\n")
    print(shown.sort_values("balanced accuracy", ascending=False).round(3).to_string(index=False))
    score = balanced_accuracy_score(y_test, search.predict(X_test))
    print(f"\nBest in the search, on {len(X_test)} held-out rows: balanced accuracy {score:.3f}")
    return search, score


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rare", type=int, default=60, help="bad applicants left in the training part")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    main(arguments.rare, arguments.jobs)
