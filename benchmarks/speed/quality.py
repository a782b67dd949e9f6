"""What drawn rows of Adult are worth: can trees tell them from unseen real rows, and can trees learn the income from them.

One judge for all competitors, of scikit-learn alone, beside the same figures for real training rows.
"""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from workloads import LABEL, adult_test


def scores(path, adult, seed):
    """{"c2st": AUC (.5 is best), "tstr": balanced accuracy on the real test rows, trained on drawn rows alone}.

    As many drawn rows as there are test rows are told apart; as many as there are training rows are learned from.
    """
    X_test, y_test = adult_test(adult)
    drawn = pd.read_parquet(path)
    X, y = drawn.drop(columns=LABEL)[X_test.columns], drawn[LABEL].astype(str)
    first, side = X.iloc[: len(X_test)], np.repeat([0, 1], len(X_test))
    both = _codes(pd.concat([X_test, first]), X_test)
    both = both.assign(label=np.concatenate([y_test, y.iloc[: len(X_test)]]) == y_test.iloc[0])
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    said = cross_val_predict(_trees(both, seed), both, side, cv=folds, method="predict_proba")[:, 1]
    learned = _trees(_codes(X_test, X_test), seed, class_weight="balanced").fit(
        _codes(X, X_test).iloc[:32_561], y.iloc[:32_561]
    )
    accuracy = balanced_accuracy_score(y_test, learned.predict(_codes(X_test, X_test)))
    return {"c2st": round(roc_auc_score(side, said), 4), "tstr": round(accuracy, 4)}


def _codes(X, like):
    """Numbers as they are, categories as codes of the test table's levels (others missing)."""
    X = X.reset_index(drop=True)
    numeric = like.columns[[pd.api.types.is_numeric_dtype(like[name]) for name in like]]
    coded = {
        name: X[name].astype(float) if name in numeric else pd.Categorical(X[name], sorted(set(like[name]))) for name in like
    }
    return pd.DataFrame(coded)


def _trees(X, seed, **options):
    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed, **options)
