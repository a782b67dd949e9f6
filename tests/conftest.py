"""Real data for the tests: Adult's columns are imitated by scikit-learn's own sets with types and gaps put on them."""

import os

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from augment_gen import ConditionalVAE

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # importing albumentations would ask the package index for a newer version


def mixed_frame(n_rows=400):
    """Columns of every kind that pandas has, made from the breast-cancer set, with missing cells."""
    data = load_breast_cancer(as_frame=True).frame.iloc[:n_rows]
    radius, texture = data["mean radius"], data["mean texture"]
    missing = np.arange(len(data)) % 7 == 0
    days = pd.to_timedelta((texture * 10).round().astype(int), unit="D")
    grade = pd.cut(radius, [0, 12, 15, 50], labels=["small", "middle", "large"]).astype(
        pd.CategoricalDtype(["small", "middle", "large", "never seen"], ordered=True)
    )
    X = pd.DataFrame(
        {
            "float64": radius,
            "float32": texture.astype("float32").mask(missing),
            "int32": (data["mean area"]).round().astype("int32"),
            "Int64": (data["mean perimeter"]).round().astype("Int64").mask(missing),
            "uint8": (texture).round().astype("uint8"),
            "bool": radius > 14,
            "boolean": (texture > 19).astype("boolean").mask(missing),
            "category": grade.mask(missing),
            "string": pd.Series(np.where(texture > 20, "rough", "smooth"), index=data.index).astype("string").mask(missing),
            "object": pd.Series(np.where(radius > 13, "höch", "niedrig"), index=data.index, dtype=object),
            "when": pd.Timestamp("2020-01-01") + days.mask(missing),
            "zoned": (pd.Timestamp("2020-01-01", tz="Europe/Berlin") + days),
            "took": days,
            "constant": 3.5,
            "all missing": np.full(len(data), np.nan),
            "many zeros": radius.where(radius > 15, 0.0).round(2),
        }
    )
    y = data["target"].map({0: "malignant", 1: "benign"}).rename("diagnosis")
    return X, y


@pytest.fixture(scope="session")
def mixed():
    return mixed_frame()


@pytest.fixture(scope="session")
def fitted_mixed(mixed):
    return ConditionalVAE(max_steps=150, random_state=0, device="cpu").fit(*mixed)


@pytest.fixture(scope="session")
def wine():
    return load_wine(return_X_y=True)


@pytest.fixture(scope="session")
def digit_generator():
    """A generator of uint8 digits, (n, 8, 8), trained long enough for a classifier to read them."""
    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)
    return ConditionalVAE(max_steps=200, random_state=0, device="cpu").fit(images, digits.target)
