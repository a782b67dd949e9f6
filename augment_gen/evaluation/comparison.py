"""What `compare` found, in words and in tables."""

import html
import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd

from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.evaluation.contrasts import Contrast

WIDTH = 120
SHOWN = ["balanced_accuracy", "macro_f1", "minority_recall", "minority_precision", "average_precision", "roc_auc", "brier"]


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """Whether augmenters help a classifier, in figures and in words; `compare` makes it.

    Attributes
    ----------
    scoring : str
        The figure that the verdict is about.
    labels : list
        The classes.
    rare : list
        The classes that count as rare.
    contrasts : tuple of Contrast
        One per augmenter's arm: differences, intervals and a word.
    failures : dict {str: str}
        Arms that failed, and why.
    notes : tuple of str
        What could not be compared, or only in part.
    n_splits : int
    n_train, n_test : int
        Rows of a split, mean over splits.
    chosen_inside : tuple of str
        What inner cross-validation chose in each training part: "amounts", "thresholds", or nothing.
    seconds : DataFrame
        Mean seconds per split: of drawing rows ("drawing", by augmenter) and of training ("training", by arm).
    """

    scoring: str
    labels: list
    rare: list
    contrasts: tuple[Contrast, ...]
    failures: dict
    notes: tuple[str, ...]
    n_splits: int
    n_train: int
    n_test: int
    chosen_inside: tuple[str, ...]
    seconds: pd.DataFrame
    scores: pd.DataFrame
    matrices: pd.DataFrame

    @property
    def verdict(self):
        """str: one line per augmenter, and one that says how it was found."""
        return "\n".join([*(contrast.sentence(self.scoring) for contrast in self.contrasts), self._how()])

    def frame(self):
        """All figures, one row each.

        Returns
        -------
        DataFrame
            "arm", "kind" ("baseline" or "augmenter"), "amount" (share of the augmenter's rows; NaN where there are none),
            "threshold" ("default"; "tuned" by inner cross-validation; "any" where a figure needs none), "split", "metric" (a
            key of ``augment_gen.evaluation.SCORES``, which says what it means), "value", "chosen" (whether inner
            cross-validation chose this amount for this arm in this split, at the threshold that counts).
        """
        return self.scores.copy()

    def summary(self):
        """Means over splits of the chosen amounts, one row per arm, the best first.

        Returns
        -------
        DataFrame
            Index "arm"; columns "kind", "amount" and "threshold" (the one chosen most often), and the figures.
        """
        chosen = self.scores[self.scores["chosen"] & ~self.scores["arm"].isin(self.failures)]
        means = chosen.pivot_table(index="arm", columns="metric", values="value", aggfunc="mean", sort=False)
        decided = chosen[chosen["threshold"] != "any"].drop_duplicates(["arm", "split"]).groupby("arm", sort=False)
        most = lambda values: values.mode(dropna=False).iloc[0]
        about = decided.agg(kind=("kind", "first"), amount=("amount", most), threshold=("threshold", most))
        table = about.join(means[[name for name in SCORES if name in means]])
        return table.sort_values(self.scoring, ascending=SCORES[self.scoring].better < 0, kind="stable")

    def differences(self):
        """`contrasts` as a DataFrame, one row per augmenter's arm.

        Differences are above 0 where the augmenter is better.
        """
        names = ["arm", "word", "score", "against", "reference", "difference", "low", "high", "level", "to_none", "error"]
        return pd.DataFrame([{name: getattr(contrast, name) for name in names} for contrast in self.contrasts])

    def sweep(self):
        """Mean of the `scoring` figure by arm, amount and threshold.

        Returns
        -------
        DataFrame
            Index ("arm", "amount"), a column per threshold.
        """
        rows = self.scores[self.scores["metric"] == self.scoring]
        return rows.pivot_table(
            index=["arm", "amount"], columns="threshold", values="value", aggfunc="mean", sort=False, dropna=False
        ).dropna(how="all")

    def confusion(self, arm, threshold="default", amount=None):
        """Confusion matrix of an arm, summed over splits.

        Parameters
        ----------
        arm : str
        threshold : {"default", "tuned"}
        amount : float, optional
            By default the largest.

        Returns
        -------
        DataFrame (n_classes, n_classes)
            Rows are actual classes, columns predicted ones.
        """
        rows = self.matrices[(self.matrices["arm"] == arm) & (self.matrices["threshold"] == threshold)]
        amount = rows["amount"].max() if amount is None else amount
        rows = rows[np.isclose(rows["amount"].fillna(-1), -1 if pd.isna(amount) else amount)]
        if rows.empty:
            known = self.matrices[["arm", "threshold", "amount"]].drop_duplicates()
            raise KeyError(f"No confusion matrix of {(arm, threshold, amount)}. There are:\n{known.to_string(index=False)}")
        labels = pd.Index(self.labels, dtype=object)
        return pd.DataFrame(sum(rows["matrix"]), index=labels.rename("actual"), columns=labels.rename("predicted"))

    def _how(self):
        rare = ", ".join(map(repr, self.rare[:5]))
        chosen = f"{' and '.join(self.chosen_inside)} chosen inside each training part; " if self.chosen_inside else ""
        return (
            f"({self.n_splits} splits of {self.n_train} training and {self.n_test} test rows; rare: {rare}; {chosen}"
            "corrected resampled t intervals.)"
        )

    def _shown(self):
        table = self.summary()
        table["amount"] = ["" if pd.isna(amount) else f"{amount:g}x" for amount in table["amount"]]
        figures = list(dict.fromkeys([self.scoring, *SHOWN]))
        return table[["amount", "threshold", *(name for name in figures if name in table)]]

    def __str__(self):
        lines = [textwrap.fill(line, WIDTH) for line in (*self.verdict.splitlines(), *self.notes)]
        table = self._shown().rename(columns=lambda name: name.replace("minority", "rare"))
        return "\n".join([*lines, "", table.to_string(float_format=lambda x: f"{x:.3f}", na_rep="")])

    __repr__ = __str__

    def _repr_html_(self):
        said = "".join(f"<p>{html.escape(line)}</p>" for line in (*self.verdict.splitlines(), *self.notes))
        return f"<div>{said}{self._shown().to_html(float_format=lambda x: f'{x:.3f}', na_rep='', border=0)}</div>"
