"""A table with mixed columns and missing cells, in which one class is rare: rebalance it, and see whether that helps.

    python examples/rebalance_table.py [--rare 40] [--splits 5]

Real data: 1,000 loan applicants (German credit), of which only some "bad" ones are left in the training part.
"""

import argparse
from pathlib import Path

import pandas as pd
from imblearn.over_sampling import SMOTENC
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from augment_gen import ConditionalVAE

LABELS = ["bad", "good"]


def load():
    """X with text, number and boolean columns and missing cells; y is "good" or "bad"."""
    data = pd.read_csv(Path(__file__).parent / "data" / "german_credit.csv", keep_default_na=False, na_values=[""])
    return data.drop(columns="credit"), data["credit"]


def make_rare(X, y, n_rare, seed):
    """Half of the rows to train on, with only `n_rare` bad ones among them, and the untouched other half to test on."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    drop = y[y == "bad"].index[n_rare:]
    return X.drop(drop).reset_index(drop=True), y.drop(drop).reset_index(drop=True), X_test, y_test


def classifier(class_weight=None):
    numbers, words = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), words))
    return make_pipeline(columns, LogisticRegression(max_iter=1000, class_weight=class_weight))


def smote(X, y, seed):
    """SMOTENC takes no missing cells, so it gets a level "missing"; and floats, as beside integers it draws levels blindly."""
    words = X.select_dtypes(exclude="number").columns
    filled = X.astype({c: object if c in words else float for c in X})
    filled[words] = SimpleImputer(strategy="constant", fill_value="missing").fit_transform(filled[words])
    return SMOTENC(list(words), k_neighbors=3, random_state=seed).fit_resample(filled, y)


def recalls(model, X, y, X_test, y_test):
    return recall_score(y_test, model.fit(X, y).predict(X_test), labels=LABELS, average=None)


def main(n_rare=40, n_splits=5, **params):
    X_all, y_all = load()
    found = []
    for seed in range(n_splits):
        X, y, X_test, y_test = make_rare(X_all, y_all, n_rare, seed)
        gen = ConditionalVAE(random_state=seed, **params)
        arms = {
            "as it is": (classifier(), X, y),
            "class weights": (classifier("balanced"), X, y),
            "SMOTENC": (classifier(), *smote(X, y, seed)),
            "ConditionalVAE": (classifier(), *gen.fit_resample(X, y)),
        }
        found += [(name, *recalls(*arm, X_test, y_test)) for name, arm in arms.items()]
    X_new, _ = gen.sample(5, y="bad")
    print(f"Training part: {y.value_counts().to_dict()}, {X.isna().sum().sum()} missing cells\n")
    print("Five synthetic applicants with bad credit:\n", X_new.iloc[:, :9].to_string(), "\n")
    table = pd.DataFrame(found, columns=["training data", *(f"recall {label}" for label in LABELS)])
    table["balanced accuracy"] = table.iloc[:, 1:].mean(axis=1)
    summary = table.groupby("training data", sort=False).agg(["mean", "sem"]).round(3)
    print(f"On held-out rows, mean and standard error over {n_splits} splits:\n{summary.to_string()}")
    return summary


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rare", type=int, default=40, help="bad applicants left in the training part")
    parser.add_argument("--splits", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.rare, arguments.splits)
