"""The classifier that tables are judged by where the user names none: boosted trees that take columns of any kinds."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from augment_gen.evaluation.table_rows import TableRows


class TableEncoder(TransformerMixin, BaseEstimator):
    """Columns of any kinds as floats and categories, missing cells kept: what boosted trees take."""

    def fit(self, X, y=None):
        """Learn kinds and levels of columns; returns self."""
        self.rows_ = TableRows().fit(X)
        return self

    def transform(self, X):
        """DataFrame of float and category columns, named by their position."""
        check_is_fitted(self)
        codes = self.rows_.codes(self.rows_.read(X, "X"))
        columns = {}
        for j, n_levels in enumerate(self.rows_.n_levels):
            values = codes[:, j]
            if n_levels:
                missing = np.isnan(values)
                values = pd.Categorical.from_codes(np.where(missing, -1, values).astype(int), categories=range(n_levels))
            columns[str(j)] = values
        return pd.DataFrame(columns)


def table_classifier():
    """Boosted trees of scikit-learn's defaults behind a `TableEncoder`."""
    return make_pipeline(TableEncoder(), HistGradientBoostingClassifier(categorical_features="from_dtype"))
