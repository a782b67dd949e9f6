"""What is timed: our generators and what people use today, behind one face.

A competitor is fitted once and then asked for rows; one that cannot do without the other (SMOTE) only rebalances. Libraries are
imported in the constructor, so that CTGAN's environment needs none of ours, and the time of importing is not counted.
"""

import numpy as np
import pandas as pd


class Ours:
    """A generator of augment_gen at its defaults, with the class's rows drawn as they were asked for."""

    NAMES = {"vae": "ConditionalVAE", "gan": "ConditionalGAN", "warp": "WarpVAE", "elastic": "ElasticWarp"}

    def __init__(self, name, device, seed, epochs=None):
        import augment_gen

        generator = getattr(augment_gen, self.NAMES[name])
        self.generator = generator(device=device, random_state=seed, max_epochs=epochs)

    def fit(self, X, y):
        self.generator.fit(X, y)

    def sample(self, n_rows):
        return self.generator.sample(n_rows)

    def fill(self, missing):
        """Rows of the classes that rebalancing lacks; `missing` is a dict {label: number}."""
        return self.generator.sample(missing)


class Peer:
    """CTGAN or TVAE of the package ctgan at their defaults; the label is a discrete column like any other.

    They cannot be asked for a class in numbers, so nothing is filled up.
    """

    NAMES = {"ctgan": "CTGAN", "tvae": "TVAE"}

    def __init__(self, name, device, seed, epochs=None):
        import ctgan

        options = {} if epochs is None else {"epochs": epochs}
        self.model = getattr(ctgan, self.NAMES[name])(enable_gpu=device != "cpu", **options)
        self.model.set_random_state(seed)

    def fit(self, X, y):
        self.label = y.name
        discrete = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
        self.model.fit(X.assign(**{self.label: y}), [*discrete, self.label])

    def sample(self, n_rows):
        rows = self.model.sample(n_rows)
        return rows.drop(columns=self.label), rows[self.label]


class Smote:
    """imbalanced-learn's SMOTE, or SMOTENC where there are categorical columns."""

    def __init__(self, name, device, seed, epochs=None):
        from imblearn.over_sampling import SMOTE, SMOTENC

        self.make = {"smote": lambda _: SMOTE(random_state=seed), "smotenc": lambda c: SMOTENC(c, random_state=seed)}[name]

    def rebalance(self, X, y):
        X = X if isinstance(X, pd.DataFrame) else X.reshape(len(X), -1)
        categorical = []
        if isinstance(X, pd.DataFrame):
            categorical = [i for i, name in enumerate(X) if not pd.api.types.is_numeric_dtype(X[name])]
        return self.make(categorical).fit_resample(X, y)


COMPETITORS = {**dict.fromkeys(Ours.NAMES, Ours), **dict.fromkeys(Peer.NAMES, Peer), "smote": Smote, "smotenc": Smote}
PEERS = tuple(Peer.NAMES)


def missing(y):
    """{label: number} of rows that bring every class up to the largest."""
    labels, counts = np.unique(np.asarray(y), return_counts=True)
    return {label: int(counts.max() - n) for label, n in zip(labels.tolist(), counts, strict=True) if n < counts.max()}
